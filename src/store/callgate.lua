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
-- KEYS: 1 head, 2 wallet, 3 due, 4 ended:0, 5 ended:1, 6 ledger, 7 events; readers as far as
-- needed; of the partition functions: 1 head, 2 ledger, 3 events, 4 due, 5 ended:0, 6 ended:1;
-- of tick: as an operation's without the wallet, then as many wallets as there are.
--
-- Whatever is due on a wallet (leases, exhaustion, warnings, abandonment) is done and written
-- before the operation that comes across it, by the same function; tick() does the same for
-- wallets that nobody touches.
--
-- Sections that need nothing of each other stand in do ... end: Lua admits 200 locals at a time.
--
-- SPDX-License-Identifier: Apache-2.0

-- As in gate/ports/store.h; REFUSED: the epoch is not confirmed here.
local OUTCOME = {
	DONE = 0, ABSENT = 1, ASK = 2, UNKNOWN_CALL = 3, WRONG_STATE = 4, KEY_REUSED = 5,
	NO_PRICE = 6, OUT_OF_RANGE = 7, OUTBOX_FULL = 8, TOO_LATE = 9, REFUSED = 254,
}

-- States of a call; POSTED marks the key of a credit or a charge.
local NONE, AUTHORIZED, METERING, SETTLED, CANCELLED, EXPIRED, ABANDONED, STOPPED =
	0, 1, 2, 3, 4, 5, 6, 7
local POSTED = 100

local ALLOWED = 1
local DENIED = { NO_FUNDS = 2, TOO_MANY = 3, SUSPENDED = 4, UNPRICED = 5, BARRED = 6 }
local USAGE, USAGE_CHAR = 6, '\6' -- the type of a call's and a charge's entry
local ADJUSTMENT = 5
local BASIS = { METERED = 3, ASSUMED = 4 }
local SERVING = 2

local BALANCE_MAX = 9e15 -- below 2^53, with room for one more amount
local MOST = {
	AMOUNT = 999999999999999,
	BURN = 1e12,
	DURATION_MS = 604800000,
	CALLS = 100000, -- live calls of one wallet
	READ_BYTES = 1048576,
}

-- A wallet's own fields; its calls stand under their ids, which are neither.
local RECORD, SELDOM = '', '\0'
local LAYOUT = 1
local PERIOD = {
	LOOK_AGAIN_MS = 3600000, -- where the end is further off, it is computed again after this
	ABANDON_MS = 900000, -- from OVERDUE on
	DENIALS_MS = 1000, -- at most one event of a denial, per company
}

-- Of a library being loaded nothing but its own text exists; the rest is bound at each call.
local call, pack, unpack, sub, find, format

-- The epoch that this server has confirmed per head: E, or -E while it is being recovered.
-- Not in any file and on no replica: a restart, a resync or a promotion is noticed by it.
local marks = {}
local heads = {} -- the last text of each head, parsed
-- At most how many entries wait in each stream, and the last id of each: true as long as this
-- server alone writes them, so they are forgotten whenever a mark is set.
local outboxes, ends = {}, {}

-- The operation at hand; functions run one at a time and none calls another one's.
local keys, head, now
local is_writing -- false: of a reader, which must leave everything as it is

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

local split, charge_for, cost_of, ms_of

do

-- floor(rate * ms / 60000) and what is left of it, without leaving 2^53.
function split(rate, ms)
	local low = rate % 60000
	local part = low * ms
	local rest = part % 60000
	return (rate - low) / 60000 * ms + (part - rest) / 60000, rest
end

function charge_for(rate, ms)
	local whole, rest = split(rate, ms)
	return rest > 0 and whole + 1 or whole
end

local function billed_ms(duration, minimum, increment)
	local over = duration % increment
	local billed = over > 0 and duration + increment - over or duration
	return billed < minimum and minimum or billed
end

-- Cost and billed milliseconds.
function cost_of(deal, duration)
	if duration == 0 then
		return 0, 0
	end
	local billed = billed_ms(duration, deal.minimum, deal.increment)
	return deal.fee + charge_for(deal.rate, billed), billed
end

-- floor(amount * 60000 / burn), and the rest in units of 1/burn.  The product is taken in
-- two steps (240 * 250), since a remainder of burn times 60000 would leave 2^53.
function ms_of(amount, burn)
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

-- From here on this server's history is the confirmed one, or about to be.
local function set_mark(epoch)
	marks[keys[1]] = epoch
	outboxes, ends = {}, {}
end

-- Every call carries the epoch: false where this history is not the confirmed one.
local function enter(epoch)
	head = read_head(keys[1])
	return head and head.epoch == epoch and head.state == SERVING and marks[keys[1]] == epoch
end

local function refused()
	return pack('<B', OUTCOME.REFUSED)
end

-- Function names are global in a server, so they carry the version too.
local function offer(name, flags, callback)
	redis.register_function{ function_name = 'cg1_' .. name, callback = callback, flags = flags }
end

------------------------------------------------------------------------ streams

local streams = { STEP = 100 } -- records read at once

do

-- Numbers of an id "<epoch>-<n>".
function streams.id_of(text)
	local epoch, n = string.match(text, '^(%d+)-(%d+)$')
	return tonumber(epoch), tonumber(n)
end

function streams.last_id_of(key)
	local info = call('XINFO', 'STREAM', key)
	for i = 1, #info, 2 do
		if info[i] == 'last-generated-id' then
			return streams.id_of(info[i + 1])
		end
	end
end

-- The last id of a stream, asked of it once; written by streams.add() from then on.
function streams.end_of(stream)
	local last = ends[stream]
	if not last then
		last = {}
		last.epoch, last.n = streams.last_id_of(stream)
		ends[stream] = last
	end
	return last
end

-- Appends one record; n of its id.
function streams.add(stream, field, blob)
	local last = streams.end_of(stream)
	local id = call('XADD', stream, format('%.0f-*', head.epoch), field, blob)
	last.epoch, last.n = streams.id_of(id)
	return last.n
