#!lua name=callgate_v1
--
-- The live truth about money: wallets, calls, and the entries that wait for the ledger.
-- Nothing but these functions writes a balance in the store.
--
-- Laws, true of every function:
--  - all keys are declared in KEYS; there is one packed argument and one packed reply;
--  - everything is checked before the first write, since an error undoes nothing;
--  - where there is a ledger entry it is the first write, the only one that can be refused;
--  - numbers are doubles: exact below 2^53, and only packing or %.0f makes text of them.
--
-- KEYS: 1 head, 2 wallet, 3 due, 4 ended:0, 5 ended:1, 6 ledger (7 events), as far as needed;
-- of the partition functions: 1 head, 2 ledger, 3 events, 4 due, 5 ended:0, 6 ended:1.
--
-- Sections that need nothing of each other stand in do ... end: Lua admits 200 locals at a time.
--
-- SPDX-License-Identifier: Apache-2.0

-- Outcomes, as in gate/ports/store.h; REFUSED: the epoch is not confirmed here.
local DONE, ABSENT, ASK, UNKNOWN_CALL, WRONG_STATE = 0, 1, 2, 3, 4
local KEY_REUSED, NO_PRICE, OUT_OF_RANGE, OUTBOX_FULL, TOO_LATE = 5, 6, 7, 8, 9
local REFUSED = 254

-- States of a call; POSTED marks the key of a credit or a charge.
local NONE, AUTHORIZED, METERING, SETTLED, CANCELLED, EXPIRED, STOPPED = 0, 1, 2, 3, 4, 5, 7
local POSTED = 100

local ALLOWED, NO_FUNDS, TOO_MANY, SUSPENDED, UNPRICED, BARRED = 1, 2, 3, 4, 5, 6
local USAGE, USAGE_CHAR = 6, '\6' -- the type of a call's and a charge's entry
local SERVING = 2

local BALANCE_MAX = 9e15 -- below 2^53, with room for one more amount
local AMOUNT_MAX = 999999999999999
local BURN_MAX = 1e12
local DURATION_MAX_MS = 604800000
local CALLS_MAX = 100000 -- live calls of one wallet
local READ_MAX_BYTES = 1048576

-- A wallet's own fields; its calls stand under their ids, which are neither.
local RECORD, SELDOM = '', '\0'
local LAYOUT = 1

-- Of a library being loaded nothing but its own text exists; the rest is bound at each call.
local call, pack, unpack, sub, find, format

-- The epoch that this server has confirmed per head: E, or -E while it is being recovered.
-- Not in any file and on no replica: a restart, a resync or a promotion is noticed by it.
local marks = {}
local heads = {} -- the last text of each head, parsed
local outboxes = {} -- at most how many entries wait in each stream

-- The operation at hand; functions run one at a time and none calls another one's.
local keys, head, now

local function bind()
	if not call then
		call, pack, unpack = redis.call, struct.pack, struct.unpack
		sub, find, format = string.sub, string.find, string.format
	end
end

local function now_ms()
	local time = call('TIME')
	local micros = time[2] + 0
	return time[1] * 1000 + (micros - micros % 1000) / 1000
end

local function require_that(holds, what)
	if not holds then
		error('callgate: malformed argument: ' .. what)
	end
end

