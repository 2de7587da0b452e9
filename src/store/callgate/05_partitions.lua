-- Taking a partition into use, reading its entries, trimming: what the ledger calls.
--
-- SPDX-License-Identifier: Apache-2.0

local is_recovering

do

local RECOVERING = 1
local HEALTHY, NO_HEAD, HALF_DONE, OTHER_HISTORY, OTHER_DEPLOYMENT = 0, 1, 2, 3, 4
local NO_DEPLOYMENT = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

-- This server's history, 40 hexadecimal digits each; a promotion changes the second alone.
local function own_history()
	return string.match(call('INFO', 'server'), 'run_id:(%x+)'),
		string.match(call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- See the table in ledger.md (When the store forgets).
local function condition_of(deployment, partition_count)
	if not head then
		return NO_HEAD
	elseif partition_count ~= head.partition_count or
		(deployment ~= NO_DEPLOYMENT and deployment ~= head.deployment) then
		return OTHER_DEPLOYMENT
	elseif head.state ~= SERVING then
		return HALF_DONE
	elseif marks[keys[1]] ~= head.epoch then
		local run_id, replid = own_history()
		if run_id ~= head.run_id or replid ~= head.replid then
			return OTHER_HISTORY
		end
		-- From here on this library writes, too: whoever took the partition into use is told.
		if head.library ~= own.VERSION and head.library ~= 0 then
			head.library = 0
			write_head()
		end
		set_mark(head.epoch)
	end
	return HEALTHY
end

-- deployment (zeros: not known, the ledger is away), partition count.  Writes only where it is the first of its version that comes.
offer('hello', { 'allow-oom' }, function(given, args)
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

-- Up to where this history knows what the ledger has: its stream's end; and whatever is of an
-- epoch before the one it was last served under, since it was judged then, and repaired.
local function known_upto()
	local epoch, n = streams.last_id_of(keys[2])
	if epoch < head.served then
		return head.served - 1, 2 ^ 53 - 1
	end
	return epoch, n
end

-- In the head, beside what is served: the last epoch that this history was fenced by and that the
-- ledger holds for served, though the step that says so here was lost.
local JUDGED, JUDGED_LAYOUT = 'judged', '<d'

-- `ledger_served`: the last epoch served as the ledger has it, and what its history was served
-- under before.  Where that epoch's fence is the last thing this history heard, it is the one that
-- was judged then; unless it was served before that: it was dropped then, elsewhere.
local function judged_epoch(former, ledger_served, ledger_from)
	local text = call('HGET', keys[1], JUDGED)
	local judged = text and unpack(JUDGED_LAYOUT, text) or 0
	if former == ledger_served and head.served >= ledger_from and former > judged then
		judged = former
		call('HSET', keys[1], JUDGED, pack(JUDGED_LAYOUT, judged))
	end
	return judged
end

-- epoch, deployment, partition count; of the ledger: the last epoch served, and from which.
offer('fence', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 6)
	local epoch, deployment, partition_count, ledger_served, ledger_from, at =
		unpack('<I8c16I4I8I8', text)
	check_length(text, at)
	require_that(epoch >= 1 and epoch < 2 ^ 53, 'epoch')
	head = whole_head()
	local former = head and head.epoch or 0
	if former >= epoch then
		return pack('<BBI8I8I8I8I8I8I8', OUTCOME.DONE, 1, former, 0, 0, 0, 0, 0, 0)
	end
	-- Without a head nothing of what may be left here can be trusted: all wallets are absent.
	-- A recovery that was not finished leaves its epoch here, and says nothing of the history:
	-- only the epoch that was last served does.
	head = head or fresh_parts(epoch)
	head.served = head.served or 0
	head.epoch, head.state, head.deployment = epoch, RECOVERING, deployment
	head.partition_count = partition_count
	head.run_id, head.replid = own_history()
	head.library = own.VERSION -- a library that wrote before has no mark of this epoch
	write_head()
	make_keys()
	set_mark(-epoch)
	local judged = judged_epoch(former, ledger_served, ledger_from)
	local last_epoch, last_n = known_upto()
	return pack('<BBI8I8I8I8I8I8I8', OUTCOME.DONE, 0, former, head.served, judged, last_epoch,
		last_n, head.trimmed_epoch, head.trimmed_n)
end)

-- Whether this very recovery is still under way here.
function is_recovering(epoch)
	head = whole_head()
	return head and head.epoch == epoch and head.state == RECOVERING and marks[keys[1]] == -epoch
end

-- Not the latest history: what it says is void.  Wallets stay as keys, of a generation that
-- counts as absent.  With nothing left in it the history is judged: it counts as served under
-- this epoch, unlike a replica that heard of the fence and not of this.
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
	head.served = epoch
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
	local parts = { '' }
	local count, more = streams.after(parts, keys[2], after_epoch, after_n, most)
	parts[1] = pack('<BI4Bi8I8I8', OUTCOME.DONE, count, more and 1 or 0, now_ms(), head.trimmed_epoch,
		head.trimmed_n)
	return table.concat(parts)
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

-- epoch, up to (epoch, n), the cursor (epoch, n), margin, keep of ended keys in ms, their most.
offer('trim', { 'allow-oom' }, function(given, args)
	local text = argument(given, args, 6)
	local epoch, upto_epoch, upto_n, flushed_epoch, flushed_n, margin_ms, keep_ms, count_max, at =
		unpack('<I8I8I8I8I8i8i8I8', text)
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
	own.flushed[keys[2]] = { epoch = flushed_epoch, n = flushed_n }
	return pack('<BI4I8', OUTCOME.DONE, removed, call('XLEN', keys[2]))
end)

end
