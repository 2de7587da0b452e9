-- What a duration costs, and how long an amount lasts: exact below 2^53.
--
-- SPDX-License-Identifier: Apache-2.0

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
