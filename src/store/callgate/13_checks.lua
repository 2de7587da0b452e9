-- Checks of arguments: everything is checked before the first write.
--
-- SPDX-License-Identifier: Apache-2.0

local check = {}

function check.id(id)
	require_that(#id <= 128 and find(id, '^[!-~]+$'), 'call_id')
end

do

local known_resources, known_resources_count = {}, 0

-- A deployment has a handful of resource types: each is looked at once.
function check.resource(resource)
	if not known_resources[resource] then
		require_that(#resource <= 64 and find(resource, '^%l[%l%d_]*$'), 'resource_type')
		if known_resources_count < 1000 then
			known_resources[resource] = true
			known_resources_count = known_resources_count + 1
		end
	end
end

end

function check.destination(destination)
	require_that(destination == '' or (#destination <= 16 and find(destination, '^%+[1-9]%d+$')),
		'destination')
end

-- The end of an argument: resource, destination, meta.  A call's id is bound to the first two,
-- the tail's first `bound` bytes.
local function take_tail(a, text, resource, destination, meta_bytes)
	a.bound = 2 + #resource + #destination
	a.tail = sub(text, -a.bound - 2 - meta_bytes)
end

function check.deal(a)
	local d = deal_of(a.deal)
	require_that(d.has_good_limits, 'limits')
	require_that(d.has_good_price or not a.has_price, 'price')
end

function check.instant(at)
	require_that(at >= 0 and at < 2 ^ 47, 'instant')
end