end

-- The oldest records of a stream up to `upto`, step by step, as long as `take` takes them, but
-- TRIM_MAX at most: how many, and the last one's id.
local TRIM_MAX = 1000

function streams.oldest(stream, upto, take)
	local count, last = 0, nil
	local from = '-'
	while count < TRIM_MAX do
		local found = call('XRANGE', stream, from, upto, 'COUNT', count == 0 and 1 or streams.STEP)
		for _, record in ipairs(found) do
			if count == TRIM_MAX or not take(record, count) then
				return count, last
			end
			count, last = count + 1, record[1]
		end
		if #found == 0 then
			break
		end
		from = '(' .. last
	end
	return count, last
end

-- Records after an id, each as <I8I8I4 epoch, n, bytes> and its bytes; whether there are more.
function streams.after(stream, after_epoch, after_n, most)
	local from = format('(%.0f-%.0f', after_epoch, after_n)
	local parts, bytes, more = {}, 0, true
	while more and #parts < most and bytes < MOST.READ_BYTES do
		local step = most - #parts < streams.STEP and most - #parts or streams.STEP
		local found = call('XRANGE', stream, from, '+', 'COUNT', step)
		more = #found == step
		for _, record in ipairs(found) do
			local epoch, n = streams.id_of(record[1])
			local blob = record[2][2]
			parts[#parts + 1] = pack('<I8I8I4', epoch, n, #blob) .. blob
			bytes = bytes + #blob
			from = '(' .. record[1]
		end
	end
	return parts, more
end

-- Removes everything up to and with this id.
function streams.cut(stream, epoch, n)
	call('XTRIM', stream, 'MINID', '=', format('%.0f-%.0f', epoch, n + 1))
end

end

------------------------------------------------------------------------ partitions

do

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
		set_mark(head.epoch)
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
	return pack('<BBI8I8I8i8', OUTCOME.DONE, condition, head.epoch, head.trimmed_epoch, head.trimmed_n,
		now_ms())
end)

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
		return pack('<BBI8I8I8I8I8I8', OUTCOME.DONE, 1, former, 0, 0, 0, 0, 0)
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
	set_mark(-epoch)
	local last_epoch, last_n = streams.last_id_of(keys[2])
	return pack('<BBI8I8I8I8I8I8', OUTCOME.DONE, 0, former, head.served, last_epoch, last_n,
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
		return pack('<BB', OUTCOME.DONE, 1)
	end
	for name, value in pairs(fresh_parts(epoch)) do
		head[name] = value
	end
	write_head()
	call('UNLINK', keys[2], keys[3], keys[4], keys[5], keys[6])
	make_keys()
	return pack('<BB', OUTCOME.DONE, 0)
end)

offer('serve', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 1)
	local epoch, at = unpack('<I8', text)
	check_length(text, at)
	if enter(epoch) then
		return pack('<BB', OUTCOME.DONE, 0) -- served already, by this very step
	end
	if not is_recovering(epoch) then
		return pack('<BB', OUTCOME.DONE, 1)
	end
	head.state, head.served = SERVING, epoch
	head.run_id, head.replid = own_history()
	write_head()
	set_mark(epoch)
	return pack('<BB', OUTCOME.DONE, 0)
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
	local parts, more = streams.after(keys[2], after_epoch, after_n, most)
	return pack('<BI4Bi8', OUTCOME.DONE, #parts, more and 1 or 0, now_ms()) .. table.concat(parts)
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
	head.older_epoch, head.older_n = streams.last_id_of(keys[2])
	return true
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
	local upto = format('%.0f-%.0f', upto_epoch, upto_n)
	local removed, last = streams.oldest(keys[2], upto, function(entry)
		return unpack('<I6', entry[2][2], 43) < now - margin_ms
	end)
	if removed > 0 then
		head.trimmed_epoch, head.trimmed_n = streams.id_of(last)
	end
	if rotate(keep_ms, count_max) or removed > 0 then
		write_head()
	end
	if removed > 0 then
		streams.cut(keys[2], head.trimmed_epoch, head.trimmed_n)
	end
	outboxes[keys[2]] = call('XLEN', keys[2])
	return pack('<BI4I8', OUTCOME.DONE, removed, outboxes[keys[2]])
end)

end

------------------------------------------------------------------------ terms

local function flag(flags, bit)
	return flags % (bit + bit) >= bit
end

-- Those of the wallet at hand.  What is at hand stands in locals and not in a table: fifty
-- fields read and written per operation are a fifth of its time.
local terms_version, terms_credit, terms_calls_max, terms_currency
local terms_unlimited, terms_suspended, terms_frozen, terms_shadow
local terms_has_low, terms_low, terms_low_ms, terms_warning_ms, terms_repeat_ms

local parse_terms, check_terms

do

-- A wallet's terms, kept as C packed them: version, credit limit, flags (unlimited 1,
-- suspended 2, frozen 4, shadow 8, low balance 16), calls, low balance, its ms, how long before
-- T* the warning comes, after how long CUT_OFF comes again, currency.
local TERMS = '<I8i8BI4i8I4I4I4c3'
local terms_parsed

function parse_terms(text)
	if terms_parsed == text then
		return
	end
	local flags
	terms_version, terms_credit, flags, terms_calls_max, terms_low, terms_low_ms,
		terms_warning_ms, terms_repeat_ms, terms_currency = unpack(TERMS, text)
	terms_unlimited = flag(flags, 1)
	terms_frozen = flag(flags, 4)
	terms_suspended = flag(flags, 2) or terms_frozen
	terms_shadow = flag(flags, 8)
	terms_has_low = flag(flags, 16)
	if terms_unlimited then
		terms_credit = 0
	end
	terms_parsed = text
end