local function check_length(text, at)
	require_that(at == #text + 1, 'length')
end

-- The one argument; `count` keys must stand before it.
local function argument(given, args, count)
	bind()
	require_that(#given >= count and #args == 1, 'keys')
	keys = given
	return args[1]
end

------------------------------------------------------------------------ arithmetic

-- floor(rate * ms / 60000) and what is left of it, without leaving 2^53.
local function split(rate, ms)
	local low = rate % 60000
	local part = low * ms
	local rest = part % 60000
	return (rate - low) / 60000 * ms + (part - rest) / 60000, rest
end

local function charge_for(rate, ms)
	local whole, rest = split(rate, ms)
	return rest > 0 and whole + 1 or whole
end

local function billed_ms(duration, minimum, increment)
	local over = duration % increment
	local billed = over > 0 and duration + increment - over or duration
	return billed < minimum and minimum or billed
end

-- Cost and billed milliseconds.
local function cost_of(deal, duration)
	if duration == 0 then
		return 0, 0
	end
	local billed = billed_ms(duration, deal.minimum, deal.increment)
	return deal.fee + charge_for(deal.rate, billed), billed
end

-- floor(amount * 60000 / burn), and the rest in units of 1/burn.  The product is taken in
-- two steps (240 * 250), since a remainder of burn times 60000 would leave 2^53.
local function ms_of(amount, burn)
	local size = amount < 0 and -amount or amount
	local left = size % burn
	local ms = (size - left) / burn * 60000
	local high = left * 240
	left = high % burn
	ms = ms + (high - left) / burn * 250
	local low = left * 250
	left = low % burn
	ms = ms + (low - left) / burn
	if amount >= 0 then
		return ms, left
	elseif left > 0 then
		return -ms - 1, burn - left
	end
	return -ms, 0
end

------------------------------------------------------------------------ head

local read_head, whole_head, write_head, own_history

do

-- In two fields, since every call reads the first: epoch, state, floor, current generation of
-- ended calls, whether the other one was ever used.
local IN_FORCE, IN_FORCE_LAYOUT = 'in_force', '<BdBdBB'
-- The last epoch that was served, last trimmed id, partition count, since when the current
-- generation is, the last id before it, deployment, history.
local HISTORY, HISTORY_LAYOUT = 'history', '<ddddddd' .. 'c16c40c40'

-- This server's history, 40 hexadecimal digits each; a promotion changes the second alone.
function own_history()
	return string.match(call('INFO', 'server'), 'run_id:(%x+)'),
		string.match(call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- What is in force, parsed once per change of its text; nil where there is no head.
function read_head(key)
	local text = call('HGET', key, IN_FORCE)
	local known = heads[key]
	if not text or (known and known.text == text) then
		return text and known
	end
	local h = { text = text }
	local layout
	layout, h.epoch, h.state, h.floor, h.ended, h.rotated = unpack(IN_FORCE_LAYOUT, text)
	require_that(layout == LAYOUT, 'head')
	heads[key] = h
	return h
end

-- The whole head, not shared with what read_head() keeps: a change is in force only once it is
-- written.
function whole_head()
	local h = read_head(keys[1])
	heads[keys[1]] = nil
	if h then
		h.served, h.trimmed_epoch, h.trimmed_n, h.partition_count, h.ended_since, h.older_epoch,
			h.older_n, h.deployment, h.run_id, h.replid =
			unpack(HISTORY_LAYOUT, call('HGET', keys[1], HISTORY))
	end
	return h
end

function write_head()
	call('HSET', keys[1],
		IN_FORCE, pack(IN_FORCE_LAYOUT, LAYOUT, head.epoch, head.state, head.floor, head.ended,
			head.rotated),
		HISTORY, pack(HISTORY_LAYOUT, head.served, head.trimmed_epoch, head.trimmed_n,
			head.partition_count, head.ended_since, head.older_epoch, head.older_n,
			head.deployment, head.run_id, head.replid))
	heads[keys[1]] = nil
end

end

-- Every call carries the epoch: false where this history is not the confirmed one.
local function enter(epoch)
	head = read_head(keys[1])
	return head and head.epoch == epoch and head.state == SERVING and marks[keys[1]] == epoch
end

local function refused()
	return pack('<B', REFUSED)
end

-- Function names are global in a server, so they carry the version too.
local function offer(name, flags, callback)
	redis.register_function{ function_name = 'cg1_' .. name, callback = callback, flags = flags }
end

------------------------------------------------------------------------ partitions

do

local READ_STEP = 100
local TRIM_MAX = 1000
local RECOVERING = 1
local HEALTHY, NO_HEAD, HALF_DONE, OTHER_HISTORY, OTHER_DEPLOYMENT = 0, 1, 2, 3, 4
local NO_DEPLOYMENT = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

-- See the table in ledger.md (When the store forgets).
local function condition_of(deployment, partition_count)
	if not head then
		return NO_HEAD
	elseif deployment ~= NO_DEPLOYMENT and
		(deployment ~= head.deployment or partition_count ~= head.partition_count) then
		return OTHER_DEPLOYMENT
	elseif head.state ~= SERVING then
		return HALF_DONE
	elseif marks[keys[1]] ~= head.epoch then
		local run_id, replid = own_history()
		if run_id ~= head.run_id or replid ~= head.replid then
			return OTHER_HISTORY
		end
		marks[keys[1]] = head.epoch
	end
	return HEALTHY
end

-- deployment, partition count.
offer('hello', { 'no-writes' }, function(given, args)
	local text = argument(given, args, 1)
	local deployment, partition_count, at = unpack('<c16I4', text)
	check_length(text, at)
	head = whole_head()
	local condition = condition_of(deployment, partition_count)
	head = head or { epoch = 0, trimmed_epoch = 0, trimmed_n = 0 }
	return pack('<BBI8I8I8i8', DONE, condition, head.epoch, head.trimmed_epoch, head.trimmed_n,
		now_ms())
end)

-- Numbers of an id "<epoch>-<n>".
local function id_of(text)
	local epoch, n = string.match(text, '^(%d+)-(%d+)$')
	return tonumber(epoch), tonumber(n)
end

local function last_id_of(key)
	local info = call('XINFO', 'STREAM', key)
	for i = 1, #info, 2 do
		if info[i] == 'last-generated-id' then
			return id_of(info[i + 1])
		end
	end
end

-- An empty stream, without using up an id.
local function make_stream(key)
	if call('EXISTS', key) == 0 then
		call('XGROUP', 'CREATE', key, 'made', '$', 'MKSTREAM')
		call('XGROUP', 'DESTROY', key, 'made')
	end
end

-- Every key exists from the first day, so that in a migrating slot declared keys answer
-- TRYAGAIN before any write.  The empty member and field stand for nothing.
local function make_keys()
	make_stream(keys[2])
	make_stream(keys[3])
	call('ZADD', keys[4], '+inf', '')
	call('HSET', keys[5], '', '')
	call('HSET', keys[6], '', '')
end

local function fresh_parts(epoch)
	now = now_ms()
	return { floor = epoch, trimmed_epoch = 0, trimmed_n = 0, ended = 0, rotated = 0,
		ended_since = now, older_epoch = 0, older_n = 0 }
end

-- epoch, deployment, partition count.
offer('fence', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 6)
	local epoch, deployment, partition_count, at = unpack('<I8c16I4', text)
	check_length(text, at)
	require_that(epoch >= 1 and epoch < 2 ^ 53, 'epoch')
	head = whole_head()
	local former = head and head.epoch or 0
	if former >= epoch then
		return pack('<BBI8I8I8I8I8I8', DONE, 1, former, 0, 0, 0, 0, 0)
	end
	-- Without a head nothing of what may be left here can be trusted: all wallets are absent.
	-- A recovery that was not finished leaves its epoch here, and says nothing of the history:
	-- only the epoch that was last served does.
	head = head or fresh_parts(epoch)
	head.served = head.served or 0
	head.epoch, head.state, head.deployment = epoch, RECOVERING, deployment
	head.partition_count = partition_count
	head.run_id, head.replid = own_history()
	write_head()
	make_keys()
	marks[keys[1]] = -epoch
	local last_epoch, last_n = last_id_of(keys[2])
	return pack('<BBI8I8I8I8I8I8', DONE, 0, former, head.served, last_epoch, last_n,
		head.trimmed_epoch, head.trimmed_n)
end)

-- Whether this very recovery is still under way here.
local function is_recovering(epoch)
	head = whole_head()
	return head and head.epoch == epoch and head.state == RECOVERING and marks[keys[1]] == -epoch
end

-- Not the latest history: what it says is void.  Wallets stay as keys, of a generation that
-- counts as absent.
offer('drop', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 6)
	local epoch, at = unpack('<I8', text)
	check_length(text, at)
	if not is_recovering(epoch) then
		return pack('<BB', DONE, 1)
	end
	for name, value in pairs(fresh_parts(epoch)) do
		head[name] = value
	end
	write_head()
	call('UNLINK', keys[2], keys[3], keys[4], keys[5], keys[6])
	make_keys()
	return pack('<BB', DONE, 0)
end)

offer('serve', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 1)
	local epoch, at = unpack('<I8', text)
	check_length(text, at)
	if enter(epoch) then
		return pack('<BB', DONE, 0) -- served already, by this very step
	end
	if not is_recovering(epoch) then
		return pack('<BB', DONE, 1)
	end
	head.state, head.served = SERVING, epoch
	head.run_id, head.replid = own_history()
	write_head()
	marks[keys[1]] = epoch
	return pack('<BB', DONE, 0)
end)

-- Whether READ and TRIM may go on: they also do while the partition is being recovered.
local function is_marked(epoch)
	head = whole_head()
	local mark = marks[keys[1]]
	return head and mark and (mark == head.epoch or mark == -head.epoch)
		and (epoch == 0 or epoch == head.epoch)
end

