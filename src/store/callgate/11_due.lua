-- Due work: what is told or done of a wallet and its calls when its time has come.
--
-- SPDX-License-Identifier: Apache-2.0

local expire, attend_call, due_of_call, tell_end

do

local FOREVER = 2 ^ 40 - 1 -- of the five bytes below

-- Changes what was told of the end of the call at hand.
local function keep_cut(cut)
	local again = cut.again_at - cut.at
	c_cut = pack('<I2BI2I6I5', cut.arm, (cut.warned and 1 or 0) + (cut.overdue and 2 or 0),
		cut.count < 65535 and cut.count or 65535, cut.at, again < FOREVER and again or FOREVER)
end

-- Expires the call at hand: its hold goes back, its key is remembered.  Written by commit().
function expire(id)
	swept = swept or {}
	if not swept[id] then
		local released = deal.hold
		remove_call()
		swept[id] = ended_of_call(EXPIRED, c_authorized_at + deal.lease_ms)
		w_changed = true
		if is_writing then
			announce(TOLD.EXPIRED, id, released)
		end
	end
end

-- How long the call at hand is assumed to have talked, which nobody ever settled.
local function assumed_ms()
	if c_state == STOPPED then
		return c_stopped_at - c_started_at
	end
	local cut = cut_of()
	local upto = cut.at + deal.guard_ms - c_started_at
	if cut.count > 0 and not terms_shadow and upto < deal.longest_ms then
		return upto
	end
	return deal.longest_ms
end

-- Charges the call at hand for what it is assumed to have lasted; false where it cannot be.
local function abandon(id)
	local duration = assumed_ms()
	duration = duration < MOST.DURATION_MS and duration or MOST.DURATION_MS
	local cost, billed = cost_of(deal, duration)
	if not can_post(-cost) then
		return false
	end
	local e = ended_of_call(ABANDONED, c_started_at + duration)
	remove_call()
	e.cost, e.billed_ms, e.duration_ms, e.basis = cost, billed, duration, BASIS.ASSUMED
	e.type, e.amount, e.reference, e.epoch = USAGE, -cost, id, head.epoch
	e.n = append(e)
	swept = swept or {}
	swept[id] = e
	w_changed = true
	return true
end

local function overdue_at()
	return c_started_at + deal.longest_ms + deal.guard_ms
end

-- When the call at hand wants attention next.
function due_of_call()
	if c_state == AUTHORIZED then
		return c_authorized_at + deal.lease_ms
	elseif c_cut == NO_CUT then
		return overdue_at()
	end
	local cut = cut_of()
	local due = overdue_at()
	if cut.overdue then
		due = due + PERIOD.ABANDON_MS
		due = due > now and due or now + PERIOD.LOOK_AGAIN_MS -- it could not be charged
	end
	if c_state == METERING and cut.count > 0 and cut.again_at < due then
		return cut.again_at
	end
	return due
end

-- Tells the call at hand that the wallet's end is near, or has come; whether there was anything
-- to tell.  In shadow mode nobody obeys, so once is enough.
function tell_end(id)
	if (w_phase == PHASE.CALM and c_cut == NO_CUT) or c_state ~= METERING or deal.rate == 0
		or terms_unlimited then
		return false
	end
	local cut = cut_of()
	if cut.count > 0 and now < cut.again_at then
		return false
	elseif cut.count > 0 or w_phase == PHASE.EXHAUSTED then
		if cut.count == 0 then
			cut.at = w_exhausted_at > c_started_at and w_exhausted_at or c_started_at
		end
		announce(TOLD.CUT_OFF, id, 0, { ends_at = cut.at, count = cut.count })
		cut.count = cut.count + 1
		cut.again_at = (terms_shadow or terms_repeat_ms == 0) and cut.at + FOREVER or now + terms_repeat_ms
	elseif w_phase == PHASE.WARNED and not cut.warned then
		announce(TOLD.WARNING, id, 0, { ends_at = exhaustion() })
		cut.warned = true
	else
		return false
	end
	keep_cut(cut)
	return true
end

-- Tells that the call at hand has outlived its longest duration.
local function tell_overdue(id)
	local cut = cut_of()
	if c_state == AUTHORIZED or cut.overdue or now < overdue_at() then
		return false
	end
	announce(TOLD.OVERDUE, id, 0)
	cut.overdue = true
	keep_cut(cut)
	return true
end