function check_terms(text)
	local _, credit, _, _, low, low_ms, warning, again, currency = unpack(TERMS, text)
	require_that(low_ms <= MOST.DURATION_MS and warning <= MOST.DURATION_MS
		and again <= MOST.DURATION_MS, 'notice')
	require_that(credit >= 0 and credit <= MOST.AMOUNT, 'credit_limit')
	require_that(low >= -MOST.AMOUNT and low <= MOST.AMOUNT, 'low_balance')
	require_that(find(currency, '^%l%l%l$') or currency == '\0\0\0', 'currency')
end

end

------------------------------------------------------------------------ wallet

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
	require_that(layout == LAYOUT, 'wallet')
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

------------------------------------------------------------------------ entries and events

local ENTRY = { IS_CHARGE = 1, IS_LATE = 2, IS_CORRECTION = 4, HAS_SHADOW = 8 }

-- Events, by the contract's numbers.
local TOLD = {
	AUTHORIZED = 1, STARTED = 2, CANCELLED = 4, EXPIRED = 5, CUT_OFF = 7, LOW = 8, WARNING = 10,
	DENIED = 12, ADOPTED = 13, UPDATED = 15, STOPPED = 16, OVERDUE = 17,
}

local append, announce, write_news

do

local ENTRY_LAYOUT, EVENT_LAYOUT = 2, 1

-- What shadow mode would have spared of a call that has ended: all of it where it would have
-- been denied, what came after its cut-off where it would have been cut off.
local function shadow_block(e)
	local saved
	if e.type ~= USAGE or not e.shadow or e.shadow == NONE then
		return ''
	elseif e.shadow ~= ALLOWED then
		saved = e.cost
	elseif e.cut_after then
		local talk = e.cut_after < e.duration_ms and e.cut_after or e.duration_ms
		saved = e.cost - cost_of(deal_of(e.deal), talk)
	else
		return ''
	end
	return pack('<BI6i8', e.shadow, e.cut_after and e.cut_at or 0, saved)
end