-- epoch, after (epoch, n), most.
offer('read', { 'no-writes' }, function(given, args)
	local text = argument(given, args, 2)
	local epoch, after_epoch, after_n, most, at = unpack('<I8I8I8I4', text)
	check_length(text, at)
	require_that(most >= 1 and most <= 1000, 'most')
	if not is_marked(epoch) then
		return refused()
	end
	local from = format('(%.0f-%.0f', after_epoch, after_n)
	local parts, bytes, more = {}, 0, true
	while more and #parts < most and bytes < READ_MAX_BYTES do
		local step = most - #parts < READ_STEP and most - #parts or READ_STEP
		local found = call('XRANGE', keys[2], from, '+', 'COUNT', step)
		more = #found == step
		for _, entry in ipairs(found) do
			local entry_epoch, n = id_of(entry[1])
			local blob = entry[2][2]
			parts[#parts + 1] = pack('<I8I8I4', entry_epoch, n, #blob) .. blob
			bytes = bytes + #blob
			from = '(' .. entry[1]
		end
	end
	return pack('<BI4Bi8', DONE, #parts, more and 1 or 0, now_ms()) .. table.concat(parts)
end)

-- Where the older generation of ended calls is flushed and trimmed, and the current one old
-- or large, the older is dropped whole and becomes the current one; whether it was.
local function rotate(keep_ms, count_max)
	local current, older = keys[5 + head.ended], keys[6 - head.ended]
	if now - head.ended_since < keep_ms and call('HLEN', current) <= count_max then
		return false
	end
	if head.trimmed_epoch < head.older_epoch or
		(head.trimmed_epoch == head.older_epoch and head.trimmed_n < head.older_n) then
		return false
	end
	call('UNLINK', older)
	call('HSET', older, '', '')
	head.ended, head.rotated, head.ended_since = 1 - head.ended, 1, now
	head.older_epoch, head.older_n = last_id_of(keys[2])
	return true
end

-- How many entries at the stream's beginning, up to `upto`, are older than `before`; the last.
local function oldest(key, upto, before)
	local removed, last = 0, nil
	local from = '-'
	while removed < TRIM_MAX do
		local found = call('XRANGE', key, from, upto, 'COUNT', removed == 0 and 1 or READ_STEP)
		for _, entry in ipairs(found) do
			local at_ms = unpack('<I6', entry[2][2], 43)
			if at_ms >= before or removed == TRIM_MAX then
				return removed, last
			end
			removed, last = removed + 1, entry[1]
		end
		if #found == 0 then
			break
		end
		from = '(' .. last
	end
	return removed, last
end

-- epoch, up to (epoch, n), margin, keep of ended keys in ms, their most.
offer('trim', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 6)
	local epoch, upto_epoch, upto_n, margin_ms, keep_ms, count_max, at =
		unpack('<I8I8I8i8i8I8', text)
	check_length(text, at)
	require_that(margin_ms >= 0 and keep_ms >= 0, 'margin')
	if not is_marked(epoch) then
		return refused()
	end
	now = now_ms()
	local removed, last = oldest(keys[2], format('%.0f-%.0f', upto_epoch, upto_n), now - margin_ms)
	if removed > 0 then
		head.trimmed_epoch, head.trimmed_n = id_of(last)
	end
	if rotate(keep_ms, count_max) or removed > 0 then
		write_head()
	end
	if removed > 0 then
		call('XTRIM', keys[2], 'MINID', '=', format('%.0f-%.0f', head.trimmed_epoch, head.trimmed_n + 1))
	end
	outboxes[keys[2]] = call('XLEN', keys[2])
	return pack('<BI4I8', DONE, removed, outboxes[keys[2]])
end)

end

------------------------------------------------------------------------ terms

-- A wallet's terms, kept as C packed them: version, credit limit, flags (unlimited 1,
-- suspended 2, frozen 4, shadow 8, low balance 16), calls, low balance, its ms, warning, currency.
local TERMS = '<I8i8BI4i8I4I4c3'

-- Those of the wallet at hand.  What is at hand stands in locals and not in a table: fifty
-- fields read and written per operation are a fifth of its time.
local terms_parsed, terms_version, terms_credit, terms_calls_max, terms_currency
local terms_unlimited, terms_suspended, terms_frozen, terms_shadow

local function flag(flags, bit)
	return flags % (bit + bit) >= bit
end

local function parse_terms(text)
	if terms_parsed == text then
		return
	end
	local flags, _
	terms_version, terms_credit, flags, terms_calls_max, _, _, _, terms_currency = unpack(TERMS, text)
	terms_unlimited = flag(flags, 1)
	terms_frozen = flag(flags, 4)
	terms_suspended = flag(flags, 2) or terms_frozen
	terms_shadow = flag(flags, 8)
	if terms_unlimited then
		terms_credit = 0
	end
	terms_parsed = text
end

local function check_terms(text)
	local _, credit, _, _, low, _, _, currency = unpack(TERMS, text)
	require_that(credit >= 0 and credit <= AMOUNT_MAX, 'credit_limit')
	require_that(low >= -AMOUNT_MAX and low <= AMOUNT_MAX, 'low_balance')
	require_that(find(currency, '^%l%l%l$') or currency == '\0\0\0', 'currency')
end

------------------------------------------------------------------------ wallet

-- The wallet at hand.
local w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls, w_version, w_exhausted_at
local w_due, w_generation, w_cursor, w_cursor_due, w_notices, w_terms
local w_due_was, w_changed, w_seldom_changed
local swept -- what the sweep takes out of it: what is remembered, by id

local pack_wallet, pack_seldom, change_seldom, parse_wallet

do

-- What nearly every operation changes.
local WALLET = '<Bdddddddddd'
-- And what few do: the generation, the sweep's cursor and what it found so far, what the tick has
-- announced and when it does so again (low balance, warning, cut-off, denials), the terms.
local SELDOM_LAYOUT = '<dddc32c40'
local seldom_parsed

function pack_wallet()
	return pack(WALLET, LAYOUT, w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls,
		w_version, w_exhausted_at, w_due)
end

function pack_seldom()
	return pack(SELDOM_LAYOUT, w_generation, w_cursor, w_cursor_due, w_notices, w_terms)
end

local function parse_seldom(text)
	if seldom_parsed ~= text then
		w_generation, w_cursor, w_cursor_due, w_notices, w_terms = unpack(SELDOM_LAYOUT, text)
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
	require_that(layout == LAYOUT, 'wallet')
	w_due_was = w_due
	w_changed, w_seldom_changed, swept = false, false, nil
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

-- T*: when available reaches zero at this burn; nil: never, or not within reach of a clock.
local function exhaustion()
	if w_burn == 0 or terms_unlimited then
		return nil
	end
	local ms, left = ms_of(w_posted + terms_credit - w_held - w_accrued, w_burn)
	left = left - w_rem
	ms = ms + (left - left % w_burn) / w_burn + (left % w_burn > 0 and 1 or 0)
	return ms < 1e14 and w_as_of + ms or nil
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

-- Kept while nothing is available: since when.  `at`: where the last money ran out just now.
local function note_exhaustion(at)
	if terms_unlimited or available() > 0 then
		w_exhausted_at = 0
	elseif w_exhausted_at == 0 then
		w_exhausted_at = at and at < now and at or now
	end
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
		w_terms = text
		parse_terms(text)
	end
