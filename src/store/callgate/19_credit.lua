-- Credit and Charge.
--
-- SPDX-License-Identifier: Apache-2.0

do

local REFUND = 4

local function posted(epoch, n, replayed)
	return reply('<BBi8c3i8i8BI8I8', OUTCOME.DONE, NONE, w_posted, available(), replayed and 1 or 0,
		epoch, n)
end

-- Appends the entry of a credit or charge and remembers its key.
local function post(key, entry)
	if not can_post(entry.amount) then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	end
	local n = append(entry)
	if entry.amount > 0 then
		rearm()
	end
	local resource = entry.resource or ''
	commit(nil, nil, key, pack(KEPT, LAYOUT, POSTED, entry.amount, head.epoch, n,
		entry.quantity or 0, #resource, resource))
	return posted(head.epoch, n, false)
end

-- epoch, asked, terms, type, amount, reference, description.
local function parse_credit(text)
	local a = {}
	local asked, at
	a.epoch, asked, a.terms, a.type, a.amount, a.reference, a.description, at =
		unpack('<I8Bc44Bi8Bc0Hc0', text)
	a.asked = asked == 1
	check_length(text, at)
	require_that(a.type >= 1 and a.type <= ADJUSTMENT, 'type')
	require_that(a.amount ~= 0 and a.amount >= -MOST.AMOUNT and a.amount <= MOST.AMOUNT
		and (a.amount > 0 or a.type == ADJUSTMENT or a.type == REFUND), 'amount')
	require_that(#a.reference >= 1 and not find(a.reference, '[^!-~]'), 'reference_id')
	return a
end

local function credit(a)
	local key = key_of(string.char(a.type), a.reference)
	local e = find_ended(key)
	if e and e.amount == a.amount then
		return posted(e.epoch, e.n, true)
	elseif e then
		return answer(OUTCOME.KEY_REUSED, NONE)
	elseif not a.asked then
		return answer(OUTCOME.ASK, NONE)
	end
	return post(key, a)
end

offer_operation('credit', { 'allow-oom' }, 7, parse_credit, credit)

-- epoch, asked, terms, amount, quantity, reference, resource, description, meta.
local function parse_charge(text)
	local a = {}
	local asked, at
	a.epoch, asked, a.terms, a.amount, a.quantity, a.id, a.resource, a.description, a.meta, at =
		unpack('<I8Bc44i8i8Bc0Bc0Hc0Hc0', text)
	a.asked = asked == 1
	check_length(text, at)
	require_that(a.amount > 0 and a.amount <= MOST.AMOUNT, 'amount')
	require_that(a.quantity >= 1 and a.quantity <= MOST.AMOUNT, 'quantity')
	check.id(a.id)
	check.resource(a.resource)
	a.tail = pack('<Bc0BH', #a.resource, a.resource, 0, #a.meta) .. a.meta
	a.type, a.amount, a.reference, a.flags = USAGE, -a.amount, a.id, ENTRY.IS_CHARGE
	return a
end

local function charge(a, live)
	if live then
		return answer(OUTCOME.KEY_REUSED, c_state)
	end
	local e = recall(a.id)
	if e and e.state == POSTED and e.amount == a.amount and e.quantity == a.quantity
		and e.resource == a.resource then
		return posted(e.epoch, e.n, true)
	elseif e then
		return answer_of(OUTCOME.KEY_REUSED, e)
	elseif not a.asked then
		return answer(OUTCOME.ASK, NONE)
	end
	return post(key_of(USAGE_CHAR, a.id), a)
end

offer_operation('charge', { 'allow-oom' }, 7, parse_charge, charge)

end
