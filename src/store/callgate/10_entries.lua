-- Ledger entries, and events: what is written of what happens.
--
-- SPDX-License-Identifier: Apache-2.0

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
	return streams.add(keys[6], 'e', blob)
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
