-- Settle, and the correction of an abandoned call.
--
-- SPDX-License-Identifier: Apache-2.0

do

local REPLY_LATE, REPLY_CORRECTION = 4, 8

local function settled(outcome, e, replayed)
	return reply('<BBi8c3i8I4i8i8BI4Bc24i8I8I8', outcome, e.state, e.cost, e.billed_ms,
		w_posted, available(), (replayed and REPLY_REPLAYED or 0) + (e.late and REPLY_LATE or 0)
			+ (e.was_corrected and REPLY_CORRECTION or 0),
		e.duration_ms, e.basis, e.deal, e.corrected, e.epoch, e.n)
end

-- A Settle of a key that is remembered as charged.
local function settle_again(a, e)
	if e.state == POSTED then
		local charge = ended_of_nothing(SETTLED, now)
		charge.cost, charge.epoch, charge.n = -e.amount, e.epoch, e.n
		return settled(OUTCOME.KEY_REUSED, charge, false)
	elseif a.as_metered or a.duration_ms == e.duration_ms then
		return settled(OUTCOME.DONE, e, true)
	end
	return settled(OUTCOME.KEY_REUSED, e, false)
end

-- The tail with more pairs: of two equal keys the later one holds.
local function with_meta(tail, meta)
	if meta == '' then
		return tail
	end
	local resource, destination, own = unpack('<Bc0Bc0Hc0', tail)
	return sub(tail, 1, 2 + #resource + #destination) .. pack('<H', #own + #meta) .. own .. meta
end

-- Charges `e`, whose price is known, and remembers it.  `ended_at`: nil where it is to be
-- told from start and duration.
local function post_call(a, e, ended_at, live)
	e.cost, e.billed_ms = cost_of(deal_of(e.deal), a.duration_ms)
	if not can_post(-e.cost) then
		return answer(OUTCOME.OUT_OF_RANGE, e.state)
	end
	e.state, e.duration_ms, e.basis = SETTLED, a.duration_ms, a.basis
	e.started_at = a.started_at > 0 and a.started_at or e.started_at
	e.ended_at = ended_at or (e.started_at > 0 and e.started_at + a.duration_ms) or now
	e.tail = with_meta(e.tail, a.meta)
	e.type, e.amount, e.reference = USAGE, -e.cost, a.id
	e.flags = e.late and ENTRY.IS_LATE or 0
	e.epoch = head.epoch
	e.n = append(e)
	commit(a.id, live, key_of(USAGE_CHAR, a.id), pack_ended(e))
	return settled(OUTCOME.DONE, e, false)
end

local function settle_live(a)
	local ended_at = c_state == STOPPED and c_stopped_at or nil
	if a.as_metered then
		if c_state == AUTHORIZED then
			return answer(OUTCOME.WRONG_STATE, c_state)
		end
		ended_at = ended_at or end_instant(a.ended_at)
		local metered = ended_at - c_started_at
		a.duration_ms = metered < MOST.DURATION_MS and metered or MOST.DURATION_MS
		a.basis = BASIS.METERED
	end
	local e = ended_of_call(c_state, 0)
	remove_call()
	return post_call(a, e, ended_at, false)
end

-- How long an abandoned call talked after all, and how that is known.
local function true_duration(a, e)
	if not a.as_metered then
		return a.duration_ms, a.basis
	elseif a.ended_at == 0 then
		return e.duration_ms, BASIS.METERED -- its Stop, or what was assumed: nobody knows better
	end
	local ms = (a.ended_at < now and a.ended_at or now) - e.started_at
	return ms < 0 and 0 or ms < MOST.DURATION_MS and ms or MOST.DURATION_MS, BASIS.METERED
end

-- The late Settle of an abandoned call: books the difference to what was assumed, once; also
-- where there is none, so that the ledger knows.
local function correct(a, e)
	local duration, basis = true_duration(a, e)
	local cost, billed = cost_of(deal_of(e.deal), duration)
	if not can_post(e.cost - cost) then
		return answer(OUTCOME.OUT_OF_RANGE, e.state)
	end
	e.type, e.amount, e.flags = ADJUSTMENT, e.cost - cost, ENTRY.IS_CORRECTION
	e.reference, e.quantity = 'correction:' .. a.id, billed - e.billed_ms
	e.corrected, e.was_corrected = cost - e.cost, true
	e.state, e.cost, e.billed_ms, e.duration_ms, e.basis = SETTLED, cost, billed, duration, basis
	e.started_at = a.started_at > 0 and a.started_at or e.started_at
	e.ended_at = e.started_at > 0 and e.started_at + duration or e.ended_at
	e.tail = with_meta(e.tail, a.meta)
	e.epoch = head.epoch
	e.n = append(e)
	commit(nil, nil, key_of(USAGE_CHAR, a.id), pack_ended(e))
	return settled(OUTCOME.DONE, e, false)
end

-- As the ledger has a call that was charged by assumption, where the store has forgotten it.
local function assumed_call(a)
	local e = ended_of_nothing(ABANDONED, now)
	e.has_price, e.deal, e.cost, e.billed_ms = true, a.price .. NO_LIMITS, a.assumed_cost, a.assumed_billed
	e.basis, e.tail, e.late = BASIS.ASSUMED, sub(a.tail, 1, a.bound) .. '\0\0', true
	return e
end

-- A call that is not held here: charged all the same, once the ledger does not know it, at
-- its own price where its record is left.
local function settle_late(a, e)
	if not a.asked then
		return answer_of(OUTCOME.ASK, e)
	elseif not (e and e.has_price) and not a.has_resource then
		return answer(OUTCOME.UNKNOWN_CALL, NONE)
	elseif a.as_metered then
		return answer_of(OUTCOME.WRONG_STATE, e)
	elseif a.is_assumed then
		return correct(a, assumed_call(a)) -- whatever came of the id since the store forgot it
	elseif not (e and e.has_price) then
		if not a.has_price then
			return answer_of(OUTCOME.NO_PRICE, e)
		end
		e = ended_of_nothing(NONE, now)
		e.has_price = true
		e.deal, e.tail = a.price .. NO_LIMITS, sub(a.tail, 1, a.bound) .. '\0\0'
	end
	e.late = true
	return post_call(a, e)
end

-- epoch, flags (as_metered 1, asked 2, has price 4, assumed 16), terms, duration, started at,
-- ended at, basis, price, assumed cost and billed ms, id, resource, destination, meta.
local function parse_settle(text)
	local a = {}
	local flags, resource, destination, at
	a.epoch, flags, a.terms, a.duration_ms, a.started_at, a.ended_at, a.basis, a.price,
		a.assumed_cost, a.assumed_billed, a.id, resource, destination, a.meta, at =
		unpack('<I8Bc44i8i8i8Bc24i8I4Bc0Bc0Bc0Hc0', text)
	a.as_metered, a.asked, a.has_price = flag(flags, 1), flag(flags, 2), flag(flags, 4)
	a.is_assumed = flag(flags, 16)
	require_that(a.assumed_cost >= 0 and a.assumed_cost <= BALANCE_MAX
		and (a.has_price or not a.is_assumed), 'assumed')
	a.has_resource = resource ~= ''
	check_length(text, at)
	check.id(a.id)
	check.instant(a.started_at)
	check.instant(a.ended_at)
	require_that(a.as_metered or (a.duration_ms >= 0 and a.duration_ms <= MOST.DURATION_MS),
		'duration')
	require_that(a.basis >= 1 and a.basis <= BASIS.METERED, 'basis')
	if a.has_resource then
		check.resource(resource)
		check.destination(destination)
	end
	if a.has_price then
		require_that(deal_of(a.price .. NO_LIMITS).has_good_price, 'price')
	end
	take_tail(a, text, resource, destination, #a.meta)
	return a
end

local function settle(a, live)
	if live then
		return settle_live(a)
	end
	local e = recall(a.id)
	if e and (e.state == SETTLED or e.state == POSTED) then
		return settle_again(a, e)
	elseif e and e.state == ABANDONED then
		return correct(a, e)
	end
	return settle_late(a, e)
end

offer_operation('settle', { 'allow-oom' }, 7, parse_settle, settle)

end
