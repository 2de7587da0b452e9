-- Due work of wallets that nobody touches, and what happened.
--
-- SPDX-License-Identifier: Apache-2.0

do

local TICK_CALLS_MAX = 256 -- looked at in one tick
local DUE_MAX = 32 -- wallets told of as being next

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
	streams.note_events_cut(epoch, n)
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
	local cut_epoch, cut_n = streams.events_cut()
	if not is_kept(events, event_epoch, event_n, cut_epoch, cut_n)
		or not is_kept(entries, entry_epoch, entry_n, head.trimmed_epoch, head.trimmed_n) then
		return pack('<BBi8', OUTCOME.OUT_OF_RANGE, NONE, now_ms())
	end
	local parts = { places, '' }
	local happened, more_happened = streams.after(parts, events, event_epoch, event_n, most)
	local booked, more_booked = streams.after(parts, entries, entry_epoch, entry_n, most)
	parts[2] = pack('<BBI4I4', more_happened and 1 or 0, more_booked and 1 or 0, happened, booked)
	return table.concat(parts)
end)

end
