-- Cancel and Adopt.
--
-- SPDX-License-Identifier: Apache-2.0

do

local function cancelled(state, released, replayed)
	return reply('<BBi8c3i8i8B', OUTCOME.DONE, state, released, available(), replayed and 1 or 0)
end

-- epoch, flags (announces 8), terms, id.
local function parse_cancel(text)
	local a = {}
	local flags, at
	a.epoch, flags, a.terms, a.id, at = unpack('<I8Bc44Bc0', text)
	a.announces = flag(flags, 8)
	check_length(text, at)
	check.id(a.id)
	return a
end

local function cancel_live(a)
	if c_state ~= AUTHORIZED then
		return answer(OUTCOME.WRONG_STATE, c_state)
	end
	remove_call()
	if a.announces then
		announce(TOLD.CANCELLED, a.id, deal.hold)
	end
	commit(a.id, false, key_of(USAGE_CHAR, a.id), pack_ended(ended_of_call(CANCELLED, now)))
	return cancelled(CANCELLED, deal.hold, false)
end

local function cancel(a, live)
	if live then
		return cancel_live(a)
	end
	local e = recall(a.id)
	if not e then
		-- Barred: an Authorize still under way must not hold funds afterwards.
		local bar = pack_ended(ended_of_nothing(CANCELLED, now))
		commit(nil, nil, key_of(USAGE_CHAR, a.id), bar)
		return cancelled(CANCELLED, 0, false)
	elseif e.was_expired then
		return cancelled(EXPIRED, 0, true)
	elseif e.state == CANCELLED then
		return cancelled(CANCELLED, e.has_price and deal_of(e.deal).hold or 0, true)
	elseif e.state == EXPIRED then
		-- Nothing is held any more, and from now on nothing can be: a Start still under way
		-- must not begin what was cancelled.
		e.state, e.was_expired = CANCELLED, true
		commit(nil, nil, key_of(USAGE_CHAR, a.id), pack_ended(e))
		return cancelled(EXPIRED, 0, false)
	end
	return answer_of(OUTCOME.WRONG_STATE, e)
end

offer_operation('cancel', { 'allow-oom' }, 7, parse_cancel, cancel)

local function adopted(replayed)
	return reply('<BBi8c3c24I4i8i8B', OUTCOME.DONE, c_state, deal.price, c_max_ms,
		deal.headroom, available(), replayed and 1 or 0)
end

-- Meters the call at hand from its true start, whatever the balance.
-- Started in the future, or longer ago than the call may last: not what the provider can mean.
local function adopt_call(a, live)
	if a.started_at > now or a.started_at < now - deal.longest_ms then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	end
	local owed = charge_for(deal.rate, now - a.started_at)
	if not can_burn(deal.rate) or w_calls >= MOST.CALLS or not can_hold(deal.headroom + owed, available()) then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	elseif outbox_is_full(a.outbox_max) then
		return answer(OUTCOME.OUTBOX_FULL, NONE)
	elseif live then
		begin_metering(a.started_at, deal.hold)
	else
		take_in_started(a.started_at)
	end
	announce(TOLD.ADOPTED, a.id, deal.headroom)
	commit(a.id, true)
	return adopted(false)
end

local function adopt_live(a)
	if not is_to(c_tail, a) then
		return answer(OUTCOME.KEY_REUSED, c_state)
	elseif c_state == METERING then
		return adopted(true)
	elseif c_state ~= AUTHORIZED then
		return answer(OUTCOME.WRONG_STATE, c_state)
	end
	return adopt_call(a, true)
end

-- Not live: never known here, or its lease ran out while it was ringing.
local function adopt_unknown(a, e)
	if e and e.state ~= EXPIRED then
		return answer_of(OUTCOME.WRONG_STATE, e)
	elseif e and not is_to(e.tail, a) then
		return answer_of(OUTCOME.KEY_REUSED, e)
	elseif not a.asked then
		return answer_of(OUTCOME.ASK, e)
	elseif e then
		take_call(e.deal, e.tail, e.authorized_at)
	elseif a.has_price then
		take_call(a.deal, a.tail, now)
	else
		return answer(OUTCOME.NO_PRICE, NONE)
	end
	return adopt_call(a, false)
end

-- epoch, outbox, flags (asked 2, has price 4), terms, price and limits, started at, id,
-- resource, destination, meta.
local function parse_adopt(text)
	local a = {}
	local flags, resource, destination, meta_bytes, at
	a.epoch, a.outbox_max, flags, a.terms, a.deal, a.started_at, a.id, resource, destination,
		meta_bytes, at = unpack('<I8I8Bc44c40i8Bc0Bc0Bc0H', text)
	a.asked, a.has_price = flag(flags, 2), flag(flags, 4)
	check_length(text, at + meta_bytes)
	check.id(a.id)
	check.instant(a.started_at)
	require_that(a.started_at > 0, 'started_at')
	check.resource(resource)
	check.destination(destination)
	check.deal(a)
	take_tail(a, text, resource, destination, meta_bytes)
	return a
end

local function adopt(a, live)
	if live then
		return adopt_live(a)
	end
	return adopt_unknown(a, recall(a.id))
end

offer_operation('adopt', {}, 7, parse_adopt, adopt)

end
