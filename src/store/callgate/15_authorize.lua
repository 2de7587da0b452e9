-- Authorize.
--
-- SPDX-License-Identifier: Apache-2.0

-- The refusals in their order; BARRED was looked for before.
local function decide(has_price, left)
	if terms_suspended then
		return DENIED.SUSPENDED
	elseif not has_price then
		return DENIED.UNPRICED
	elseif w_calls >= terms_calls_max then
		return DENIED.TOO_MANY
	elseif not terms_unlimited and left < deal.hold then
		return DENIED.NO_FUNDS
	end
	return ALLOWED
end

-- Where the plan is in shadow mode the answer is ALLOWED whatever was decided.
local function answered(verdict)
	if terms_shadow then
		return ALLOWED, verdict
	end
	return verdict, NONE
end

-- Of the call at hand, which was denied: at most one event in so long; those left out are counted, and told with the next one.
local function tell_denial(id, verdict, required)
	change_seldom()
	if now >= denials.at + PERIOD.DENIALS_MS then
		announce(TOLD.DENIED, id, required, { decision = verdict, count = denials.count })
		denials.at, denials.count = now, 0
	elseif denials.count < 2 ^ 31 - 1 then
		denials.count, denials.verdict = denials.count + 1, verdict
	end
end

local REPLY_REPLAYED = 2

-- Whether the call at hand can be taken in, started or not, without leaving any range.
local function fits(left)
	return can_burn(deal.rate) and w_calls < MOST.CALLS and can_hold(deal.hold, left)
end

-- The call at hand was not held, and is started.
local function take_in_started(started_at)
	w_calls = w_calls + 1
	w_held = w_held + deal.headroom
	begin_metering(started_at, deal.headroom)
end

do

local authorize_reply, REPLY_PRICE = own.authorize.REPLY, own.authorize.REPLY_PRICE

-- A decision that keeps nothing: a denial, or one that was only asked about.
local function undecided(verdict, has_price, left)
	local decision, shadow = answered(verdict)
	local max_ms = 0
	if decision == ALLOWED and has_price and verdict ~= DENIED.BARRED then
		max_ms = within_longest(lasts_ms(left, w_burn))
	end
	return reply(authorize_reply, OUTCOME.DONE, NONE, decision, shadow, has_price and REPLY_PRICE or 0,
		deal.price, 0, left, has_price and deal.hold or 0, max_ms, 0)
end

local function authorized(replayed)
	return reply(authorize_reply, OUTCOME.DONE, c_state, ALLOWED, c_shadow,
		REPLY_PRICE + (replayed and REPLY_REPLAYED or 0), deal.price,
		c_started_with == 1 and deal.headroom or deal.hold, available(), deal.hold, c_max_ms,
		expires_at())
end

-- The same id again: a replay, which may still start the call.
local function authorize_again(a)
	if not is_to(c_tail, a) then
		return answer(OUTCOME.KEY_REUSED, c_state)
	end
	if a.start and not a.validate_only and c_state == AUTHORIZED then
		if not can_burn(deal.rate) then
			return answer(OUTCOME.OUT_OF_RANGE, c_state)
		end
		begin_metering(now, deal.hold)
		if a.announces then
			announce(TOLD.STARTED, a.id, deal.headroom)
		end
		commit(a.id, true)
	end
	return authorized(true)
end

-- Holds the call at hand, of which nothing was held before.
local function admit(a, left)
	if not fits(left) then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	elseif outbox_is_full(a.outbox_max) then
		return answer(OUTCOME.OUTBOX_FULL, NONE)
	elseif a.start then
		c_started_with = 1
		take_in_started(now)
	else
		c_max_ms = within_longest(lasts_ms(left, w_burn))
		w_calls = w_calls + 1
		w_held = w_held + deal.hold
	end
	if a.announces then
		announce(TOLD.AUTHORIZED, a.id, held_of_call())
		if a.start then
			announce(TOLD.STARTED, a.id, deal.headroom)
		end
	end
	commit(a.id, true)
	return authorized(false)
end

local args_of_authorize = {}

local function parse_authorize(text)
	local a = args_of_authorize
	local flags, resource, destination, meta_bytes, at
	a.epoch, a.not_after, a.outbox_max, flags, a.terms, a.deal, a.id, resource, destination,
		meta_bytes, at = unpack(own.authorize.ARGUMENT, text)
	a.start, a.validate_only, a.has_price = flags % 2 >= 1, flags % 4 >= 2, flags % 8 >= 4
	a.announces = flags >= 8
	check_length(text, at + meta_bytes)
	check.instant(a.not_after)
	check.resource(resource)
	check.destination(destination)
	check.deal(a)
	if a.id == '' and a.validate_only then
		a.id = nil
	else
		check.id(a.id)
	end
	take_tail(a, text, resource, destination, meta_bytes)
	return a
end

local function authorize(a, live)
	if live then
		return authorize_again(a)
	end
	local e = a.id and recall(a.id)
	if e and (e.state == POSTED or (e.has_price and not is_to(e.tail, a))) then
		return answer_of(OUTCOME.KEY_REUSED, e)
	end
	take_call(a.deal, a.tail, now)
	local left = available()
	local verdict = e and e.state ~= EXPIRED and DENIED.BARRED or decide(a.has_price, left)
	local decision, shadow = answered(verdict)
	if a.validate_only then
		return undecided(verdict, a.has_price, left)
	elseif decision ~= ALLOWED or verdict == DENIED.BARRED or not a.has_price then
		-- Without a price or with a spent id nothing can be held, in shadow mode neither.
		if decision ~= ALLOWED then
			tell_denial(a.id, verdict, a.has_price and deal.hold or 0)
		end
		commit_if_changed()
		return undecided(verdict, a.has_price, left)
	end
	c_shadow = shadow
	return admit(a, left)
end

offer_operation('authorize', {}, 7, parse_authorize, authorize, own.authorize.plainly)

end
