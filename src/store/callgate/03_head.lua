-- The head of a partition: the epoch in force, and the history that it was confirmed on.
--
-- SPDX-License-Identifier: Apache-2.0

local read_head, whole_head, write_head

do

-- In two fields, since every call reads the first: epoch, state, floor, current generation of
-- ended calls, whether the other one was ever used; the version of the only library that
-- writes this partition, 0: several may, as far as is known.  Version 1 wrote no such byte.
local IN_FORCE, IN_FORCE_LAYOUT, BEFORE_2 = 'in_force', '<BdBdBBB', 20
-- The last epoch that was served, last trimmed id, partition count, since when the current
-- generation is, the last id before it, deployment, history.
local HISTORY, HISTORY_LAYOUT = 'history', '<ddddddd' .. 'c16c40c40'

-- What is in force, parsed once per change of its text; nil where there is no head.
function read_head(key)
	local text, known = call('HGET', key, IN_FORCE), heads[key]
	if known and known.text == text then
		return known
	elseif not text then
		return text
	end
	local h = { text = text }
	local layout
	layout, h.epoch, h.state, h.floor, h.ended, h.rotated, h.library =
		unpack(IN_FORCE_LAYOUT, #text == BEFORE_2 and text .. '\0' or text)
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
			head.rotated, head.library),
		HISTORY, pack(HISTORY_LAYOUT, head.served, head.trimmed_epoch, head.trimmed_n,
			head.partition_count, head.ended_since, head.older_epoch, head.older_n,
			head.deployment, head.run_id, head.replid))
	heads[keys[1]] = nil
end

-- Of the head at hand.  Sidecars of another version have a library of their own, with its own
-- locals: what these remember of the streams is then not all that was written to them.
function own.is_alone()
	return head.library == own.VERSION
end

end

-- From here on this server's history is the confirmed one, or about to be.
local function set_mark(epoch)
	marks[keys[1]] = epoch
	own.ends, own.flushed = {}, {}
end

-- Every call carries the epoch: false where this history is not the confirmed one.
local function enter(epoch)
	local key = keys[1]
	head = own.head or read_head(key)
	return head and head.epoch == epoch and marks[key] == epoch and head.state == SERVING
end

local function refused()
	return pack('<B', OUTCOME.REFUSED)
end

-- Function names are global in a server, so they carry the version too.
local function offer(name, flags, callback)
	redis.register_function{ function_name = 'cg' .. own.VERSION .. '_' .. name,
		callback = callback, flags = flags }
end
