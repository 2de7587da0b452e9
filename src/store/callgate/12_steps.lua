-- What every operation goes through: opened, brought up to now, written, answered.
--
-- SPDX-License-Identifier: Apache-2.0

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
	now = own.now or now_ms()
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

-- Whether more entries than this wait for the ledger.  Within an epoch n counts them, so what
-- the ledger has and the margin still keeps does not count.  Where it is not known up to where
-- that is, or it is of another epoch, all that the stream has counts: trim() is not far away.
local function outbox_is_full(limit)
	if limit == 0 then
		return false
	end
	local last, flushed = streams.end_of(keys[6]), own.flushed[keys[6]]
	if flushed and flushed.epoch == last.epoch then
		return last.n - flushed.n > limit
	end
	return call('XLEN', keys[6]) > limit
end
