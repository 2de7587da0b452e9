-- The wallet at hand: its record, what is available, T*.
--
-- SPDX-License-Identifier: Apache-2.0

-- The wallet at hand.
local w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls, w_version, w_exhausted_at
local w_due, w_generation, w_calls_due, w_cursor, w_cursor_due, w_terms
local w_phase, w_arm, w_low_armed
local denials = {} -- of the wallet: when one was last told, how many were not, the last verdict
local w_due_was, w_changed, w_seldom_changed
local swept -- what the sweep takes out of it: what is remembered, by id
local told -- calls whose record the sweep changed, packed, by id
local news -- events to be written by commit()

-- How near the wallet is to its end: its running calls were told of the last two.
local PHASE = { CALM = 0, WARNED = 1, EXHAUSTED = 2 }

local pack_wallet, pack_seldom, change_seldom, parse_wallet

do

-- What nearly every operation changes.
local WALLET = '<Bdddddddddd'
-- And what few do: the generation; when the first of its calls wants attention, the sweep's
-- cursor and what it found so far; how near the end is, how often it was re-armed, whether
-- BALANCE_LOW is; the last denial that was told, how many were not, what they said; the terms.
local SELDOM_LAYOUT = '<ddddBI2BI6I4Bc44'
local seldom_parsed

function pack_wallet()
	return pack(WALLET, LAYOUT, w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls,
		w_version, w_exhausted_at, w_due)
end

function pack_seldom()
	return pack(SELDOM_LAYOUT, w_generation, w_calls_due, w_cursor, w_cursor_due, w_phase, w_arm,
		w_low_armed and 1 or 0, denials.at, denials.count, denials.verdict, w_terms)
end

local function parse_seldom(text)
	if seldom_parsed ~= text then
		local armed
		w_generation, w_calls_due, w_cursor, w_cursor_due, w_phase, w_arm, armed, denials.at,
			denials.count, denials.verdict, w_terms = unpack(SELDOM_LAYOUT, text)
		w_low_armed = armed == 1
		seldom_parsed = text
	end
	parse_terms(w_terms)
end

-- To be called before any of it changes.
function change_seldom()
	w_changed, w_seldom_changed, seldom_parsed = true, true, nil
end

-- False where it is absent, or of a generation that was dropped.
function parse_wallet(text, seldom)
	if not text then
		return false
	end
	local layout
	layout, w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls, w_version,
		w_exhausted_at, w_due = unpack(WALLET, text)
	if layout ~= LAYOUT then
		require_that(false, 'wallet')
	end
	w_due_was = w_due
	w_changed, w_seldom_changed, swept, told, news = false, false, nil, nil, nil
	parse_seldom(seldom)
	return w_generation >= head.floor
end

end

-- What running calls have used is rounded up: a fraction of a micro is not there any more.
local function available()
	local left = w_posted + terms_credit - w_held - w_accrued
	return w_rem > 0 and left - 1 or left
end

local function accrued_rounded()
	return w_rem > 0 and w_accrued + 1 or w_accrued
end

-- When available comes down to `floor` at this burn, or below it; nil: never, or not within reach
-- of a clock.
local function comes_down_to(floor, below)
	if w_burn == 0 then
		return nil
	end
	local ms, left = ms_of(w_posted + terms_credit - w_held - w_accrued - floor, w_burn)
	left = left - w_rem
	ms = ms + (left - left % w_burn) / w_burn + ((below or left % w_burn > 0) and 1 or 0)
	return ms < 1e14 and w_as_of + ms or nil
end

-- T*, or nil.
local function exhaustion()
	return not terms_unlimited and comes_down_to(0) or nil
end

-- Debits running calls up to `now`; which is never before the last instant.  The
-- step is cut where the sum would leave its range: then accrual lags behind, and nothing else
-- does, since what a call owes is removed up to the same instant.
local function advance()
	local ms = now - w_as_of
	if ms <= 0 then
		now = w_as_of
		return
	end
	if w_burn > 0 then
		local room = (BALANCE_MAX - w_accrued) / (w_burn / 60000 + 1)
		local most = room < 1e11 and room or 1e11 -- the product in split() stays below 2^53
		if ms > most then
			ms = most > 0 and most - most % 1 or 0
		end
		local whole, rest = split(w_burn, ms)
		rest = rest + w_rem
		w_rem = rest % 60000
		w_accrued = w_accrued + whole + (rest - w_rem) / 60000
	end
	w_as_of = w_as_of + ms
end

local function accrue(whole, rest)
	rest = rest + w_rem
	w_rem = rest % 60000 -- never negative, also where `rest` is
	w_accrued = w_accrued + whole + (rest - w_rem) / 60000
end

local function can_post(amount)
	local after = w_posted + amount
	return after >= -BALANCE_MAX and after <= BALANCE_MAX
end

-- Kept while nothing is available: since when.  `at`: where the last money ran out just now.
local function note_exhaustion(at)
	if terms_unlimited or available() > 0 then
		w_exhausted_at = 0
	elseif w_exhausted_at == 0 then
		w_exhausted_at = at and at < now and at or now
	end
end

-- T* as it is told: kept once it was reached; 0: never.
local function told_end()
	note_exhaustion()
	return w_exhausted_at > 0 and w_exhausted_at or exhaustion() or 0
end

-- Whether the wallet's threshold is undercut: an amount, or what is left of time at this burn.
local function is_low(ends_at)
	if not terms_has_low then
		return false
	elseif terms_low_ms == 0 then
		return available() < terms_low
	end
	return not terms_unlimited and (available() <= 0
		or (ends_at ~= nil and ends_at - now < terms_low_ms))
end

-- BALANCE_LOW is told when the threshold is crossed: a wallet that is below it crosses nothing.
local function arm_low()
	change_seldom()
	w_low_armed = terms_has_low and not is_low(exhaustion())
end

-- Money came: whatever was told of the wallet's end holds no longer, and is told anew.
local function rearm()
	arm_low()
	w_arm = (w_arm + 1) % 65536
	w_phase = PHASE.CALM
end

-- Terms that came with an operation; an older version never overwrites a newer one.
local function take_terms(text)
	if text == w_terms then
		return
	end
	local version = unpack('<I8', text)
	if version > terms_version then
		check_terms(text)
		require_that(version < 2 ^ 53, 'terms_version')
		change_seldom()
		local credit, unlimited, shadow = terms_credit, terms_unlimited, terms_shadow
		local has_low, low, low_ms = terms_has_low, terms_low, terms_low_ms
		w_terms = text
		parse_terms(text)
		if terms_credit > credit or (terms_unlimited and not unlimited)
			or (shadow and not terms_shadow) then -- nobody had to obey what was told
			rearm()
		elseif terms_has_low ~= has_low or terms_low ~= low or terms_low_ms ~= low_ms then
			arm_low()
		end
	end
end