-- Does what is due of the call at hand; when it is due again, nil: it has ended.  A reader gives
-- back the holds that are over, in memory, and leaves all else.
function attend_call(id)
	if lease_is_over() then
		expire(id)
		return nil
	elseif c_state ~= AUTHORIZED and is_writing then
		if now >= overdue_at() + PERIOD.ABANDON_MS and abandon(id) then
			return nil
		end
		local overdue, near = tell_overdue(id), tell_end(id)
		if overdue or near then
			told = told or {}
			told[id] = pack_call()
		end
	end
	return due_of_call()
end

end

-- Looks at some of the wallet's calls, and finds out when one of them is due again.  Where it
-- has more calls than one step admits, it stays due, and whoever comes next goes on from the
-- cursor.  How many it looked at.
local function sweep()
	local step = call('HSCAN', keys[2], format('%.0f', w_cursor), 'COUNT', 128)
	local nearest = w_cursor == 0 and 0 or w_cursor_due
	for i = 1, #step[2], 2 do
		local id = step[2][i]
		if id ~= RECORD and id ~= SELDOM and not (swept and swept[id]) and not (told and told[id]) then
			parse_call(step[2][i + 1])
			local due = attend_call(id)
			nearest = due and (nearest == 0 or due < nearest) and due or nearest
		end
	end
	change_seldom()
	w_cursor, w_cursor_due = tonumber(step[1]), nearest
	if w_cursor == 0 then
		w_calls_due = nearest
	end
	return #step[2] / 2
end

-- The call at hand lives on: the wallet is looked at no later than the call needs it.
local function mind_call()
	local at = due_of_call()
	if w_cursor ~= 0 and (w_cursor_due == 0 or at < w_cursor_due) then
		change_seldom()
		w_cursor_due = at
	end
	if w_calls_due == 0 or at < w_calls_due then
		change_seldom()
		w_calls_due = at
	end
	if w_due == 0 or at < w_due then
		w_due = at
	end
end

local note_phase, look_ahead

do

-- Whether the wallet is so rich that nothing can come due before it is looked at anyway: then
-- there is nothing to compute, and nothing to write.
local function is_far()
	local floor, reach = 0, terms_warning_ms
	if w_due <= now or w_phase ~= PHASE.CALM or denials.count > 0 then
		return false
	elseif w_low_armed then
		floor = terms_low > 0 and terms_low or 0
		reach = terms_low_ms > reach and terms_low_ms or reach
	elseif terms_unlimited then
		return true
	end
	return available() - floor > w_burn * ((w_due - now + reach) / 60000 + 1)
end

-- Where the end came nearer, all running calls are looked at, from the first.
function note_phase(ends_at)
	local phase = PHASE.CALM
	if not terms_unlimited and available() <= 0 then
		phase = PHASE.EXHAUSTED
	elseif ends_at and ends_at - now <= terms_warning_ms then
		phase = PHASE.WARNED
	end
	if phase > w_phase and w_calls > 0 then
		w_cursor, w_cursor_due, w_calls_due = 0, 0, now
	end
	if phase ~= w_phase then
		change_seldom()
		w_phase = phase
	end
end

local function note_low(ends_at)
	if w_low_armed and is_low(ends_at) then
		change_seldom()
		w_low_armed = false
		announce(TOLD.LOW, '', 0, { ends_at = told_end() })
	end
end

-- When the wallet itself, not one of its calls, wants attention next; nil: never.
local function due_of_wallet(ends_at)
	local due = denials.count > 0 and denials.at + PERIOD.DENIALS_MS or nil
	local function no_later_than(at)
		due = at and (not due or at < due) and at or due
	end
	if ends_at or (w_low_armed and w_burn > 0) then
		no_later_than(now + PERIOD.LOOK_AGAIN_MS)
		if w_phase ~= PHASE.EXHAUSTED and ends_at then
			no_later_than(w_phase == PHASE.CALM and ends_at - terms_warning_ms or ends_at)
		end
		if w_low_armed and terms_low_ms == 0 then
			no_later_than(comes_down_to(terms_low, true))
		elseif w_low_armed and ends_at then
			no_later_than(ends_at - terms_low_ms + 1)
		end
	end
	return due
end

-- After a change: how near the end is now, and when to look again.
function look_ahead()
	if is_far() then
		return
	end
	local ends_at = exhaustion()
	note_phase(ends_at)
	note_low(ends_at)
	local due = due_of_wallet(ends_at)
	if w_calls_due > 0 and (not due or w_calls_due < due) then
		due = w_calls_due
	end
	if due and (w_due == 0 or due < w_due) then
		w_due = due
	end
end

end
