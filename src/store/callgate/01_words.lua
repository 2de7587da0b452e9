#!lua name=callgate_v@LIBRARY_VERSION@
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
-- of tick and of many operations together: as an operation's without the wallet, then as many
-- wallets as there are.  Many operations have one argument each.
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
-- This library, by the version that the build gave it; the last id of each stream, true as long
-- as it is alone in writing them; and up to where the ledger has each stream, as far as it was
-- told.  Both are forgotten whenever a mark is set.  `operations`: what takes an operation's argument
-- and gives its reply, by name; of many that share a call they share `head` and `now`.
local own = { VERSION = @LIBRARY_VERSION@, ends = {}, flushed = {}, operations = {} }

-- The operation at hand; functions run one at a time and none calls another one's.
local keys, head, now
local is_writing -- false: of a reader, which must leave everything as it is

local function bind()
	call, pack, unpack = redis.call, struct.pack, struct.unpack
	sub, find, format = string.sub, string.find, string.format
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
	if not call then
		bind()
	end
	if own.now then
		own.head, own.now = nil, nil
	end
	if #given < count or #args ~= 1 then
		require_that(false, 'keys')
	end
	keys = given
	return args[1]
end
