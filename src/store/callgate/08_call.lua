-- The call at hand: its record, its hold, its accrual.
--
-- SPDX-License-Identifier: Apache-2.0

-- What was agreed for a call, as C packed it: rate, connect fee, minimum, increment (24 bytes,
-- the price), longest talk to reserve for, longest call, ring lease, guard.  Kept and answered
-- as it came; parsed once, since most calls of a partition share a few of them.
local NO_LIMITS = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local NO_PRICE_BYTES = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

local deal_of

do

local DEALS_MAX = 256
local RATE_MAX = 99999999999
local PERIOD_MAX_MS = 3600000
local deals, deals_count = {}, 0

local function parse_deal(text)
	local d = { text = text, price = sub(text, 1, 24) }
	d.rate, d.fee, d.minimum, d.increment, d.reserve_ms, d.longest_ms, d.lease_ms, d.guard_ms =
		unpack('<i8i8I4I4I4I4I4I4', text)
	d.longest_minutes = math.ceil(d.longest_ms / 60000)
	d.has_good_price = d.rate >= 0 and d.rate <= RATE_MAX and d.fee >= 0 and d.fee <= RATE_MAX
		and d.minimum <= PERIOD_MAX_MS and d.increment >= 1 and d.increment <= PERIOD_MAX_MS
	d.has_good_limits = d.reserve_ms >= 1 and d.reserve_ms <= MOST.DURATION_MS
		and d.longest_ms >= 1 and d.longest_ms <= MOST.DURATION_MS and d.lease_ms >= 1
		and d.lease_ms <= MOST.DURATION_MS and d.guard_ms <= PERIOD_MAX_MS
	-- The headroom stays until the call has ended: what it may cost before it can be cut.
	local least = d.increment + d.guard_ms
	d.headroom = d.fee + charge_for(d.rate, d.minimum > least and d.minimum or least) + 1
	d.hold = d.headroom + charge_for(d.rate, d.reserve_ms)
	return d
end

function deal_of(text)
	local d = deals[text]
	if not d then
		d = parse_deal(text)
		if deals_count == DEALS_MAX then
			deals, deals_count = {}, 0
		end
		deals[text], deals_count = d, deals_count + 1
	end
	return d
end

end

-- `cut` is what was told of its end (see cut_of).  After these fields stands its tail: resource,
-- destination (a byte of length each) and meta (two), as C packed them.
local CALL = '<BBc40' .. 'I4I6I6I6I6' .. 'BBc16'
local NO_CUT = NO_LIMITS
local NO_TAIL = '\0\0\0\0'

-- The call at hand, and what was agreed for it.
local c_state, c_max_ms, c_authorized_at, c_started_at, c_stopped_at, c_accrue_from, c_shadow
local c_started_with, c_cut, c_tail
local deal

local function parse_call(text)
	local layout, deal_text, at
	layout, c_state, deal_text, c_max_ms, c_authorized_at, c_started_at, c_stopped_at,
		c_accrue_from, c_shadow, c_started_with, c_cut, at = unpack(CALL, text)
	require_that(layout == LAYOUT, 'call')
	c_tail = sub(text, at)
	deal = deal_of(deal_text)
end

local function pack_call()
	return pack('<BBc40I4I6I6I6I6BBc16c0', LAYOUT, c_state, deal.text, c_max_ms, c_authorized_at,
		c_started_at, c_stopped_at, c_accrue_from, c_shadow, c_started_with, c_cut, c_tail)
end

-- What was told of the end of the call at hand: whether it was warned, how often it was cut off,
-- at which T*, when it is told again; and whether it is overdue.  What was told before money came
-- is void.
local function cut_of()
	local arm, marks_told, count, at, again = unpack('<I2BI2I6I5', c_cut)
	local cut = { arm = w_arm, overdue = flag(marks_told, 2), warned = false, count = 0, at = 0, again_at = 0 }
	if arm == w_arm then
		cut.warned, cut.count, cut.at, cut.again_at = flag(marks_told, 1), count, at, at + again
	end
	return cut
end

-- Whether a tail has the resource and destination of the arguments.
local function is_to(tail, a)
	return sub(tail, 1, a.bound) == sub(a.tail, 1, a.bound)
end

local function held_of_call()
	return c_state == AUTHORIZED and deal.hold or deal.headroom
end

local function lease_is_over()
	return c_state == AUTHORIZED and now >= c_authorized_at + deal.lease_ms
end

local function expires_at()
	return c_state == AUTHORIZED and c_authorized_at + deal.lease_ms or c_started_at + deal.longest_ms
end

-- Up to when the call has accrued, as a duration.
local function accrued_ms()
	if c_state == AUTHORIZED then
		return 0
	end
	return (c_state == STOPPED and c_stopped_at or w_as_of) - c_accrue_from
end

-- 0 and the future count as now, before the start as the start.
local function end_instant(at)
	if at == 0 or at > now then
		at = now
	end
	return at < c_started_at and c_started_at or at
end

-- The longest the call can last from now, on what is available without it.
local function lasts_ms(free, others)
	local burn = others + deal.rate
	if terms_unlimited or terms_shadow or burn == 0 then
		return deal.longest_ms
	end
	local room = free - deal.headroom
	if room >= burn * deal.longest_minutes then
		return deal.longest_ms -- a rich wallet needs no division
	end
	local ms = ms_of(room, burn)
	return ms
end

local function within_longest(ms)
	return ms < 0 and 0 or ms > deal.longest_ms and deal.longest_ms or ms
end

local function can_burn(rate)
	return w_burn + rate <= MOST.BURN
end

-- Whether holding so much more of what is `left` leaves both within their range.
local function can_hold(amount, left)
	return w_held + amount <= BALANCE_MAX and left - amount >= -BALANCE_MAX
end

-- From here on the call burns.  Its hold must be in `held` as `held_now`.
local function begin_metering(started_at, held_now)
	local from = started_at < w_as_of and started_at or w_as_of
	w_held = w_held - held_now + deal.headroom
	accrue(split(deal.rate, w_as_of - from))
	c_max_ms = within_longest(now - started_at + lasts_ms(available() + deal.headroom, w_burn))
	w_burn = w_burn + deal.rate
	c_state, c_started_at, c_accrue_from = METERING, started_at, from
end

-- Takes the call's accrual, burn and hold out of the wallet, exactly as they came in.
local function remove_call()
	local whole, rest = split(deal.rate, accrued_ms())
	accrue(-whole, -rest)
	if c_state == METERING then
		w_burn = w_burn - deal.rate
	end
	w_held = w_held - held_of_call()
	w_calls = w_calls - 1
end
