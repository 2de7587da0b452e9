-- The terms of a wallet.
--
-- SPDX-License-Identifier: Apache-2.0

local function flag(flags, bit)
	return flags % (bit + bit) >= bit
end

-- Those of the wallet at hand.  What is at hand stands in locals and not in a table: fifty
-- fields read and written per operation are a fifth of its time.
local terms_version, terms_credit, terms_calls_max, terms_currency
local terms_unlimited, terms_suspended, terms_frozen, terms_shadow
local terms_has_low, terms_low, terms_low_ms, terms_warning_ms, terms_repeat_ms

local parse_terms, check_terms

do

-- A wallet's terms, kept as C packed them: version, credit limit, flags (unlimited 1,
-- suspended 2, frozen 4, shadow 8, low balance 16), calls, low balance, its ms, how long before
-- T* the warning comes, after how long CUT_OFF comes again, currency.
local TERMS = '<I8i8BI4i8I4I4I4c3'
local terms_parsed

function parse_terms(text)
	if terms_parsed == text then
		return
	end
	local flags
	terms_version, terms_credit, flags, terms_calls_max, terms_low, terms_low_ms,
		terms_warning_ms, terms_repeat_ms, terms_currency = unpack(TERMS, text)
	terms_unlimited = flag(flags, 1)
	terms_frozen = flag(flags, 4)
	terms_suspended = flag(flags, 2) or terms_frozen
	terms_shadow = flag(flags, 8)
	terms_has_low = flag(flags, 16)
	if terms_unlimited then
		terms_credit = 0
	end
	terms_parsed = text
end

function check_terms(text)
	local _, credit, _, _, low, low_ms, warning, again, currency = unpack(TERMS, text)
	require_that(low_ms <= MOST.DURATION_MS and warning <= MOST.DURATION_MS
		and again <= MOST.DURATION_MS, 'notice')
	require_that(credit >= 0 and credit <= MOST.AMOUNT, 'credit_limit')
	require_that(low >= -MOST.AMOUNT and low <= MOST.AMOUNT, 'low_balance')
	require_that(find(currency, '^%l%l%l$') or currency == '\0\0\0', 'currency')
end

end
