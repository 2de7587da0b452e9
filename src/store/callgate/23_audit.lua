-- What `callgate audit` and `callgate doctor` ask.  Each answer is of one instant; nothing is written,
-- no epoch is asked for and no mark set: what is there is told whatever state it is in.
--
-- SPDX-License-Identifier: Apache-2.0

do

local MOST_CALLS = 10000 -- of one wallet, added up in one call
local MOST_WAITING = 10000 -- entries counted in one call
local LATENESS = { NONE = { ms = 0, id = '' } }

-- epoch, state, whether this server has confirmed it, its clock.
local function pack_head()
	head = read_head(keys[1])
	now = now_ms()
	local epoch = head and head.epoch or 0
	return pack('<BI8BBi8', OUTCOME.DONE, epoch, head and head.state or 0,
		epoch > 0 and marks[keys[1]] == epoch and 1 or 0, now)
end

-- The later of what is known to be late and the call at hand, which should have ended at `at`.
local function later(known, at, id)
	return now - at > known.ms and { ms = now - at, id = id } or known
end

-- What the wallet's record must say, by its calls; and which of them is there too long.
local function sums_of_calls()
	local sums = { calls = 0, held = 0, burn = 0, accrued = 0, rest = 0,
		lease = LATENESS.NONE, life = LATENESS.NONE }
	local fields = call('HGETALL', keys[2])
	for i = 1, #fields, 2 do
		local id = fields[i]
		if id ~= RECORD and id ~= SELDOM then
			parse_call(fields[i + 1])
			local whole, rest = split(deal.rate, accrued_ms())
			rest = rest + sums.rest
			sums.rest = rest % 60000
			sums.accrued = sums.accrued + whole + (rest - sums.rest) / 60000
			sums.calls, sums.held = sums.calls + 1, sums.held + held_of_call()
			if c_state == METERING then
				sums.burn = sums.burn + deal.rate
			end
			if c_state == AUTHORIZED then
				sums.lease = later(sums.lease, c_authorized_at + deal.lease_ms, id)
			else
				sums.life = later(sums.life,
					c_started_at + deal.longest_ms + deal.guard_ms + PERIOD.ABANDON_MS, id)
			end
		end
	end
	return sums
end

local ABSENT, THERE, DROPPED = 0, 1, 2

-- A wallet's record as it stands, and the sums over its calls.  KEYS: head, wallet, due.
offer('audit_wallet', { 'no-writes' }, function(given, args)
	check_length(argument(given, args, 3), 1)
	local answer = pack_head()
	local found = call('HMGET', keys[2], RECORD, SELDOM)
	if not head or not found[1] then
		return answer .. pack('<B', ABSENT)
	elseif not parse_wallet(found[1], found[2]) then
		return answer .. pack('<B', DROPPED)
	end
	local is_summed = call('HLEN', keys[2]) <= MOST_CALLS + 2
	local sums = is_summed and sums_of_calls() or
		{ calls = 0, held = 0, burn = 0, accrued = 0, rest = 0, lease = LATENESS.NONE, life = LATENESS.NONE }
	local score = call('ZSCORE', keys[3], sub(keys[2], -16))
	return answer .. pack('<Bi8I8i8i8i8i8I4i8i8B', THERE, w_posted, w_version, w_calls, w_held,
		w_burn, w_accrued, w_rem, w_due, score and tonumber(score) or 0, is_summed and 1 or 0)
		.. pack('<i8i8i8i8I4i8Bc0i8Bc0', sums.calls, sums.held, sums.burn, sums.accrued, sums.rest,
			sums.lease.ms, #sums.lease.id, sums.lease.id, sums.life.ms, #sums.life.id, sums.life.id)
end)

local ENTRY_LAYOUT, ENTRY_LEAST_BYTES = 2, 48

-- Entries after an id: of each its company, version, and the balance before and after it; version 0:
-- it cannot be read.  KEYS: head, ledger.
offer('audit_entries', { 'no-writes' }, function(given, args)
	local text = argument(given, args, 2)
	local after_epoch, after_n, most, at = unpack('<I8I8I4', text)
	check_length(text, at)
	require_that(most >= 1 and most <= 10000, 'most')
	local answer, parts = pack_head(), {}
	local found = call('XRANGE', keys[2], format('(%.0f-%.0f', after_epoch, after_n), '+', 'COUNT', most)
	for i, record in ipairs(found) do
		local epoch, n = streams.id_of(record[1])
		local blob, layout, company, version, type, amount, after = record[2][2]
		if #blob >= ENTRY_LEAST_BYTES then
			layout, company, version, type, amount, after = unpack('<Bc16I8Bi8i8', blob)
		end
		if layout ~= ENTRY_LAYOUT then
			company, version, type, amount, after = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0', 0, 0, 0, 0
		end
		parts[i] = pack('<I8I8c16I8Bi8i8', epoch, n, company, version, type, after - amount, after)
	end
	return answer .. pack('<I4B', #found, #found == most and 1 or 0) .. table.concat(parts)
end)

-- How many entries come after an id, MOST_WAITING at most, and when the first of them was made.
local function waiting_after(stream, epoch, n)
	local from = format('(%.0f-%.0f', epoch, n)
	local count, first_at = 0, 0
	while count < MOST_WAITING do
		local found = call('XRANGE', stream, from, '+', 'COUNT', 1000)
		if #found == 0 then
			break
		elseif count == 0 and #found[1][2][2] >= ENTRY_LEAST_BYTES then
			first_at = unpack('<I6', found[1][2][2], 43)
		end
		count, from = count + #found, '(' .. found[#found][1]
	end
	return count, first_at
end

-- A partition: what its head says, how far its stream goes, what waits after the ledger's cursor.
-- KEYS: head, ledger, due.
offer('audit_partition', { 'no-writes' }, function(given, args)
	local text = argument(given, args, 3)
	local after_epoch, after_n, at = unpack('<I8I8', text)
	check_length(text, at)
	local answer = pack_head()
	local h = whole_head() or { served = 0, partition_count = 0, trimmed_epoch = 0, trimmed_n = 0,
		deployment = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' }
	local last_epoch, last_n = 0, 0
	if call('EXISTS', keys[2]) == 1 then
		last_epoch, last_n = streams.last_id_of(keys[2])
	end
	local count, first_at = waiting_after(keys[2], after_epoch, after_n)
	local due = call('ZRANGE', keys[3], 0, 0, 'WITHSCORES')
	return answer .. pack('<I8I4c16I8I8I8I8I8I4i8i8', h.served, h.partition_count, h.deployment,
		h.trimmed_epoch, h.trimmed_n, last_epoch, last_n, call('XLEN', keys[2]), count, first_at,
		due[1] and #due[1] == 16 and tonumber(due[2]) or 0)
end)

end
