-- Reading, adding to and cutting the two streams of a partition.
--
-- SPDX-License-Identifier: Apache-2.0

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
	local last = own.ends[stream]
	if not (last and own.is_alone()) then
		last = {}
		last.epoch, last.n = streams.last_id_of(stream)
		own.ends[stream] = last
	end
	return last
end

-- Appends one record; n of its id.
function streams.add(stream, field, blob)
	local last = own.ends[stream] or {}
	local id = call('XADD', stream, format('%.0f-*', head.epoch), field, blob)
	last.epoch, last.n = streams.id_of(id)
	own.ends[stream] = last
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

-- Puts records after an id into `parts`, each as two: <I8I8I4 epoch, n, bytes>, and its bytes.
-- How many, and whether there are more.  Joined once, at the end: Lua hashes every string that it
-- makes, from end to end.
function streams.after(parts, stream, after_epoch, after_n, most)
	local from = format('(%.0f-%.0f', after_epoch, after_n)
	local at, count, bytes, more = #parts, 0, 0, true
	while more and count < most and bytes < MOST.READ_BYTES do
		local step = most - count < streams.STEP and most - count or streams.STEP
		local found = call('XRANGE', stream, from, '+', 'COUNT', step)
		for i = 1, #found do
			local record = found[i]
			local epoch, n = streams.id_of(record[1])
			local blob = record[2][2]
			parts[at + 1], parts[at + 2] = pack('<I8I8I4', epoch, n, #blob), blob
			at, bytes = at + 2, bytes + #blob
		end
		more = #found == step
		if more then
			from = '(' .. found[step][1]
		end
		count = count + #found
	end
	return count, more
end

-- Removes everything up to and with this id.
function streams.cut(stream, epoch, n)
	call('XTRIM', stream, 'MINID', '=', format('%.0f-%.0f', epoch, n + 1))
end

-- In the head: up to where the events stream lacks what happened.
local EVENTS, EVENTS_LAYOUT = 'events', '<dd'

function streams.note_events_cut(epoch, n)
	call('HSET', keys[1], EVENTS, pack(EVENTS_LAYOUT, epoch, n))
end

function streams.events_cut()
	local text = call('HGET', keys[1], EVENTS)
	if not text then
		return 0, 0
	end
	return unpack(EVENTS_LAYOUT, text)
end

end
