-- Looking: balance, calls, and putting a wallet there.
--
-- SPDX-License-Identifier: Apache-2.0

do

-- Readers see the wallet at this instant, expired holds given back, and write nothing.

-- epoch, terms: the balance is that of the newest terms, also where no operation has brought
-- them here yet.
local function parse_look(text)
	local a = {}
	local at
	a.epoch, a.terms, at = unpack('<I8c44', text)
	check_length(text, at)
	return a
end

local function balance()
	local ends_at = told_end()
	return reply('<BBi8c3i8i8i8i8i8i8I4I8BI8', OUTCOME.DONE, NONE, w_posted, w_held, accrued_rounded(),
		terms_credit, available(), w_burn, w_calls,
		ends_at,
		(terms_unlimited and 1 or 0) + (terms_frozen and 2 or 0), w_version)
end

offer_operation('balance', { 'no-writes' }, 2, parse_look, balance)

-- state, price, held, accrued, authorized, started, expires, shadow, ended, cost, billed,
-- duration, basis, late, entry, id, resource, destination, meta.
local call_reply = '<Bc24i8i8I6I6I6BI6i8I4I4BBI8I8Bc0'

local function live_call(id)
	return pack(call_reply, c_state, deal.price, held_of_call(), charge_for(deal.rate, accrued_ms()),
		c_authorized_at, c_started_at, expires_at(), c_shadow, c_stopped_at, 0, 0, 0, 0, 0, 0, 0,
		#id, id) .. c_tail
end

local function ended_call(id, e)
	return pack(call_reply, e.state, e.deal, 0, 0, e.authorized_at, e.started_at, 0, e.shadow,
		e.ended_at, e.cost, e.billed_ms, e.duration_ms, e.basis, e.late and 1 or 0, e.epoch, e.n,
		#id, id) .. e.tail
end

-- epoch, asked, id.
local function parse_get_call(text)
	local a = {}
	local asked, at
	a.epoch, asked, a.id, at = unpack('<I8BBc0', text)
	a.asked = asked == 1
	check_length(text, at)
	check.id(a.id)
	return a
end

local function get_call(a, live)
	if live then
		return answer(OUTCOME.DONE, c_state) .. live_call(a.id)
	end
	local e = recall(a.id)
	if not e and not a.asked then
		return answer(OUTCOME.ASK, NONE)
	elseif not e or e.state == POSTED then
		return answer(OUTCOME.UNKNOWN_CALL, NONE)
	end
	return answer(OUTCOME.DONE, e.state) .. ended_call(a.id, e)
end

offer_operation('get_call', { 'no-writes' }, 5, parse_get_call, get_call)

-- The wallet's live calls after (at, id), in that order.
local function calls_after(after_at, after_id)
	local fields = call('HGETALL', keys[2])
	local found = {}
	for i = 1, #fields, 2 do
		local id = fields[i]
		if id ~= RECORD and id ~= SELDOM then
			parse_call(fields[i + 1])
			local at = c_authorized_at
			if not lease_is_over() and (at > after_at or (at == after_at and id > after_id)) then
				found[#found + 1] = { at = at, id = id, text = fields[i + 1] }
			end
		end
	end
	table.sort(found, function(a, b)
		return a.at < b.at or (a.at == b.at and a.id < b.id)
	end)
	return found
end

-- epoch, after at, most, after id.
local function parse_calls(text)
	local a = {}
	local at
	a.epoch, a.after_at, a.most, a.after_id, at = unpack('<I8i8I4Bc0', text)
	check_length(text, at)
	require_that(a.most >= 1 and a.most <= 1000, 'most')
	return a
end

local function calls(a)
	local found = calls_after(a.after_at, a.after_id)
	local parts, bytes, count = {}, 0, 0
	while count < #found and count < a.most and bytes < MOST.READ_BYTES do
		count = count + 1
		parse_call(found[count].text)
		parts[count] = live_call(found[count].id)
		bytes = bytes + #parts[count]
	end
	return answer(OUTCOME.DONE, NONE) .. pack('<I4B', count, count < #found and 1 or 0)
		.. table.concat(parts)
end

offer_operation('calls', { 'no-writes' }, 2, parse_calls, calls)

-- Companies in the due set: all that have live calls, and some whose last call has just ended.
offer('live_wallets', { 'no-writes' }, function(given, args)
	local text = argument(given, args, 2)
	check_length(text, 9)
	if not enter((unpack('<I8', text))) then
		return refused()
	end
	local companies = {}
	for _, company in ipairs(call('ZRANGE', keys[2], 0, -1)) do
		if #company == 16 then
			companies[#companies + 1] = company
		end
	end
	return pack('<BBi8c3', OUTCOME.DONE, NONE, now_ms(), '\0\0\0') .. table.concat(companies)
end)

-- A wallet as the ledger has it, with nothing running.
local function fresh_wallet(epoch, amount, version, terms_text)
	now = now_ms()
	parse_terms(terms_text)
	w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls = amount, 0, 0, 0, 0, now, 0
	w_version, w_exhausted_at, w_generation, w_terms = version, 0, epoch, terms_text
	w_due, w_due_was, w_calls_due, w_cursor, w_cursor_due = 0, 0, 0, 0, 0
	w_phase, w_arm, denials.at, denials.count, denials.verdict = PHASE.CALM, 0, 0, 0, 0
	swept, told, news = nil, nil, nil
	arm_low()
end

-- Puts a wallet there as the ledger has it, unless it is there; newer terms are taken anyway.
-- epoch, terms, posted, version, flags (announces 8, only where it is there 16).
offer('load', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 7)
	local epoch, terms_text, amount, version, flags, at = unpack('<I8c44i8I8B', text)
	check_length(text, at)
	check_terms(terms_text)
	require_that(version < 2 ^ 53, 'version')
	is_writing = true
	if not enter(epoch) then
		return refused()
	end
	local there = open(nil, terms_text)
	if not there and flag(flags, 16) then
		return pack('<BBi8c3', OUTCOME.ABSENT, NONE, 0, '\0\0\0')
	elseif not there and (amount < -BALANCE_MAX or amount > BALANCE_MAX) then
		now = now_ms()
		parse_terms(terms_text)
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	elseif not there then
		fresh_wallet(epoch, amount, version, terms_text)
		call('DEL', keys[2]) -- calls of a generation that was dropped
	end
	if flag(flags, 8) then
		announce(TOLD.UPDATED, '', 0)
		w_changed = true
	end
	commit_if_changed()
	return answer(OUTCOME.DONE, NONE)
end)

end
