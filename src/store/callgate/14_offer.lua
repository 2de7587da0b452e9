-- How an operation is registered.
--
-- SPDX-License-Identifier: Apache-2.0

-- An operation on one wallet: `parse` makes a table of the argument and checks it, `run` gets
-- it and whether the call a.id lives.  `short`: nil, or what is tried first; it gives a reply, or
-- nil and has changed nothing.
local function offer_operation(name, flags, key_count, parse, run, short)
	local writes = flags[1] ~= 'no-writes'
	local function operate(text)
		local a = parse(text)
		is_writing = writes
		if not enter(a.epoch) then
			return refused()
		end
		local there, live = open(a.id, a.terms)
		if not there then
			return pack('<BBi8c3', OUTCOME.ABSENT, NONE, 0, '\0\0\0')
		elseif a.not_after and a.not_after > 0 and now > a.not_after and now_ms() > a.not_after then
			-- By the clock itself, and not by a last instant of the wallet that is ahead of it.
			now = now_ms()
			return answer(OUTCOME.TOO_LATE, NONE)
		end
		return run(a, live)
	end
	own.operations[name] = not short and operate or function(text)
		return short(text) or operate(text)
	end
	offer(name, flags, function(given, args)
		local text = argument(given, args, key_count)
		return short and short(text) or operate(text)
	end)
end
