-- Repair: what the ledger has and this history lost, one wallet at a time (ledger.md, Recovery,
-- step 4).
--
-- SPDX-License-Identifier: Apache-2.0

do

-- As the ledger has an entry: type, flags (charge 1, late 2, corrected 4), id, amount, amount of
-- the correction, quantity, price, duration, billed ms, basis, authorized, started, ended;
-- reference, resource, destination, meta.  Of a correction: its call's, with the correction's
-- id, duration, billed ms and basis.
local LOST = '<BBI8I8i8i8i8c24I4I4BI6I6I6Bc0Bc0Bc0Hc0'
local LOST_MAX = 64

local function parse_lost(text, at)
	local l = {}
	local flags, destination, meta
	l.type, flags, l.epoch, l.n, l.amount, l.correction, l.quantity, l.price, l.duration_ms,
		l.billed_ms, l.basis, l.authorized_at, l.started_at, l.ended_at, l.reference, l.resource,
		destination, meta, at = unpack(LOST, text, at)
	l.is_charge, l.late, l.is_corrected = flag(flags, 1), flag(flags, 2), flag(flags, 4)
	l.is_call = l.type == USAGE and not l.is_charge
	l.tail = pack('<Bc0Bc0Hc0', #l.resource, l.resource, #destination, destination, #meta, meta)
	require_that(l.type >= 1 and l.type <= USAGE and l.basis <= BASIS.ASSUMED, 'entry')
	require_that(l.epoch >= 1 and l.epoch < 2 ^ 53 and l.n < 2 ^ 53, 'entry_id')
	require_that(l.amount >= -BALANCE_MAX and l.amount <= BALANCE_MAX
		and l.correction >= -BALANCE_MAX and l.correction <= BALANCE_MAX, 'amount')
	require_that(l.quantity >= -MOST.AMOUNT and l.quantity <= MOST.AMOUNT, 'quantity')
	return l, at
end

-- epoch, posted, version, how many entries, the entries.
local function parse_repair(text)
	local a = { lost = {} }
	local count, at
	a.epoch, a.posted, a.version, count, at = unpack('<I8i8I8I4', text)
	require_that(count <= LOST_MAX, 'count')
	require_that(a.posted >= -BALANCE_MAX and a.posted <= BALANCE_MAX, 'posted')
	require_that(a.version < 2 ^ 53, 'version')
	for i = 1, count do
		a.lost[i], at = parse_lost(text, at)
	end
	check_length(text, at)
	return a
end

-- What is remembered of a call that the ledger has.  Its own record, where it lives here, knows
-- besides what shadow mode said of it.
local function ended_of_lost(l, lives)
	local e = ended_of_nothing(SETTLED, l.ended_at)
	if l.basis == BASIS.ASSUMED and not l.is_corrected then
		e.state = ABANDONED
	end
	e.has_price = deal_of(l.price .. NO_LIMITS).has_good_price
	e.late, e.was_corrected, e.basis, e.deal = l.late, l.is_corrected, l.basis, l.price .. NO_LIMITS
	e.cost, e.corrected = -l.amount - l.correction, -l.correction
	e.billed_ms, e.duration_ms, e.epoch, e.n = l.billed_ms, l.duration_ms, l.epoch, l.n
	e.authorized_at, e.started_at, e.tail = l.authorized_at, l.started_at, l.tail
	e.shadow = lives and c_shadow or NONE
	return e
end

-- The call is over: what it held, burned and accrued goes back, as the ledger has charged it.
local function close_call(l)
	local text = call('HGET', keys[2], l.reference)
	if text then
		parse_call(text)
		remove_call()
		call('HDEL', keys[2], l.reference)
	end
	return ended_of_lost(l, text)
end

-- The key under which the entry is remembered, and what.
local function remembered(l)
	if l.is_call then
		return key_of(USAGE_CHAR, l.reference), pack_ended(close_call(l))
	end
	return key_of(string.char(l.type), l.reference),
		pack(KEPT, LAYOUT, POSTED, l.amount, l.epoch, l.n, l.quantity, #l.resource, l.resource)
end

-- Watchers who have not read what was lost must not go on as if it had never been: what they
-- know is out of range from here on.
local function void_tokens()
	if streams.end_of(keys[7]).epoch < head.epoch then
		call('XSETID', keys[7], format('%.0f-0', head.epoch))
		own.ends[keys[7]] = nil
		streams.note_events_cut(head.epoch - 1, 2 ^ 53 - 1)
	end
end

-- The wallet at hand, written without anything that is due being done or told: an entry must not
-- be, since the end of the stream says what was lost until the partition is served.  What was
-- told of its end is void, and whoever ticks first looks at it anew.
local function write_repaired()
	rearm()
	note_exhaustion()
	w_due = (w_due == 0 or now < w_due) and now or w_due
	call('HSET', keys[2], RECORD, pack_wallet(), SELDOM, pack_seldom())
	call('ZADD', keys[3], format('%.0f', w_due), sub(keys[2], -16))
end

local function repair(a)
	for _, l in ipairs(a.lost) do
		if l.reference ~= '' then -- set aside as bytes: what it was about is not known here
			local key, kept = remembered(l)
			call('HSET', keys[4 + head.ended], key, kept)
		end
	end
	if a.version > w_version then
		w_posted, w_version = a.posted, a.version
	end
	write_repaired()
end

offer('repair', { 'allow-oom' }, function(given, args)
	local a = parse_repair(argument(given, args, 7))
	if not is_recovering(a.epoch) then
		return pack('<BB', OUTCOME.DONE, 1)
	end
	void_tokens()
	if bring_up(RECORD) then
		repair(a)
	end
	return pack('<BB', OUTCOME.DONE, 0)
end)

end
