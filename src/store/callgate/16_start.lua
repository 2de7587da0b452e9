-- Start and Stop.
--
-- SPDX-License-Identifier: Apache-2.0

do

local function started(decision, state, replayed)
	return reply('<BBi8c3BBI6I4i8B', OUTCOME.DONE, state, decision, c_shadow, c_started_at, c_max_ms,
		available(), replayed and 1 or 0)
end

-- Before the authorization counts as then, the future as now.
local function start_instant(at)
	if at == 0 or at > now then
		return now
	end
	return at < c_authorized_at and c_authorized_at or at
end

local function begun(a)
	if a.announces then
		announce(TOLD.STARTED, a.id, deal.headroom)
	end
	commit(a.id, true)
	return started(ALLOWED, METERING, false)
end

-- An expired call is decided anew, at its old price.
local function start_expired(a)
	local left = available()
	local verdict = decide(true, left)
	local decision
	decision, c_shadow = answered(verdict)
	if decision ~= ALLOWED then
		tell_denial(a.id, verdict, deal.hold)
		commit_if_changed()
		return started(decision, EXPIRED, false)
	elseif not fits(left) then
		return answer(OUTCOME.OUT_OF_RANGE, EXPIRED)
	end
	take_in_started(start_instant(a.started_at))
	return begun(a)
end

-- epoch, not after, flags (announces 8), terms, started at, id.
local function parse_start(text)
	local a = {}
	local flags, at
	a.epoch, a.not_after, flags, a.terms, a.started_at, a.id, at = unpack('<I8i8Bc44i8Bc0', text)
	a.announces = flag(flags, 8)
	check_length(text, at)
	check.instant(a.not_after)
	check.instant(a.started_at)
	check.id(a.id)
	return a
end

local function start(a, live)
	if live and c_state ~= AUTHORIZED then
		return started(ALLOWED, c_state, true)
	elseif live and not can_burn(deal.rate) then
		return answer(OUTCOME.OUT_OF_RANGE, c_state)
	elseif live then
		begin_metering(start_instant(a.started_at), deal.hold)
		return begun(a)
	end
	local e = recall(a.id)
	if not e or e.state == POSTED then
		return answer(OUTCOME.UNKNOWN_CALL, NONE)
	elseif e.state ~= EXPIRED then
		return answer(OUTCOME.WRONG_STATE, e.state)
	end
	take_call(e.deal, e.tail, e.authorized_at)
	return start_expired(a)
end

offer_operation('start', {}, 7, parse_start, start)

local function stopped(replayed)
	local metered = c_stopped_at - c_started_at
	return reply('<BBi8c3I6i8i8B', OUTCOME.DONE, STOPPED, metered, charge_for(deal.rate, metered),
		available(), replayed and 1 or 0)
end

-- The call at hand ends its talk: what it accrued after `at` goes back.
local function end_talk(at)
	local upto = at < w_as_of and at or w_as_of
	local whole, rest = split(deal.rate, w_as_of - upto)
	accrue(-whole, -rest)
	w_burn = w_burn - deal.rate
	-- Where accrual lagged behind, its length is what counts: see accrued_ms().
	c_accrue_from = c_accrue_from + at - upto
	c_state, c_stopped_at = STOPPED, at
end

-- epoch, flags (announces 8), terms, ended at, id.
local function parse_stop(text)
	local a = {}
	local flags, at
	a.epoch, flags, a.terms, a.ended_at, a.id, at = unpack('<I8Bc44i8Bc0', text)
	a.announces = flag(flags, 8)
	check_length(text, at)
	check.instant(a.ended_at)
	check.id(a.id)
	return a
end

local function stop(a, live)
	if not live then
		local e = recall(a.id)
		if not e or e.state == POSTED then
			return answer(OUTCOME.UNKNOWN_CALL, NONE)
		end
		return answer(OUTCOME.WRONG_STATE, e.state)
	elseif c_state == STOPPED then
		return stopped(true)
	elseif c_state ~= METERING then
		return answer(OUTCOME.WRONG_STATE, c_state)
	end
	end_talk(end_instant(a.ended_at))
	if a.announces then
		announce(TOLD.STOPPED, a.id, charge_for(deal.rate, c_stopped_at - c_started_at))
	end
	commit(a.id, true)
	return stopped(false)
end

-- Money can always be finished: what is marked allow-oom runs also where memory is short.
offer_operation('stop', { 'allow-oom' }, 7, parse_stop, stop)

end
