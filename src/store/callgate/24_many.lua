-- Many operations of one partition in one call: calling a function, reading the head and the clock
-- cost as much as what most operations do.
--
-- SPDX-License-Identifier: Apache-2.0

do

local MANY_MAX = 64 -- at some 8 us each the server is nobody else's for half a millisecond

-- By the verb's number in gate/ports/store.h.
local BEGINNING = { [0] = 'authorize', [1] = 'start', [5] = 'adopt' }
local FINISHING = { [2] = 'stop', [3] = 'settle', [4] = 'cancel' }

-- In place of the reply of an operation that failed: what was written before is written, as after
-- any error of a function's own calls.
local FAILED = '\253'

local function failure(why)
	return FAILED .. sub(tostring(type(why) == 'table' and why.err or why), 1, 200)
end

-- A reply behind its length; most are of a handful of lengths.
local lengths = {}

local function length_of(text)
	local known = lengths[#text]
	if not known then
		known = pack('<I2', #text)
		lengths[#text] = known
	end
	return known
end

local function check_places(names, places, wallet_count)
	for i = 1, #places, 2 do
		local verb, wallet = string.byte(places, i, i + 1)
		require_that(names[verb] and wallet < wallet_count, 'places')
	end
end

-- The first argument: of each operation its verb and which of the wallets, from 0.  Then those of
-- the operations, as they would be alone.  One after the other, in this order; the one that fails
-- takes nothing with it.  The replies, each behind its length of two bytes.
local function offer_many(name, flags, names)
	offer(name, flags, function(given, args)
		bind()
		require_that(#given >= 7, 'keys')
		local places, count = args[1] or '', #args - 1
		require_that(count >= 1 and count <= MANY_MAX and #places == 2 * count, 'count')
		check_places(names, places, #given - 6)
		keys = { given[1], '', given[2], given[3], given[4], given[5], given[6] }
		own.head, own.now = read_head(keys[1]), now_ms()
		local replies = {}
		for i = 1, count do
			local verb, wallet = string.byte(places, 2 * i - 1, 2 * i)
			keys[2] = given[7 + wallet]
			local good, answer = pcall(own.operations[names[verb]], args[i + 1])
			answer = good and answer or failure(answer)
			replies[2 * i - 1], replies[2 * i] = length_of(answer), answer
		end
		own.head, own.now = nil, nil
		return table.concat(replies)
	end)
end

offer_many('begin_many', {}, BEGINNING)

-- Money can always be finished: as the operations are themselves.
offer_many('finish_many', { 'allow-oom' }, FINISHING)

end