-- Appends the ledger entry (layout: wire_partition.c) and moves `posted`: the first write of
-- its function.  Returns n of its id.  T* is told of what is not usage: of money that came.
function append(e)
	local description, shadow = e.description or '', shadow_block(e)
	w_version = w_version + 1
	w_posted = w_posted + e.amount
	local ends_at = e.type ~= USAGE and told_end() or 0
	local blob = pack('<Bc16I8Bi8i8I6Bi8c24c3I4I4BI6I6I6i8I6Bc0Hc0', ENTRY_LAYOUT,
		sub(keys[2], -16), w_version, e.type, e.amount, w_posted, now,
		(e.flags or 0) + (shadow ~= '' and ENTRY.HAS_SHADOW or 0), e.quantity or 0,
		e.deal or NO_PRICE_BYTES, terms_currency, e.duration_ms or 0, e.billed_ms or 0,
		e.basis or 0, e.authorized_at or 0, e.started_at or 0, e.ended_at or 0, available(),
		ends_at, #e.reference, e.reference, #description, description)
		.. (e.tail or NO_TAIL) .. shadow
	local n = streams.add(keys[6], 'e', blob)
	outboxes[keys[6]] = outboxes[keys[6]] and outboxes[keys[6]] + 1
	return n
end

-- An event, written by commit().  `id`: the call at hand's, whose meta goes with it, or ''.
-- It notes after which ledger entry it comes, so that readers of both streams agree on an order.
function announce(type, id, amount, more)
	local last = streams.end_of(keys[6])
	local meta = ''
	if id ~= '' then
		local _
		_, _, meta = unpack('<Bc0Bc0Hc0', c_tail)
	end
	more = more or {}
	news = news or {}
	news[#news + 1] = pack('<BBc16I6I8I8i8i8I6I4BBBBc0Hc0', EVENT_LAYOUT, type,
		sub(keys[2], -16), now, last.epoch, last.n, amount, available(), more.ends_at or 0,
		more.count or 0, more.decision or 0, id ~= '' and c_shadow or 0, terms_shadow and 1 or 0,
		#id, id, #meta, meta)
end

function write_news()
	for _, blob in ipairs(news) do
		streams.add(keys[7], 'e', blob)
	end
end

end

------------------------------------------------------------------------ due work

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

------------------------------------------------------------------------ steps shared by all

local commit, commit_if_changed, attend, bring_up, open, recall

do

local function remember(key, text)
	call('HSET', keys[4 + head.ended], key, text)
end

-- What the sweep took out or changed; `again`: the id of a call that lives again already.
local function write_swept(again)
	for id, ended in pairs(swept or {}) do
		if id ~= again then
			call('HDEL', keys[2], id)
		end
		remember(key_of(USAGE_CHAR, id), pack_ended(ended))
	end
	for id, text in pairs(told or {}) do
		call('HSET', keys[2], id, text)
	end
end

-- Writes everything but the ledger entry.  `lives`: the call at hand, `id`, has a record; false:
-- it has none any more; nil: there is no call.  `key`, `kept`: what is remembered.
function commit(id, lives, key, kept)
	note_exhaustion()
	look_ahead()
	if lives then
		tell_end(id)
		mind_call()
		call('HSET', keys[2], RECORD, pack_wallet(), id, pack_call())
	else
		call('HSET', keys[2], RECORD, pack_wallet())
	end
	if w_seldom_changed then
		call('HSET', keys[2], SELDOM, pack_seldom())
	end
	if lives == false then
		call('HDEL', keys[2], id)
	end
	if swept or told then
		write_swept(lives and id)
	end
	if kept then
		remember(key, kept)
	end
	if w_due ~= w_due_was and w_due == 0 then
		call('ZREM', keys[3], sub(keys[2], -16))
	elseif w_due ~= w_due_was then
		call('ZADD', keys[3], format('%.0f', w_due), sub(keys[2], -16))
	end
	if news then
		write_news()
	end
end

-- Does what is due of the wallet at hand, as far as one step admits, and writes it.  How many
-- calls it looked at.
function attend()
	local looked = 0
	note_exhaustion()
	-- Holds that are over go back before anybody is told that the end has come.
	if w_calls_due == 0 or w_calls_due > now then
		note_phase(exhaustion())
	end
	if w_calls_due > 0 and w_calls_due <= now then
		looked = sweep()
	end
	if denials.count > 0 and now >= denials.at + PERIOD.DENIALS_MS then
		change_seldom()
		announce(TOLD.DENIED, '', 0, { decision = denials.verdict, count = denials.count })
		denials.at, denials.count = now, 0
	end
	w_due = 0
	commit()
	return looked
end

-- Reads the wallet, with one more field of it, and brings it up to now.  Whether it is there,
-- and the field.
function bring_up(field)
	local found = call('HMGET', keys[2], RECORD, SELDOM, field)
	if not parse_wallet(found[1], found[2]) then
		return false
	end
	now = now_ms()
	advance()
	if available() <= 0 then
		note_exhaustion(exhaustion()) -- by running calls alone, since the last operation
	end
	return true, found[3]
end

-- What was due is done first, and written: the operation that comes across it goes on from there,
-- with the record of call `id` as it is then.
local function attend_first(id, text)
	if not is_writing then
		if w_calls_due > 0 and w_calls_due <= now then
			sweep()
		end
		return text
	end
	attend()
	text = not (swept and swept[id]) and (told and told[id] or text) or nil
	w_due_was, w_changed, w_seldom_changed, swept, told, news = w_due, false, false, nil, nil, nil
	return text
end

-- Reads the wallet and the call `id` (nil: none) and brings both up to now.  Whether the
-- wallet is there, and whether the call lives.
function open(id, terms_text)
	local there, text = bring_up(id or RECORD)
	if not there then
		return false, false
	end
	if terms_text then
		take_terms(terms_text)
	end
	if w_due > 0 and w_due <= now then
		text = attend_first(id, text)
		if is_writing and w_due > 0 and w_due <= now then
			text = attend_first(id, text) -- who is told of the end that the first step came to
		end
	end
	if id and text then
		parse_call(text)
		if not lease_is_over() then
			return true, true
		end
		expire(id)
	end
	return true, false
end

-- What is remembered of a call that does not live.
function recall(id)
	return swept and swept[id] or find_ended(key_of(USAGE_CHAR, id))
end

-- An answer without an effect of its own: what the sweep did and newer terms are kept.
function commit_if_changed()
	if w_changed then
		commit()
	end
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

------------------------------------------------------------------------ checks of arguments

local check = {}

function check.id(id)
	require_that(#id <= 128 and find(id, '^[!-~]+$'), 'call_id')
end

do

local known_resources, known_resources_count = {}, 0

-- A deployment has a handful of resource types: each is looked at once.
function check.resource(resource)
	if not known_resources[resource] then
		require_that(#resource <= 64 and find(resource, '^%l[%l%d_]*$'), 'resource_type')
		if known_resources_count < 1000 then
			known_resources[resource] = true
			known_resources_count = known_resources_count + 1
		end
	end
end

end

function check.destination(destination)
	require_that(destination == '' or (#destination <= 16 and find(destination, '^%+[1-9]%d+$')),
		'destination')
end

-- The end of an argument: resource, destination, meta.  A call's id is bound to the first two,
-- the tail's first `bound` bytes.
local function take_tail(a, text, resource, destination, meta_bytes)
	a.bound = 2 + #resource + #destination
	a.tail = sub(text, -a.bound - 2 - meta_bytes)
end

function check.deal(a)
	local d = deal_of(a.deal)
	require_that(d.has_good_limits, 'limits')
	require_that(d.has_good_price or not a.has_price, 'price')
end

function check.instant(at)
	require_that(at >= 0 and at < 2 ^ 47, 'instant')
end

------------------------------------------------------------------------ registration

-- An operation on one wallet: `parse` makes a table of the argument and checks it, `run` gets
-- it and whether the call a.id lives.
local function offer_operation(name, flags, key_count, parse, run)
	local writes = flags[1] ~= 'no-writes'
	offer(name, flags, function(given, args)
		local a = parse(argument(given, args, key_count))
		is_writing = writes
		if not enter(a.epoch) then
			return refused()
		end
		local there, live = open(a.id, a.terms)
		if not there then
			return pack('<BBi8c3', OUTCOME.ABSENT, NONE, 0, '\0\0\0')
		elseif a.not_after and a.not_after > 0 and now > a.not_after then
			return answer(OUTCOME.TOO_LATE, NONE)
		end
		return run(a, live)
	end)
end

------------------------------------------------------------------------ authorize

-- The refusals in their order; BARRED was looked for before.
local function decide(has_price, left)
	if terms_suspended then
		return DENIED.SUSPENDED
	elseif not has_price then
		return DENIED.UNPRICED
	elseif w_calls >= terms_calls_max then
		return DENIED.TOO_MANY
	elseif not terms_unlimited and left < deal.hold then
		return DENIED.NO_FUNDS
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

-- Of the call at hand, which was denied: at most one event in so long; those left out are counted, and told with the next one.
local function tell_denial(id, verdict, required)
	change_seldom()
	if now >= denials.at + PERIOD.DENIALS_MS then
		announce(TOLD.DENIED, id, required, { decision = verdict, count = denials.count })
		denials.at, denials.count = now, 0
	elseif denials.count < 2 ^ 31 - 1 then
		denials.count, denials.verdict = denials.count + 1, verdict
	end
end

local REPLY_REPLAYED = 2

-- Whether the call at hand can be taken in, started or not, without leaving any range.
local function fits(left)
	return can_burn(deal.rate) and w_calls < MOST.CALLS and can_hold(deal.hold, left)
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
	if decision == ALLOWED and has_price and verdict ~= DENIED.BARRED then
		max_ms = within_longest(lasts_ms(left, w_burn))
	end
	return reply(authorize_reply, OUTCOME.DONE, NONE, decision, shadow, has_price and REPLY_PRICE or 0,
		deal.price, 0, left, has_price and deal.hold or 0, max_ms, 0)
end

local function authorized(replayed)
	return reply(authorize_reply, OUTCOME.DONE, c_state, ALLOWED, c_shadow,
		REPLY_PRICE + (replayed and REPLY_REPLAYED or 0), deal.price,
		c_started_with == 1 and deal.headroom or deal.hold, available(), deal.hold, c_max_ms,
		expires_at())
end

-- The same id again: a replay, which may still start the call.
local function authorize_again(a)
	if not is_to(c_tail, a) then
		return answer(OUTCOME.KEY_REUSED, c_state)
	end
	if a.start and not a.validate_only and c_state == AUTHORIZED then
		if not can_burn(deal.rate) then
			return answer(OUTCOME.OUT_OF_RANGE, c_state)
		end
		begin_metering(now, deal.hold)
		if a.announces then
			announce(TOLD.STARTED, a.id, deal.headroom)
		end
		commit(a.id, true)
	end
	return authorized(true)
end

-- Holds the call at hand, of which nothing was held before.
local function admit(a, left)
	if not fits(left) then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	elseif outbox_is_full(a.outbox_max) then
		return answer(OUTCOME.OUTBOX_FULL, NONE)
	elseif a.start then
		c_started_with = 1
		take_in_started(now)
	else
		c_max_ms = within_longest(lasts_ms(left, w_burn))
		w_calls = w_calls + 1
		w_held = w_held + deal.hold
	end
	if a.announces then
		announce(TOLD.AUTHORIZED, a.id, held_of_call())
		if a.start then
			announce(TOLD.STARTED, a.id, deal.headroom)
		end
	end
	commit(a.id, true)
	return authorized(false)
end

local args_of_authorize = {}

-- epoch, not after, outbox, flags (start 1, validate_only 2, has price 4, announces 8), terms,
-- price and limits, id, resource, destination, meta.
local function parse_authorize(text)
	local a = args_of_authorize
	local flags, resource, destination, meta_bytes, at
	a.epoch, a.not_after, a.outbox_max, flags, a.terms, a.deal, a.id, resource, destination,
		meta_bytes, at = unpack('<I8i8I8Bc44c40Bc0Bc0Bc0H', text)
	a.start, a.validate_only, a.has_price = flags % 2 >= 1, flags % 4 >= 2, flags % 8 >= 4
	a.announces = flags >= 8
	check_length(text, at + meta_bytes)
	check.instant(a.not_after)
	check.resource(resource)
	check.destination(destination)
	check.deal(a)
	if a.id == '' and a.validate_only then
		a.id = nil
	else
		check.id(a.id)
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
		return answer_of(OUTCOME.KEY_REUSED, e)
	end
	take_call(a.deal, a.tail, now)
	local left = available()
	local verdict = e and e.state ~= EXPIRED and DENIED.BARRED or decide(a.has_price, left)
	local decision, shadow = answered(verdict)
	if a.validate_only then
		return undecided(verdict, a.has_price, left)
	elseif decision ~= ALLOWED or verdict == DENIED.BARRED or not a.has_price then
		-- Without a price or with a spent id nothing can be held, in shadow mode neither.
		if decision ~= ALLOWED then
			tell_denial(a.id, verdict, a.has_price and deal.hold or 0)
		end
		commit_if_changed()
		return undecided(verdict, a.has_price, left)
	end
	c_shadow = shadow
	return admit(a, left)
end

offer_operation('authorize', {}, 7, parse_authorize, authorize)

end

------------------------------------------------------------------------ start, stop

do

local function started(decision, state, replayed)
	return reply('<BBi8c3BBI6I4i8B', OUTCOME.DONE, state, decision, c_shadow, c_started_at, c_max_ms,
		available(), replayed and 1 or 0)
end

-- Before the authorization counts as then, the future as now.
local function start_instant(at)
	if at == 0 or at > now then
		return now
	end
	return at < c_authorized_at and c_authorized_at or at
end

local function begun(a)
	if a.announces then
		announce(TOLD.STARTED, a.id, deal.headroom)
	end
	commit(a.id, true)
	return started(ALLOWED, METERING, false)
end

-- An expired call is decided anew, at its old price.
local function start_expired(a)
	local left = available()
	local verdict = decide(true, left)
	local decision
	decision, c_shadow = answered(verdict)
	if decision ~= ALLOWED then
		tell_denial(a.id, verdict, deal.hold)
		commit_if_changed()
		return started(decision, EXPIRED, false)
	elseif not fits(left) then
		return answer(OUTCOME.OUT_OF_RANGE, EXPIRED)
	end
	take_in_started(start_instant(a.started_at))
	return begun(a)
end

-- epoch, not after, flags (announces 8), terms, started at, id.
local function parse_start(text)
	local a = {}
	local flags, at
	a.epoch, a.not_after, flags, a.terms, a.started_at, a.id, at = unpack('<I8i8Bc44i8Bc0', text)
	a.announces = flag(flags, 8)
	check_length(text, at)
	check.instant(a.not_after)
	check.instant(a.started_at)
	check.id(a.id)
	return a
end

local function start(a, live)
	if live and c_state ~= AUTHORIZED then
		return started(ALLOWED, c_state, true)
	elseif live and not can_burn(deal.rate) then
		return answer(OUTCOME.OUT_OF_RANGE, c_state)
	elseif live then
		begin_metering(start_instant(a.started_at), deal.hold)
		return begun(a)
	end
	local e = recall(a.id)
	if not e or e.state == POSTED then
		return answer(OUTCOME.UNKNOWN_CALL, NONE)
	elseif e.state ~= EXPIRED then
		return answer(OUTCOME.WRONG_STATE, e.state)
	end
	take_call(e.deal, e.tail, e.authorized_at)
	return start_expired(a)
end

offer_operation('start', {}, 7, parse_start, start)

local function stopped(replayed)
	local metered = c_stopped_at - c_started_at
	return reply('<BBi8c3I6i8i8B', OUTCOME.DONE, STOPPED, metered, charge_for(deal.rate, metered),
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

-- epoch, flags (announces 8), terms, ended at, id.
local function parse_stop(text)
	local a = {}
	local flags, at
	a.epoch, flags, a.terms, a.ended_at, a.id, at = unpack('<I8Bc44i8Bc0', text)
	a.announces = flag(flags, 8)
	check_length(text, at)
	check.instant(a.ended_at)
	check.id(a.id)
	return a
end

local function stop(a, live)
	if not live then
		local e = recall(a.id)
		if not e or e.state == POSTED then
			return answer(OUTCOME.UNKNOWN_CALL, NONE)
		end
		return answer(OUTCOME.WRONG_STATE, e.state)
	elseif c_state == STOPPED then
		return stopped(true)
	elseif c_state ~= METERING then
		return answer(OUTCOME.WRONG_STATE, c_state)
	end
	end_talk(end_instant(a.ended_at))
	if a.announces then
		announce(TOLD.STOPPED, a.id, charge_for(deal.rate, c_stopped_at - c_started_at))
	end
	commit(a.id, true)
	return stopped(false)
end

-- Money can always be finished: what is marked allow-oom runs also where memory is short.
offer_operation('stop', { 'allow-oom' }, 7, parse_stop, stop)

end

------------------------------------------------------------------------ settle

do

local REPLY_LATE, REPLY_CORRECTION = 4, 8

local function settled(outcome, e, replayed)
	return reply('<BBi8c3i8I4i8i8BI4Bc24i8I8I8', outcome, e.state, e.cost, e.billed_ms,
		w_posted, available(), (replayed and REPLY_REPLAYED or 0) + (e.late and REPLY_LATE or 0)
			+ (e.was_corrected and REPLY_CORRECTION or 0),
		e.duration_ms, e.basis, e.deal, e.corrected, e.epoch, e.n)
end

-- A Settle of a key that is remembered as charged.
local function settle_again(a, e)
	if e.state == POSTED then
		local charge = ended_of_nothing(SETTLED, now)
		charge.cost, charge.epoch, charge.n = -e.amount, e.epoch, e.n
		return settled(OUTCOME.KEY_REUSED, charge, false)
	elseif a.as_metered or a.duration_ms == e.duration_ms then
		return settled(OUTCOME.DONE, e, true)
	end
	return settled(OUTCOME.KEY_REUSED, e, false)
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
		return answer(OUTCOME.OUT_OF_RANGE, e.state)
	end
	e.state, e.duration_ms, e.basis = SETTLED, a.duration_ms, a.basis
	e.started_at = a.started_at > 0 and a.started_at or e.started_at
	e.ended_at = ended_at or (e.started_at > 0 and e.started_at + a.duration_ms) or now
	e.tail = with_meta(e.tail, a.meta)
	e.type, e.amount, e.reference = USAGE, -e.cost, a.id
	e.flags = e.late and ENTRY.IS_LATE or 0
	e.epoch = head.epoch
	e.n = append(e)
	commit(a.id, live, key_of(USAGE_CHAR, a.id), pack_ended(e))
	return settled(OUTCOME.DONE, e, false)
end

local function settle_live(a)
	local ended_at = c_state == STOPPED and c_stopped_at or nil
	if a.as_metered then
		if c_state == AUTHORIZED then
			return answer(OUTCOME.WRONG_STATE, c_state)
		end
		ended_at = ended_at or end_instant(a.ended_at)
		local metered = ended_at - c_started_at
		a.duration_ms = metered < MOST.DURATION_MS and metered or MOST.DURATION_MS
		a.basis = BASIS.METERED
	end
	local e = ended_of_call(c_state, 0)
	remove_call()
	return post_call(a, e, ended_at, false)
end

-- How long an abandoned call talked after all, and how that is known.
local function true_duration(a, e)
	if not a.as_metered then
		return a.duration_ms, a.basis
	elseif a.ended_at == 0 then
		return e.duration_ms, BASIS.METERED -- its Stop, or what was assumed: nobody knows better
	end
	local ms = (a.ended_at < now and a.ended_at or now) - e.started_at
	return ms < 0 and 0 or ms < MOST.DURATION_MS and ms or MOST.DURATION_MS, BASIS.METERED
end

-- The late Settle of an abandoned call: books the difference to what was assumed, once; also
-- where there is none, so that the ledger knows.
local function correct(a, e)
	local duration, basis = true_duration(a, e)
	local cost, billed = cost_of(deal_of(e.deal), duration)
	if not can_post(e.cost - cost) then
		return answer(OUTCOME.OUT_OF_RANGE, e.state)
	end
	e.type, e.amount, e.flags = ADJUSTMENT, e.cost - cost, ENTRY.IS_CORRECTION
	e.reference, e.quantity = 'correction:' .. a.id, billed - e.billed_ms
	e.corrected, e.was_corrected = cost - e.cost, true
	e.state, e.cost, e.billed_ms, e.duration_ms, e.basis = SETTLED, cost, billed, duration, basis
	e.started_at = a.started_at > 0 and a.started_at or e.started_at
	e.ended_at = e.started_at > 0 and e.started_at + duration or e.ended_at
	e.tail = with_meta(e.tail, a.meta)
	e.epoch = head.epoch
	e.n = append(e)
	commit(nil, nil, key_of(USAGE_CHAR, a.id), pack_ended(e))
	return settled(OUTCOME.DONE, e, false)
end

-- As the ledger has a call that was charged by assumption, where the store has forgotten it.
local function assumed_call(a)
	local e = ended_of_nothing(ABANDONED, now)
	e.has_price, e.deal, e.cost, e.billed_ms = true, a.price .. NO_LIMITS, a.assumed_cost, a.assumed_billed
	e.basis, e.tail, e.late = BASIS.ASSUMED, sub(a.tail, 1, a.bound) .. '\0\0', true
	return e
end

-- A call that is not held here: charged all the same, once the ledger does not know it, at
-- its own price where its record is left.
local function settle_late(a, e)
	if not a.asked then
		return answer_of(OUTCOME.ASK, e)
	elseif not (e and e.has_price) and not a.has_resource then
		return answer(OUTCOME.UNKNOWN_CALL, NONE)
	elseif a.as_metered then
		return answer_of(OUTCOME.WRONG_STATE, e)
	elseif a.is_assumed then
		return correct(a, assumed_call(a)) -- whatever came of the id since the store forgot it
	elseif not (e and e.has_price) then
		if not a.has_price then
			return answer_of(OUTCOME.NO_PRICE, e)
		end
		e = ended_of_nothing(NONE, now)
		e.has_price = true
		e.deal, e.tail = a.price .. NO_LIMITS, sub(a.tail, 1, a.bound) .. '\0\0'
	end
	e.late = true
	return post_call(a, e)
end

-- epoch, flags (as_metered 1, asked 2, has price 4, assumed 16), terms, duration, started at,
-- ended at, basis, price, assumed cost and billed ms, id, resource, destination, meta.
local function parse_settle(text)
	local a = {}
	local flags, resource, destination, at
	a.epoch, flags, a.terms, a.duration_ms, a.started_at, a.ended_at, a.basis, a.price,
		a.assumed_cost, a.assumed_billed, a.id, resource, destination, a.meta, at =
		unpack('<I8Bc44i8i8i8Bc24i8I4Bc0Bc0Bc0Hc0', text)
	a.as_metered, a.asked, a.has_price = flag(flags, 1), flag(flags, 2), flag(flags, 4)
	a.is_assumed = flag(flags, 16)
	require_that(a.assumed_cost >= 0 and a.assumed_cost <= BALANCE_MAX
		and (a.has_price or not a.is_assumed), 'assumed')
	a.has_resource = resource ~= ''
	check_length(text, at)
	check.id(a.id)
	check.instant(a.started_at)
	check.instant(a.ended_at)
	require_that(a.as_metered or (a.duration_ms >= 0 and a.duration_ms <= MOST.DURATION_MS),
		'duration')
	require_that(a.basis >= 1 and a.basis <= BASIS.METERED, 'basis')
	if a.has_resource then
		check.resource(resource)
		check.destination(destination)
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
	elseif e and e.state == ABANDONED then
		return correct(a, e)
	end
	return settle_late(a, e)
end

offer_operation('settle', { 'allow-oom' }, 7, parse_settle, settle)

end

------------------------------------------------------------------------ cancel, adopt

do

local function cancelled(state, released, replayed)
	return reply('<BBi8c3i8i8B', OUTCOME.DONE, state, released, available(), replayed and 1 or 0)
end

-- epoch, flags (announces 8), terms, id.
local function parse_cancel(text)
	local a = {}
	local flags, at
	a.epoch, flags, a.terms, a.id, at = unpack('<I8Bc44Bc0', text)
	a.announces = flag(flags, 8)
	check_length(text, at)
	check.id(a.id)
	return a
end

local function cancel_live(a)
	if c_state ~= AUTHORIZED then
		return answer(OUTCOME.WRONG_STATE, c_state)
	end
	remove_call()
	if a.announces then
		announce(TOLD.CANCELLED, a.id, deal.hold)
	end
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
	return answer_of(OUTCOME.WRONG_STATE, e)
end

offer_operation('cancel', { 'allow-oom' }, 7, parse_cancel, cancel)

local function adopted(replayed)
	return reply('<BBi8c3c24I4i8i8B', OUTCOME.DONE, c_state, deal.price, c_max_ms,
		deal.headroom, available(), replayed and 1 or 0)
end

-- Meters the call at hand from its true start, whatever the balance.
-- Started in the future, or longer ago than the call may last: not what the provider can mean.
local function adopt_call(a, live)
	if a.started_at > now or a.started_at < now - deal.longest_ms then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	end
	local owed = charge_for(deal.rate, now - a.started_at)
	if not can_burn(deal.rate) or w_calls >= MOST.CALLS or not can_hold(deal.headroom + owed, available()) then
		return answer(OUTCOME.OUT_OF_RANGE, NONE)
	elseif outbox_is_full(a.outbox_max) then
		return answer(OUTCOME.OUTBOX_FULL, NONE)
	elseif live then
		begin_metering(a.started_at, deal.hold)
	else
		take_in_started(a.started_at)
	end
	announce(TOLD.ADOPTED, a.id, deal.headroom)
	commit(a.id, true)
	return adopted(false)
end

local function adopt_live(a)
	if not is_to(c_tail, a) then
		return answer(OUTCOME.KEY_REUSED, c_state)
	elseif c_state == METERING then
		return adopted(true)
	elseif c_state ~= AUTHORIZED then
		return answer(OUTCOME.WRONG_STATE, c_state)
	end
	return adopt_call(a, true)
end

-- Not live: never known here, or its lease ran out while it was ringing.
local function adopt_unknown(a, e)
	if e and e.state ~= EXPIRED then
		return answer_of(OUTCOME.WRONG_STATE, e)
	elseif e and not is_to(e.tail, a) then
		return answer_of(OUTCOME.KEY_REUSED, e)
	elseif not a.asked then
		return answer_of(OUTCOME.ASK, e)
	elseif e then
		take_call(e.deal, e.tail, e.authorized_at)
	elseif a.has_price then
		take_call(a.deal, a.tail, now)
	else
		return answer(OUTCOME.NO_PRICE, NONE)
	end
	return adopt_call(a, false)
end

-- epoch, outbox, flags (asked 2, has price 4), terms, price and limits, started at, id,
-- resource, destination, meta.
local function parse_adopt(text)
	local a = {}
	local flags, resource, destination, meta_bytes, at
	a.epoch, a.outbox_max, flags, a.terms, a.deal, a.started_at, a.id, resource, destination,
		meta_bytes, at = unpack('<I8I8Bc44c40i8Bc0Bc0Bc0H', text)
	a.asked, a.has_price = flag(flags, 2), flag(flags, 4)
	check_length(text, at + meta_bytes)
	check.id(a.id)
	check.instant(a.started_at)
	require_that(a.started_at > 0, 'started_at')
	check.resource(resource)
	check.destination(destination)
	check.deal(a)
	take_tail(a, text, resource, destination, meta_bytes)
	return a
end

local function adopt(a, live)
	if live then
		return adopt_live(a)
	end
	return adopt_unknown(a, recall(a.id))
end

offer_operation('adopt', {}, 7, parse_adopt, adopt)

end

------------------------------------------------------------------------ credit, charge

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

------------------------------------------------------------------------ looking

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
-- epoch, terms, posted, version, flags (announces 8).
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
	if not there and (amount < -BALANCE_MAX or amount > BALANCE_MAX) then
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

------------------------------------------------------------------------ tick, events

do

local TICK_CALLS_MAX = 256 -- looked at in one tick
local DUE_MAX = 32 -- wallets told of as being next
local EVENTS, EVENTS_LAYOUT = 'events', '<dd' -- in the head: the last id cut off the events stream

-- The wallet at hand, if it is due: its due work.  How many calls were looked at; nil: not due.
local function tick_wallet()
	if not bring_up(RECORD) then
		call('ZREM', keys[3], sub(keys[2], -16)) -- of a generation that was dropped
		return nil
	elseif w_due == 0 or w_due > now then
		return nil
	end
	return attend()
end

-- Cuts the events stream down to about `keep`, in small steps.
local function cut_events(keep)
	local extra = call('XLEN', keys[7]) - keep
	if extra < streams.STEP then
		return
	end
	local _, last = streams.oldest(keys[7], '+', function(_, count)
		return count < extra
	end)
	local epoch, n = streams.id_of(last)
	call('HSET', keys[1], EVENTS, pack(EVENTS_LAYOUT, epoch, n))
	streams.cut(keys[7], epoch, n)
end

-- Where everything that this history ever had is read: before its first record of all, too.
local function place_of(stream)
	local last = streams.end_of(stream)
	if last.epoch < head.floor then
		return head.floor - 1, 2 ^ 53 - 1
	end
	return last.epoch, last.n
end

local function pack_places(events, entries)
	local event_epoch, event_n = place_of(events)
	return pack('<I8I8I8I8', event_epoch, event_n, place_of(entries))
end

local function pack_due()
	local found = call('ZRANGE', keys[3], 0, DUE_MAX, 'WITHSCORES')
	local parts = {}
	for i = 1, #found, 2 do
		if #found[i] == 16 and #parts < DUE_MAX then
			parts[#parts + 1] = pack('<c16i8', found[i], tonumber(found[i + 1]))
		end
	end
	return pack('<I4', #parts) .. table.concat(parts)
end

-- Does the due work of those of the wallets that are due, and says which ones are next.
-- epoch, how many events to keep.
offer('tick', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 6)
	local epoch, events_keep, at = unpack('<I8I4', text)
	check_length(text, at)
	if not enter(epoch) then
		return refused()
	end
	is_writing = true
	keys = { given[1], '', given[2], given[3], given[4], given[5], given[6] }
	local worked, looked = 0, 0
	for i = 7, #given do
		keys[2] = given[i]
		local calls = looked < TICK_CALLS_MAX and tick_wallet()
		if calls then
			worked, looked = worked + 1, looked + calls
		end
	end
	cut_events(events_keep)
	return pack('<BBi8I4', OUTCOME.DONE, NONE, now_ms(), worked) .. pack_places(keys[7], keys[6]) .. pack_due()
end)

local function is_before(epoch, n, than_epoch, than_n)
	return epoch < than_epoch or (epoch == than_epoch and n < than_n)
end

-- Whether what comes after this id is all there: nothing of it was cut off or dropped, and the
-- id is of this very history.
local function is_kept(stream, epoch, n, cut_epoch, cut_n)
	local end_epoch, end_n = place_of(stream)
	return not is_before(epoch, n, head.floor - 1, 2 ^ 53 - 1)
		and not is_before(epoch, n, cut_epoch, cut_n) and not is_before(end_epoch, end_n, epoch, n)
end

-- epoch, flags (from now 1), after event (epoch, n), after entry (epoch, n), most of each.
offer('events', { 'no-writes' }, function(given, args)
	local text = argument(given, args, 3)
	local epoch, flags, event_epoch, event_n, entry_epoch, entry_n, most, at =
		unpack('<I8BI8I8I8I8I4', text)
	check_length(text, at)
	require_that(most >= 1 and most <= 1000, 'most')
	if not enter(epoch) then
		return refused()
	end
	local entries, events = keys[2], keys[3]
	head = whole_head()
	local places = pack('<BBi8', OUTCOME.DONE, NONE, now_ms()) .. pack_places(events, entries)
	if flag(flags, 1) then
		return places .. pack('<BBI4I4', 0, 0, 0, 0)
	end
	local cut = call('HGET', keys[1], EVENTS)
	local cut_epoch, cut_n = 0, 0
	if cut then
		cut_epoch, cut_n = unpack(EVENTS_LAYOUT, cut)
	end
	if not is_kept(events, event_epoch, event_n, cut_epoch, cut_n)
		or not is_kept(entries, entry_epoch, entry_n, head.trimmed_epoch, head.trimmed_n) then
		return pack('<BBi8', OUTCOME.OUT_OF_RANGE, NONE, now_ms())
	end
	local happened, more_happened = streams.after(events, event_epoch, event_n, most)
	local booked, more_booked = streams.after(entries, entry_epoch, entry_n, most)
	return places .. pack('<BBI4I4', more_happened and 1 or 0, more_booked and 1 or 0, #happened,
		#booked) .. table.concat(happened) .. table.concat(booked)
end)

end