end

------------------------------------------------------------------------ call

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
	d.has_good_limits = d.reserve_ms >= 1 and d.reserve_ms <= DURATION_MAX_MS
		and d.longest_ms >= 1 and d.longest_ms <= DURATION_MAX_MS and d.lease_ms >= 1
		and d.lease_ms <= DURATION_MAX_MS and d.guard_ms <= PERIOD_MAX_MS
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

-- `cut` is what the tick has told about it.  After these fields stands its tail: resource,
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
	return w_burn + rate <= BURN_MAX
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

------------------------------------------------------------------------ ended calls

-- The key of a credit or a charge: amount, entry, quantity, resource.
local KEPT = '<BBddddBc0'

local function key_of(type_char, reference)
	return sub(keys[2], -16) .. type_char .. reference
end

local parse_ended, pack_ended

do

-- Enough to answer repeats and GetCall, and to decide an expired call anew; then the tail.
local ENDED = '<BBBBBc40' .. 'dI4I4ddd' .. 'I6I6I6'
local HAS_PRICE, LATE, WAS_EXPIRED = 1, 2, 4

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
	e.tail = sub(text, at)
	return e
end

function pack_ended(e)
	return pack(ENDED, LAYOUT, e.state, (e.has_price and HAS_PRICE or 0) + (e.late and LATE or 0)
			+ (e.was_expired and WAS_EXPIRED or 0),
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
	return e
end

-- A call that has not begun becomes the call at hand.
local function take_call(deal_text, tail, authorized_at)
	deal = deal_of(deal_text)
	c_state, c_tail, c_authorized_at = AUTHORIZED, tail, authorized_at
	c_started_at, c_stopped_at, c_accrue_from, c_max_ms = 0, 0, 0, 0
	c_shadow, c_started_with, c_cut = 0, 0, NO_CUT
end

------------------------------------------------------------------------ due work

-- Expires the call at hand: its hold goes back, its key is remembered.  Written by commit().
local function expire(id)
	swept = swept or {}
	if not swept[id] then
		remove_call()
		swept[id] = ended_of_call(EXPIRED, c_authorized_at + deal.lease_ms)
		w_changed = true
	end
end

-- When the call at hand wants attention next; once it talks, it is looked at again in an hour.
local function due_of_call()
	return c_state == AUTHORIZED and c_authorized_at + deal.lease_ms or now + 3600000
end

-- Looks at some of the wallet's calls, once it is due: expires those whose lease is over,
-- and finds out when it is due again.  Where it has more calls than one step admits, it stays
-- due, and the next operation or tick goes on from the cursor.
local function sweep()
	local step = call('HSCAN', keys[2], format('%.0f', w_cursor), 'COUNT', 128)
	local nearest = w_cursor == 0 and 0 or w_cursor_due
	for i = 1, #step[2], 2 do
		local id = step[2][i]
		if id ~= RECORD and id ~= SELDOM then
			parse_call(step[2][i + 1])
			if lease_is_over() then
				expire(id)
			else
				local due = due_of_call()
				nearest = (nearest == 0 or due < nearest) and due or nearest
			end
		end
	end
	if w_cursor ~= 0 or step[1] ~= '0' then
		change_seldom()
		w_cursor, w_cursor_due = tonumber(step[1]), nearest
	end
	if w_cursor == 0 then
		w_due = nearest
	end
	w_changed = true
end

-- The call at hand lives on: the wallet is looked at no later than the call needs it.  The due
-- set is written only where that comes nearer.
local function mind_call()
	local at = due_of_call()
	if w_cursor ~= 0 and (w_cursor_due == 0 or at < w_cursor_due) then
		change_seldom()
		w_cursor_due = at
	end
	if w_due == 0 or at < w_due then
		w_due = at
	end
end

------------------------------------------------------------------------ steps shared by all

-- Reads the wallet and the call `id` (nil: none) and brings both up to now.  Whether the
-- wallet is there, and whether the call lives.
local function open(id, terms_text)
	local found = call('HMGET', keys[2], RECORD, SELDOM, id or RECORD)
	if not parse_wallet(found[1], found[2]) then
		return false, false
	end
	now = now_ms()
	advance()
	if available() <= 0 then
		note_exhaustion(exhaustion()) -- by running calls alone, since the last operation
	end
	if terms_text then
		take_terms(terms_text)
	end
	if w_due > 0 and w_due <= now then
		sweep()
	end
	local text = id and found[3]
	if text then
		parse_call(text)
		if lease_is_over() then
			expire(id)
			text = nil
		end
	end
	return true, text and true or false
end

-- What is remembered of a call that does not live.
local function recall(id)
	return swept and swept[id] or find_ended(key_of(USAGE_CHAR, id))
end

local function remember(key, text)
	call('HSET', keys[4 + head.ended], key, text)
end

-- What the sweep took out; `again`: the id of a call that lives again already.
local function write_swept(again)
	for id, ended in pairs(swept) do
		if id ~= again then
			call('HDEL', keys[2], id)
		end
		remember(key_of(USAGE_CHAR, id), pack_ended(ended))
	end
end

-- Writes everything but the ledger entry.  `live`: the record of call `id`; false: it has
-- none any more; nil: there is no call.  `key`, `kept`: what is remembered.
local function commit(id, live, key, kept)
	note_exhaustion()
	if live then
		call('HSET', keys[2], RECORD, pack_wallet(), id, live)
	else
		call('HSET', keys[2], RECORD, pack_wallet())
	end
	if w_seldom_changed then
		call('HSET', keys[2], SELDOM, pack_seldom())
	end
	if live == false then
		call('HDEL', keys[2], id)
	end
	if swept then
		write_swept(live and id)
	end
	if kept then
		remember(key, kept)
	end
	if w_due ~= w_due_was and w_due == 0 then
		call('ZREM', keys[3], sub(keys[2], -16))
	elseif w_due ~= w_due_was then
		call('ZADD', keys[3], format('%.0f', w_due), sub(keys[2], -16))
	end
end

-- An answer without an effect of its own: what the sweep did and newer terms are kept.
local function commit_if_changed()
	if w_changed then
		commit()
	end
end

-- Every reply begins with the outcome, the call's state, the instant and the currency.
local function reply(layout, outcome, state, ...)
	return pack(layout, outcome, state, now, terms_currency, ...)
end

local function answer(outcome, state)
	return pack('<BBi8c3', outcome, state, now, terms_currency)
end

-- An answer that names the state of a call that has ended, or of none.
local function answer_of(outcome, e)
	return answer(outcome, not e and NONE or e.state == POSTED and SETTLED or e.state)
end

-- Asked of the stream only where what is known may be too much: nothing but append() makes it
-- longer, and a history that this server did not write itself comes with a library loaded anew.
local function outbox_is_full(limit)
	local stream = keys[6]
	if limit > 0 and (outboxes[stream] or limit + 1) > limit then
		outboxes[stream] = call('XLEN', stream)
	end
	return limit > 0 and outboxes[stream] > limit
end

local function can_post(amount)
	local after = w_posted + amount
	return after >= -BALANCE_MAX and after <= BALANCE_MAX
end

-- Appends the ledger entry (layout: wire_partition.c) and moves `posted`: the first write of
-- its function.  Returns n of its id.
local function append(e)
	local description = e.description or ''
	local blob = pack('<Bc16I8Bi8i8I6BI8c24c3I4I4BI6I6I6Bc0Hc0', LAYOUT, sub(keys[2], -16),
		w_version + 1, e.type, e.amount, w_posted + e.amount, now, e.flags or 0, e.quantity or 0,
		e.deal or NO_PRICE_BYTES, terms_currency, e.duration_ms or 0, e.billed_ms or 0,
		e.basis or 0, e.authorized_at or 0, e.started_at or 0, e.ended_at or 0, #e.reference,
		e.reference, #description, description) .. (e.tail or NO_TAIL)
	local id = call('XADD', keys[6], format('%.0f-*', head.epoch), 'e', blob)
	outboxes[keys[6]] = outboxes[keys[6]] and outboxes[keys[6]] + 1
	w_version = w_version + 1
	w_posted = w_posted + e.amount
	return tonumber(string.match(id, '%-(%d+)$'))
end

------------------------------------------------------------------------ checks of arguments

local function check_id(id)
	require_that(#id <= 128 and find(id, '^[!-~]+$'), 'call_id')
end

local check_resource

do

local known_resources, known_resources_count = {}, 0

-- A deployment has a handful of resource types: each is looked at once.
function check_resource(resource)
	if not known_resources[resource] then
		require_that(#resource <= 64 and find(resource, '^%l[%l%d_]*$'), 'resource_type')
		if known_resources_count < 1000 then
			known_resources[resource] = true
			known_resources_count = known_resources_count + 1
		end
	end
end

end

local function check_destination(destination)
	require_that(destination == '' or (#destination <= 16 and find(destination, '^%+[1-9]%d+$')),
		'destination')
end

-- The end of an argument: resource, destination, meta.  A call's id is bound to the first two,
-- the tail's first `bound` bytes.
local function take_tail(a, text, resource, destination, meta_bytes)
	a.bound = 2 + #resource + #destination
	a.tail = sub(text, -a.bound - 2 - meta_bytes)
end

local function check_deal(a)
	local d = deal_of(a.deal)
	require_that(d.has_good_limits, 'limits')
	require_that(d.has_good_price or not a.has_price, 'price')
end

local function check_instant(at)
	require_that(at >= 0 and at < 2 ^ 47, 'instant')
end

------------------------------------------------------------------------ registration

-- An operation on one wallet: `parse` makes a table of the argument and checks it, `run` gets
-- it and whether the call a.id lives.
local function offer_operation(name, flags, key_count, parse, run)
	offer(name, flags, function(given, args)
		local a = parse(argument(given, args, key_count))
		if not enter(a.epoch) then
			return refused()
		end
		local there, live = open(a.id, a.terms)
		if not there then
			return pack('<BBi8c3', ABSENT, NONE, 0, '\0\0\0')
		elseif a.not_after and a.not_after > 0 and now > a.not_after then
			return answer(TOO_LATE, NONE)
		end
		return run(a, live)
	end)
end

------------------------------------------------------------------------ authorize

-- The refusals in their order; BARRED was looked for before.
local function decide(has_price, left)
	if terms_suspended then
		return SUSPENDED
	elseif not has_price then
		return UNPRICED
	elseif w_calls >= terms_calls_max then
		return TOO_MANY
	elseif not terms_unlimited and left < deal.hold then
		return NO_FUNDS
	end
	return ALLOWED
end

-- Where the plan is in shadow mode the answer is ALLOWED whatever was decided.
local function answered(verdict)
	if terms_shadow then
		return ALLOWED, verdict
	end
	return verdict, NONE
end

local REPLY_REPLAYED = 2

-- Whether the call at hand can be taken in, started or not, without leaving any range.
local function fits(left)
	return can_burn(deal.rate) and w_calls < CALLS_MAX and can_hold(deal.hold, left)
end

-- The call at hand was not held, and is started.
local function take_in_started(started_at)
	w_calls = w_calls + 1
	w_held = w_held + deal.headroom
	begin_metering(started_at, deal.headroom)
end

do

local REPLY_PRICE = 1
local authorize_reply = '<BBi8c3BBBc24i8i8i8I4I6'

-- A decision that keeps nothing: a denial, or one that was only asked about.
local function undecided(verdict, has_price, left)
	local decision, shadow = answered(verdict)
	local max_ms = 0
	if decision == ALLOWED and has_price and verdict ~= BARRED then
		max_ms = within_longest(lasts_ms(left, w_burn))
	end
	return reply(authorize_reply, DONE, NONE, decision, shadow, has_price and REPLY_PRICE or 0,
		deal.price, 0, left, has_price and deal.hold or 0, max_ms, 0)
end

local function authorized(replayed)
	return reply(authorize_reply, DONE, c_state, ALLOWED, c_shadow,
		REPLY_PRICE + (replayed and REPLY_REPLAYED or 0), deal.price,
		c_started_with == 1 and deal.headroom or deal.hold, available(), deal.hold, c_max_ms,
		expires_at())
end

-- The same id again: a replay, which may still start the call.
local function authorize_again(a)
	if not is_to(c_tail, a) then
		return answer(KEY_REUSED, c_state)
	end
	if a.start and not a.validate_only and c_state == AUTHORIZED then
		if not can_burn(deal.rate) then
			return answer(OUT_OF_RANGE, c_state)
		end
		begin_metering(now, deal.hold)
		mind_call()
		commit(a.id, pack_call())
	end
	return authorized(true)
end

-- Holds the call at hand, of which nothing was held before.
local function admit(a, left)
	if not fits(left) then
		return answer(OUT_OF_RANGE, NONE)
	elseif outbox_is_full(a.outbox_max) then
		return answer(OUTBOX_FULL, NONE)
	elseif a.start then
		c_started_with = 1
		take_in_started(now)
	else
		c_max_ms = within_longest(lasts_ms(left, w_burn))
		w_calls = w_calls + 1
		w_held = w_held + deal.hold
	end
	mind_call()
	commit(a.id, pack_call())
	return authorized(false)
end

local args_of_authorize = {}

-- epoch, not after, outbox, flags (start 1, validate_only 2, has price 4), terms, price and
-- limits, id, resource, destination, meta.
local function parse_authorize(text)
	local a = args_of_authorize
	local flags, resource, destination, meta_bytes, at
	a.epoch, a.not_after, a.outbox_max, flags, a.terms, a.deal, a.id, resource, destination,
		meta_bytes, at = unpack('<I8i8I8Bc40c40Bc0Bc0Bc0H', text)
	a.start, a.validate_only, a.has_price = flags % 2 >= 1, flags % 4 >= 2, flags % 8 >= 4
	check_length(text, at + meta_bytes)
	check_instant(a.not_after)
	check_resource(resource)
	check_destination(destination)
	check_deal(a)
	if a.id == '' and a.validate_only then
		a.id = nil
	else
		check_id(a.id)
	end
	take_tail(a, text, resource, destination, meta_bytes)
	return a
end

local function authorize(a, live)
	if live then
		return authorize_again(a)
	end
	local e = a.id and recall(a.id)
	if e and (e.state == POSTED or (e.has_price and not is_to(e.tail, a))) then
		return answer_of(KEY_REUSED, e)
	end
	take_call(a.deal, a.tail, now)
	local left = available()
	local verdict = e and e.state ~= EXPIRED and BARRED or decide(a.has_price, left)
	local decision, shadow = answered(verdict)
	if a.validate_only then
		return undecided(verdict, a.has_price, left)
	elseif decision ~= ALLOWED or verdict == BARRED or not a.has_price then
		-- Without a price or with a spent id nothing can be held, in shadow mode neither.
		commit_if_changed()
		return undecided(verdict, a.has_price, left)
	end
	c_shadow = shadow
	return admit(a, left)
end

offer_operation('authorize', {}, 6, parse_authorize, authorize)

end

------------------------------------------------------------------------ start, stop

do

local function started(decision, state, replayed)
	return reply('<BBi8c3BBI6I4i8B', DONE, state, decision, c_shadow, c_started_at, c_max_ms,
		available(), replayed and 1 or 0)
end

-- Before the authorization counts as then, the future as now.
local function start_instant(at)
	if at == 0 or at > now then
		return now
	end
	return at < c_authorized_at and c_authorized_at or at
end

-- An expired call is decided anew, at its old price.
local function start_expired(a)
	local left = available()
	local verdict = decide(true, left)
	local decision
	decision, c_shadow = answered(verdict)
	if decision ~= ALLOWED then
		commit_if_changed()
		return started(decision, EXPIRED, false)
	elseif not fits(left) then
		return answer(OUT_OF_RANGE, EXPIRED)
	end
	take_in_started(start_instant(a.started_at))
	mind_call()
	commit(a.id, pack_call())
	return started(ALLOWED, METERING, false)
end

-- epoch, not after, terms, started at, id.
local function parse_start(text)
	local a = {}
	local at
	a.epoch, a.not_after, a.terms, a.started_at, a.id, at = unpack('<I8i8c40i8Bc0', text)
	check_length(text, at)
	check_instant(a.not_after)
	check_instant(a.started_at)
	check_id(a.id)
	return a
end

local function start(a, live)
	if live and c_state ~= AUTHORIZED then
		return started(ALLOWED, c_state, true)
	elseif live and not can_burn(deal.rate) then
		return answer(OUT_OF_RANGE, c_state)
	elseif live then
		begin_metering(start_instant(a.started_at), deal.hold)
		mind_call()
		commit(a.id, pack_call())
		return started(ALLOWED, METERING, false)
	end
	local e = recall(a.id)
	if not e or e.state == POSTED then
		return answer(UNKNOWN_CALL, NONE)
	elseif e.state ~= EXPIRED then
		return answer(WRONG_STATE, e.state)
	end
	take_call(e.deal, e.tail, e.authorized_at)
	return start_expired(a)
end

offer_operation('start', {}, 5, parse_start, start)

local function stopped(replayed)
	local metered = c_stopped_at - c_started_at
	return reply('<BBi8c3I6i8i8B', DONE, STOPPED, metered, charge_for(deal.rate, metered),
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

-- epoch, terms, ended at, id.
local function parse_stop(text)
	local a = {}
	local at
	a.epoch, a.terms, a.ended_at, a.id, at = unpack('<I8c40i8Bc0', text)
	check_length(text, at)
	check_instant(a.ended_at)
	check_id(a.id)
	return a
end

local function stop(a, live)
	if not live then
		local e = recall(a.id)
		if not e or e.state == POSTED then
			return answer(UNKNOWN_CALL, NONE)
		end
		return answer(WRONG_STATE, e.state)
	elseif c_state == STOPPED then
		return stopped(true)
	elseif c_state ~= METERING then
		return answer(WRONG_STATE, c_state)
	end
	end_talk(end_instant(a.ended_at))
	commit(a.id, pack_call())
	return stopped(false)
end

-- Money can always be finished: what is marked allow-oom runs also where memory is short.
offer_operation('stop', { 'allow-oom' }, 5, parse_stop, stop)

end

------------------------------------------------------------------------ settle

do

local BASIS_METERED = 3
local REPLY_LATE, ENTRY_LATE = 4, 2

local function settled(outcome, e, replayed)
	return reply('<BBi8c3i8I4i8i8BI4Bc24i8I8I8', outcome, e.state, e.cost, e.billed_ms,
		w_posted, available(), (replayed and REPLY_REPLAYED or 0) + (e.late and REPLY_LATE or 0),
		e.duration_ms, e.basis, e.deal, e.corrected, e.epoch, e.n)
end

-- A Settle of a key that is remembered as charged.
local function settle_again(a, e)
	if e.state == POSTED then
		local charge = ended_of_nothing(SETTLED, now)
		charge.cost, charge.epoch, charge.n = -e.amount, e.epoch, e.n
		return settled(KEY_REUSED, charge, false)
	elseif a.as_metered or a.duration_ms == e.duration_ms then
		return settled(DONE, e, true)
	end
	return settled(KEY_REUSED, e, false)
end

-- The tail with more pairs: of two equal keys the later one holds.
local function with_meta(tail, meta)
	if meta == '' then
		return tail
	end
	local resource, destination, own = unpack('<Bc0Bc0Hc0', tail)
	return sub(tail, 1, 2 + #resource + #destination) .. pack('<H', #own + #meta) .. own .. meta
end

-- Charges `e`, whose price is known, and remembers it.  `ended_at`: nil where it is to be
-- told from start and duration.
local function post_call(a, e, ended_at, live)
	e.cost, e.billed_ms = cost_of(deal_of(e.deal), a.duration_ms)
	if not can_post(-e.cost) then
		return answer(OUT_OF_RANGE, e.state)
	end
	e.state, e.duration_ms, e.basis = SETTLED, a.duration_ms, a.basis
	e.started_at = a.started_at > 0 and a.started_at or e.started_at
	e.ended_at = ended_at or (e.started_at > 0 and e.started_at + a.duration_ms) or now
	e.tail = with_meta(e.tail, a.meta)
	e.type, e.amount, e.reference = USAGE, -e.cost, a.id
	e.flags = e.late and ENTRY_LATE or 0
	e.epoch = head.epoch
	e.n = append(e)
	commit(a.id, live, key_of(USAGE_CHAR, a.id), pack_ended(e))
	return settled(DONE, e, false)
end

local function settle_live(a)
	local ended_at = c_state == STOPPED and c_stopped_at or nil
	if a.as_metered then
		if c_state == AUTHORIZED then
			return answer(WRONG_STATE, c_state)
		end
		ended_at = ended_at or end_instant(a.ended_at)
		local metered = ended_at - c_started_at
		a.duration_ms = metered < DURATION_MAX_MS and metered or DURATION_MAX_MS
		a.basis = BASIS_METERED
	end
	local e = ended_of_call(c_state, 0)
	remove_call()
	return post_call(a, e, ended_at, false)
end

-- A call that is not held here: charged all the same, once the ledger does not know it, at
-- its own price where its record is left.
local function settle_late(a, e)
	if not a.asked then
		return answer_of(ASK, e)
	elseif not (e and e.has_price) and not a.has_resource then
		return answer(UNKNOWN_CALL, NONE)
	elseif a.as_metered then
		return answer_of(WRONG_STATE, e)
	elseif not (e and e.has_price) then
		if not a.has_price then
			return answer_of(NO_PRICE, e)
		end
		e = ended_of_nothing(NONE, now)
		e.has_price = true
		e.deal, e.tail = a.price .. NO_LIMITS, sub(a.tail, 1, a.bound) .. '\0\0'
	end
	e.late = true
	return post_call(a, e)
end

-- epoch, flags (as_metered 1, asked 2, has price 4), terms, duration, started at, ended at,
-- basis, price, id, resource, destination, meta.
local function parse_settle(text)
	local a = {}
	local flags, resource, destination, at
	a.epoch, flags, a.terms, a.duration_ms, a.started_at, a.ended_at, a.basis, a.price, a.id,
		resource, destination, a.meta, at = unpack('<I8Bc40i8i8i8Bc24Bc0Bc0Bc0Hc0', text)
	a.as_metered, a.asked, a.has_price = flag(flags, 1), flag(flags, 2), flag(flags, 4)
	a.has_resource = resource ~= ''
	check_length(text, at)
	check_id(a.id)
	check_instant(a.started_at)
	check_instant(a.ended_at)
	require_that(a.as_metered or (a.duration_ms >= 0 and a.duration_ms <= DURATION_MAX_MS),
		'duration')
	require_that(a.basis >= 1 and a.basis <= BASIS_METERED, 'basis')
	if a.has_resource then
		check_resource(resource)
		check_destination(destination)
	end
	if a.has_price then
		require_that(deal_of(a.price .. NO_LIMITS).has_good_price, 'price')
	end
	take_tail(a, text, resource, destination, #a.meta)
	return a
end

local function settle(a, live)
	if live then
		return settle_live(a)
	end
	local e = recall(a.id)
	if e and (e.state == SETTLED or e.state == POSTED) then
		return settle_again(a, e)
	end
	return settle_late(a, e)
end

offer_operation('settle', { 'allow-oom' }, 6, parse_settle, settle)

end

------------------------------------------------------------------------ cancel, adopt

do

local function cancelled(state, released, replayed)
	return reply('<BBi8c3i8i8B', DONE, state, released, available(), replayed and 1 or 0)
end

-- epoch, terms, id.
local function parse_cancel(text)
	local a = {}
	local at
	a.epoch, a.terms, a.id, at = unpack('<I8c40Bc0', text)
	check_length(text, at)
	check_id(a.id)
	return a
end

local function cancel_live(a)
	if c_state ~= AUTHORIZED then
		return answer(WRONG_STATE, c_state)
	end
	remove_call()
	commit(a.id, false, key_of(USAGE_CHAR, a.id), pack_ended(ended_of_call(CANCELLED, now)))
	return cancelled(CANCELLED, deal.hold, false)
end

local function cancel(a, live)
	if live then
		return cancel_live(a)
	end
	local e = recall(a.id)
	if not e then
		-- Barred: an Authorize still under way must not hold funds afterwards.
		local bar = pack_ended(ended_of_nothing(CANCELLED, now))
		commit(nil, nil, key_of(USAGE_CHAR, a.id), bar)
		return cancelled(CANCELLED, 0, false)
	elseif e.was_expired then
		return cancelled(EXPIRED, 0, true)
	elseif e.state == CANCELLED then
		return cancelled(CANCELLED, e.has_price and deal_of(e.deal).hold or 0, true)
	elseif e.state == EXPIRED then
		-- Nothing is held any more, and from now on nothing can be: a Start still under way
		-- must not begin what was cancelled.
		e.state, e.was_expired = CANCELLED, true
		commit(nil, nil, key_of(USAGE_CHAR, a.id), pack_ended(e))
		return cancelled(EXPIRED, 0, false)
	end
	return answer_of(WRONG_STATE, e)
end

offer_operation('cancel', { 'allow-oom' }, 5, parse_cancel, cancel)

local function adopted(replayed)
	return reply('<BBi8c3c24I4i8i8B', DONE, c_state, deal.price, c_max_ms,
		deal.headroom, available(), replayed and 1 or 0)
end

-- Meters the call at hand from its true start, whatever the balance.
-- Started in the future, or longer ago than the call may last: not what the provider can mean.
local function adopt_call(a, live)
	if a.started_at > now or a.started_at < now - deal.longest_ms then
		return answer(OUT_OF_RANGE, NONE)
	end
	local owed = charge_for(deal.rate, now - a.started_at)
	if not can_burn(deal.rate) or w_calls >= CALLS_MAX or not can_hold(deal.headroom + owed, available()) then
		return answer(OUT_OF_RANGE, NONE)
	elseif outbox_is_full(a.outbox_max) then
		return answer(OUTBOX_FULL, NONE)
	elseif live then
		begin_metering(a.started_at, deal.hold)
	else
		take_in_started(a.started_at)
	end
	mind_call()
	commit(a.id, pack_call())
	return adopted(false)
end

local function adopt_live(a)
	if not is_to(c_tail, a) then
		return answer(KEY_REUSED, c_state)
	elseif c_state == METERING then
		return adopted(true)
	elseif c_state ~= AUTHORIZED then
		return answer(WRONG_STATE, c_state)
	end
	return adopt_call(a, true)
end

-- Not live: never known here, or its lease ran out while it was ringing.
local function adopt_unknown(a, e)
	if e and e.state ~= EXPIRED then
		return answer_of(WRONG_STATE, e)
	elseif e and not is_to(e.tail, a) then
		return answer_of(KEY_REUSED, e)
	elseif not a.asked then
		return answer_of(ASK, e)
	elseif e then
		take_call(e.deal, e.tail, e.authorized_at)
	elseif a.has_price then
		take_call(a.deal, a.tail, now)
	else
		return answer(NO_PRICE, NONE)
	end
	return adopt_call(a, false)
end

-- epoch, outbox, flags (asked 2, has price 4), terms, price and limits, started at, id,
-- resource, destination, meta.
local function parse_adopt(text)
	local a = {}
	local flags, resource, destination, meta_bytes, at
	a.epoch, a.outbox_max, flags, a.terms, a.deal, a.started_at, a.id, resource, destination,
		meta_bytes, at = unpack('<I8I8Bc40c40i8Bc0Bc0Bc0H', text)
	a.asked, a.has_price = flag(flags, 2), flag(flags, 4)
	check_length(text, at + meta_bytes)
	check_id(a.id)
	check_instant(a.started_at)
	require_that(a.started_at > 0, 'started_at')
	check_resource(resource)
	check_destination(destination)
	check_deal(a)
	take_tail(a, text, resource, destination, meta_bytes)
	return a
end

local function adopt(a, live)
	if live then
		return adopt_live(a)
	end
	return adopt_unknown(a, recall(a.id))
end

offer_operation('adopt', {}, 6, parse_adopt, adopt)

end

------------------------------------------------------------------------ credit, charge

do

local REFUND, ADJUSTMENT = 4, 5
local ENTRY_IS_CHARGE = 1

local function posted(epoch, n, replayed)
	return reply('<BBi8c3i8i8BI8I8', DONE, NONE, w_posted, available(), replayed and 1 or 0,
		epoch, n)
end

-- Appends the entry of a credit or charge and remembers its key.
local function post(key, entry)
	if not can_post(entry.amount) then
		return answer(OUT_OF_RANGE, NONE)
	end
	local n = append(entry)
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
		unpack('<I8Bc40Bi8Bc0Hc0', text)
	a.asked = asked == 1
	check_length(text, at)
	require_that(a.type >= 1 and a.type <= ADJUSTMENT, 'type')
	require_that(a.amount ~= 0 and a.amount >= -AMOUNT_MAX and a.amount <= AMOUNT_MAX
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
		return answer(KEY_REUSED, NONE)
	elseif not a.asked then
		return answer(ASK, NONE)
	end
	return post(key, a)
end

offer_operation('credit', { 'allow-oom' }, 6, parse_credit, credit)

-- epoch, asked, terms, amount, quantity, reference, resource, description, meta.
local function parse_charge(text)
	local a = {}
	local asked, at
	a.epoch, asked, a.terms, a.amount, a.quantity, a.id, a.resource, a.description, a.meta, at =
		unpack('<I8Bc40i8i8Bc0Bc0Hc0Hc0', text)
	a.asked = asked == 1
	check_length(text, at)
	require_that(a.amount > 0 and a.amount <= AMOUNT_MAX, 'amount')
	require_that(a.quantity >= 1 and a.quantity <= AMOUNT_MAX, 'quantity')
	check_id(a.id)
	check_resource(a.resource)
	a.tail = pack('<Bc0BH', #a.resource, a.resource, 0, #a.meta) .. a.meta
	a.type, a.amount, a.reference, a.flags = USAGE, -a.amount, a.id, ENTRY_IS_CHARGE
	return a
end

local function charge(a, live)
	if live then
		return answer(KEY_REUSED, c_state)
	end
	local e = recall(a.id)
	if e and e.state == POSTED and e.amount == a.amount and e.quantity == a.quantity
		and e.resource == a.resource then
		return posted(e.epoch, e.n, true)
	elseif e then
		return answer_of(KEY_REUSED, e)
	elseif not a.asked then
		return answer(ASK, NONE)
	end
	return post(key_of(USAGE_CHAR, a.id), a)
end

offer_operation('charge', { 'allow-oom' }, 6, parse_charge, charge)

end

------------------------------------------------------------------------ looking

do

local NO_NOTICES = ('\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' .. '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0')

-- Readers see the wallet at this instant, expired holds given back, and write nothing.

-- epoch, terms: the balance is that of the newest terms, also where no operation has brought
-- them here yet.
local function parse_look(text)
	local a = {}
	local at
	a.epoch, a.terms, at = unpack('<I8c40', text)
	check_length(text, at)
	return a
end

local function balance()
	return reply('<BBi8c3i8i8i8i8i8i8I4I8BI8', DONE, NONE, w_posted, w_held, accrued_rounded(),
		terms_credit, available(), w_burn, w_calls,
		w_exhausted_at > 0 and w_exhausted_at or exhaustion() or 0,
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
	check_id(a.id)
	return a
end

local function get_call(a, live)
	if live then
		return answer(DONE, c_state) .. live_call(a.id)
	end
	local e = recall(a.id)
	if not e and not a.asked then
		return answer(ASK, NONE)
	elseif not e or e.state == POSTED then
		return answer(UNKNOWN_CALL, NONE)
	end
	return answer(DONE, e.state) .. ended_call(a.id, e)
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
	while count < #found and count < a.most and bytes < READ_MAX_BYTES do
		count = count + 1
		parse_call(found[count].text)
		parts[count] = live_call(found[count].id)
		bytes = bytes + #parts[count]
	end
	return answer(DONE, NONE) .. pack('<I4B', count, count < #found and 1 or 0)
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
	return pack('<BBi8c3', DONE, NONE, now_ms(), '\0\0\0') .. table.concat(companies)
end)

-- Puts a wallet there as the ledger has it, unless it is there; newer terms are taken anyway.
-- epoch, terms, posted, version.
offer('load', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 5)
	local epoch, terms_text, amount, version, at = unpack('<I8c40i8I8', text)
	check_length(text, at)
	check_terms(terms_text)
	require_that(version < 2 ^ 53, 'version')
	if not enter(epoch) then
		return refused()
	elseif open(nil, terms_text) then
		commit_if_changed()
		return answer(DONE, NONE)
	end
	now = now_ms()
	parse_terms(terms_text)
	if amount < -BALANCE_MAX or amount > BALANCE_MAX then
		return answer(OUT_OF_RANGE, NONE)
	end
	change_seldom()
	w_posted, w_held, w_burn, w_accrued, w_rem, w_as_of, w_calls = amount, 0, 0, 0, 0, now, 0
	w_version, w_exhausted_at, w_generation, w_notices = version, 0, epoch, NO_NOTICES
	w_due, w_due_was, w_cursor, w_cursor_due, w_terms, swept = 0, 0, 0, 0, terms_text, nil
	call('DEL', keys[2]) -- calls of a generation that was dropped
	commit()
	return answer(DONE, NONE)
end)

end
