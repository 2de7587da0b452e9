-- Authorize, the short way: of what nearly every Authorize is.
--
-- A new id, of a wallet that knows the terms, is rich or unlimited, and is looked at anyway before
-- the call's lease is over: then nothing is due or told, and all that changes is what is held.  It decides and
-- writes what the long way would (tests/model compares the two, byte by byte), in a third of the
-- steps.  Whatever else it meets it leaves to the long way, before anything is written.
--
-- SPDX-License-Identifier: Apache-2.0

own.authorize = {
	-- epoch, not after, outbox, flags (start 1, validate_only 2, has price 4, announces 8), terms,
	-- price and limits, id, resource, destination, meta.
	ARGUMENT = '<I8i8I8Bc44c40Bc0Bc0Bc0H',
	REPLY = '<BBi8c3BBBc24i8i8i8I4I6',
	REPLY_PRICE = 1,
}

do

-- The same argument: outbox, flags, terms, price and limits are one block, which most calls of a
-- partition share with others.
local ARGUMENT, ORDER, ORDERS_MAX = '<I8i8c93Bc0Bc0Bc0H', '<I8Bc44c40', 1024
local REPLY = '<c2i8c38i8i8I4I6'
local PRICED = 4 -- and no other flag
local CALM, CALLS_MAX, BURN_MAX, INSTANT_MAX = PHASE.CALM, MOST.CALLS, MOST.BURN, 2 ^ 47
-- Of a call's record: neither started nor stopped, nothing told of its end.
local NOT_STARTED = NO_LIMITS .. NO_LIMITS .. '\0\0\0\0'
local DONE_AUTHORIZED = '\0\1'

local orders, orders_count = {}, 0
local known_resource

-- An order parsed; false: not for this way.
local function parse_order(text)
	local o, flags, deal_text = {}, nil, nil
	o.outbox_max, flags, o.terms, deal_text = unpack(ORDER, text)
	local d = deal_of(deal_text)
	if flags ~= PRICED or not (d.has_good_price and d.has_good_limits) then
		return false
	end
	o.deal, o.rate, o.hold, o.headroom = d, d.rate, d.hold, d.headroom
	o.lease_ms, o.longest_ms, o.longest_minutes = d.lease_ms, d.longest_ms, d.longest_minutes
	o.beginning = pack('<BBc40', LAYOUT, AUTHORIZED, deal_text) -- of a call's record
	return o
end

local function order_of(text)
	if orders_count == ORDERS_MAX then
		orders, orders_count = {}, 0
	end
	local o = parse_order(text)
	orders[text], orders_count = o, orders_count + 1
	return o
end

-- What the answers to an order have in common, from the currency to what is held.
local function say(o)
	o.currency = terms_currency
	o.said = pack('<c3BBBc24i8', terms_currency, ALLOWED, NONE, own.authorize.REPLY_PRICE,
		o.deal.price, o.hold)
end

-- Whether the wallet at hand, of which `left` remains with the hold, has nothing due before it is
-- looked at anyway; and that is no later than the call needs it.
local function stays_calm(left, expires)
	local due, floor, reach = w_due, 0, terms_warning_ms
	if not (due > now and due <= expires and w_calls_due > 0 and w_calls_due <= expires
		and w_cursor == 0 and w_phase == CALM) then
		return false
	elseif w_low_armed then
		floor = terms_low > 0 and terms_low or 0
		reach = terms_low_ms > reach and terms_low_ms or reach
	elseif terms_unlimited then
		return left >= -BALANCE_MAX
	end
	return left - floor > w_burn * ((due - now + reach) / 60000 + 1)
end

local function is_remembered(id)
	local key, current = sub(keys[2], -16) .. USAGE_CHAR .. id, head.ended
	return call('HGET', keys[4 + current], key)
		or head.rotated == 1 and call('HGET', keys[5 - current], key)
end

local function hold_plainly(o, not_after, id, tail)
	local wallet = keys[2]
	local found = call('HMGET', wallet, RECORD, SELDOM, id)
	if found[3] or not parse_wallet(found[1], found[2]) then
		return nil
	end
	now = own.now or now_ms()
	advance()
	local left, hold, burn, expires = available(), o.hold, w_burn + o.rate, now + o.lease_ms
	if o.terms ~= w_terms or terms_suspended or terms_shadow
		or (now > not_after and not_after > 0)
		or w_calls >= terms_calls_max or w_calls >= CALLS_MAX or burn > BURN_MAX
		or w_held + hold > BALANCE_MAX or not stays_calm(left - hold, expires)
		or (o.outbox_max > 0 and outbox_is_full(o.outbox_max)) or is_remembered(id) then
		return nil
	end
	local max_ms = o.longest_ms
	if left - o.headroom < burn * o.longest_minutes then
		deal = o.deal
		max_ms = within_longest(lasts_ms(left, w_burn))
	end
	if o.currency ~= terms_currency then
		say(o)
	end
	w_calls, w_held, w_exhausted_at = w_calls + 1, w_held + hold, 0
	call('HSET', wallet, RECORD, pack_wallet(), id,
		pack('<c42I4I6c36c0', o.beginning, max_ms, now, NOT_STARTED, tail))
	return pack(REPLY, DONE_AUTHORIZED, now, o.said, left - hold, hold, max_ms, expires)
end

-- The reply; nil: the long way.
function own.authorize.plainly(text)
	local epoch, not_after, asked, id, resource, destination, meta_bytes, at = unpack(ARGUMENT, text)
	local o = orders[asked]
	if o == nil then
		o = order_of(asked)
	end
	if not o or at + meta_bytes ~= #text + 1 or not_after < 0 or not_after >= INSTANT_MAX
		or #id > 128 or not find(id, '^[!-~]+$') or #destination > 16
		or not (destination == '' or find(destination, '^%+[1-9]%d+$')) then
		return nil
	end
	if resource ~= known_resource then
		check.resource(resource)
		known_resource = resource
	end
	is_writing = true
	if not enter(epoch) then
		return refused()
	end
	return hold_plainly(o, not_after, id, sub(text, at - #destination - #resource - 4))
end

end
