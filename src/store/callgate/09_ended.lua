-- What is remembered of calls, credits and charges that are over.
--
-- SPDX-License-Identifier: Apache-2.0

-- The key of a credit or a charge: amount, entry, quantity, resource.
local KEPT = '<BBddddBc0'

local function key_of(type_char, reference)
	return sub(keys[2], -16) .. type_char .. reference
end

local parse_ended, pack_ended

do

-- Enough to answer repeats and GetCall, and to decide an expired call anew; then the tail.
local ENDED = '<BBBBBc40' .. 'dI4I4ddd' .. 'I6I6I6'
local HAS_PRICE, LATE, WAS_EXPIRED, WAS_CORRECTED = 1, 2, 4, 8

function parse_ended(text)
	local e = {}
	e.layout, e.state = unpack('<BB', text)
	require_that(e.layout == LAYOUT, 'ended')
	if e.state == POSTED then
		e.layout, e.state, e.amount, e.epoch, e.n, e.quantity, e.resource = unpack(KEPT, text)
		return e
	end
	local flags, at
	e.layout, e.state, flags, e.basis, e.shadow, e.deal, e.cost, e.billed_ms, e.duration_ms,
		e.epoch, e.n, e.corrected, e.authorized_at, e.started_at, e.ended_at, at =
		unpack(ENDED, text)
	e.has_price, e.late = flag(flags, HAS_PRICE), flag(flags, LATE)
	e.was_expired = flag(flags, WAS_EXPIRED) -- before it was cancelled
	e.was_corrected = flag(flags, WAS_CORRECTED) -- `corrected` and the entry are the correction's
	e.tail = sub(text, at)
	return e
end

function pack_ended(e)
	return pack(ENDED, LAYOUT, e.state, (e.has_price and HAS_PRICE or 0) + (e.late and LATE or 0)
			+ (e.was_expired and WAS_EXPIRED or 0) + (e.was_corrected and WAS_CORRECTED or 0),
		e.basis, e.shadow, e.deal, e.cost, e.billed_ms, e.duration_ms, e.epoch, e.n, e.corrected,
		e.authorized_at, e.started_at, e.ended_at) .. e.tail
end

end

-- What is remembered under a key, or nil.
local function find_ended(key)
	local text = call('HGET', keys[4 + head.ended], key)
		or head.rotated == 1 and call('HGET', keys[5 - head.ended], key)
	return text and parse_ended(text) or nil
end

-- A call of which nothing is known but its id.
local function ended_of_nothing(state, ended_at)
	return { state = state, has_price = false, late = false, basis = 0, shadow = 0,
		deal = NO_PRICE_BYTES .. NO_LIMITS, cost = 0, billed_ms = 0, duration_ms = 0, epoch = 0,
		n = 0, corrected = 0, authorized_at = 0, started_at = 0, ended_at = ended_at,
		tail = NO_TAIL }
end

-- The call at hand as it is remembered once it has ended.
local function ended_of_call(state, ended_at)
	local e = ended_of_nothing(state, ended_at)
	e.has_price, e.deal, e.tail, e.shadow = true, deal.text, c_tail, c_shadow
	e.authorized_at, e.started_at = c_authorized_at, c_started_at
	if c_shadow ~= NONE and c_cut ~= NO_CUT then
		local cut = cut_of()
		e.cut_at, e.cut_after = cut.at, cut.count > 0 and cut.at - c_started_at or nil
	end
	return e
end

-- A call that has not begun becomes the call at hand.
local function take_call(deal_text, tail, authorized_at)
	deal = deal_of(deal_text)
	c_state, c_tail, c_authorized_at = AUTHORIZED, tail, authorized_at
	c_started_at, c_stopped_at, c_accrue_from, c_max_ms = 0, 0, 0, 0
	c_shadow, c_started_with, c_cut = 0, 0, NO_CUT
end
