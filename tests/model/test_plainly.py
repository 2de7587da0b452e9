# The short way of Authorize (src/store/callgate/14_plainly.lua) beside the long one: the same
# schedule through the library as it is and through one that knows only the long way must end in the
# same replies and in the same bytes in the store.
#
# CALLGATE_LONG=1 runs many more.
#
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import os
import random

import pytest
from redis.exceptions import ResponseError
from support import wire
from support.wire import Limits, Partition, Price, Terms

LONG = bool(os.environ.get('CALLGATE_LONG') or os.environ.get('CALLGATE_TEST_LONG'))
BEGIN = 1_700_000_000_000
COMPANIES = [bytes([i]) * 16 for i in (1, 2, 3)]
PRICES = [Price(90_000), Price(100_000, 20_000, 60_000, 6_000), Price(60_000, increment=1), Price(0, 7)]
LIMITS = [Limits(), Limits(longest_ms=14_400_000), Limits(reserve_ms=5_000, longest_ms=20_000, lease_ms=60_000, guard_ms=2_000)]
TERMS = [{}, {}, {}, dict(shadow=True), dict(unlimited=True), dict(suspended=True), dict(credit=5_000_000),
         dict(calls_max=4), dict(has_low=True, low_balance=2_000_000), dict(has_low=True, low_ms=90_000),
         dict(unlimited=True, has_low=True, low_balance=2_000_000), dict(warning_ms=400_000)]
NEAR = [Terms(calls_max=1000), Terms(calls_max=1000, has_low=True, low_balance=1_000_000),
        Terms(calls_max=1000, unlimited=True, has_low=True, low_balance=1_000_000)]

# The order of HSCAN within a bucket is chance, and events are told in it: a step of the due work goes
# by ids instead.
STEP = "\tlocal step = call('HSCAN', keys[2], format('%.0f', w_cursor), 'COUNT', 128)\n"
BY_ID = STEP + '''
	local ids, records = {}, {}
	for i = 1, #step[2], 2 do
		ids[#ids + 1], records[step[2][i]] = step[2][i], step[2][i + 1]
	end
	table.sort(ids)
	for i, id in ipairs(ids) do
		step[2][2 * i - 1], step[2][2 * i] = id, records[id]
	end
'''

LONG_WAY = ('return short and short(text) or operate(text)', 'return operate(text)')
TAKEN = 'return pack(REPLY, DONE_AUTHORIZED'
COUNTED = "call('INCR', 'taken')\n\t" + TAKEN


def changed(old, new):
    assert wire.library_source().count(old) == 1, 'the library has changed: write this anew'
    return lambda text: text.replace(old, new)


def contents(client):
    """Everything that is in the store but what the test itself counts."""
    found = {}
    for key in sorted(client.keys()):
        kind = client.type(key)
        if key != b'taken':
            found[key] = (client.hgetall(key) if kind == b'hash' else client.xrange(key) if kind == b'stream'
                          else client.zrange(key, 0, -1, withscores=True))
    return found


class Schedule:
    """The same for the same seed, whatever is answered."""

    def __init__(self, client, way, seed):
        self.client, self.random, self.now, self.version = client, random.Random(seed), BEGIN, 1
        self.calls, self.serial, self.trace = [], 0, []
        self.terms = {company: Terms(calls_max=1000) for company in COMPANIES}
        client.flushall()
        client.execute_command('FUNCTION', 'FLUSH')
        client.execute_command('FUNCTION', 'LOAD', wire.library_text(True, lambda text: way(changed(STEP, BY_ID)(text))))
        client.fcall('cgtest_clock', 0, self.now)
        self.partition = Partition(client)
        self.partition.take_into_use()
        for company in COMPANIES:
            self.partition.load(company, self.random.choice([10**12, 20_000_000, 4_000_000]), 0, self.terms[company])

    def note(self, operation):
        try:
            self.trace.append(operation(self.partition))
        except ResponseError as error:
            assert 'malformed argument' in str(error)
            self.trace.append('malformed')

    def authorize(self, company):
        pick = self.random
        if pick.random() < 0.9 or not self.calls:
            self.serial += 1
            call_id = f'call-{self.serial}'
        else:
            company, call_id = pick.choice(self.calls)
        more = dict(price=pick.choice(PRICES), limits=pick.choice(LIMITS), terms=self.terms[company],
                    meta=pick.choice([b'', b'\x01k\x01\x00v']),
                    not_after=pick.choice([0, 0, self.now + 250, self.now, self.now - 1]),
                    destination=pick.choice(['+4912345', '+14155550100', '', 'x']) if pick.random() < 0.2 else '+4912345')
        odd = pick.random()
        if odd < 0.05:
            more['start'] = True
        elif odd < 0.08:
            more['validate_only'] = True
        elif odd < 0.1:
            more['price'] = None
        elif odd < 0.12:
            call_id = pick.choice(['', 'a b', '\x00', 'x' * 129, 'x' * 128])
        self.note(lambda p: p.authorize(company, call_id, **more))
        self.calls.append((company, call_id))

    def step(self):
        pick = self.random
        self.now += pick.choice([0, 0, 1, 7, 1000, 1000, 15_000, 61_000, 61_000])
        self.client.fcall('cgtest_clock', 0, self.now)
        company = pick.choice(COMPANIES)
        if pick.random() < 0.03:
            self.calm(company)
        if pick.random() < 0.03:
            self.come_near()
        kind = pick.random()
        if kind < 0.6 or not self.calls:
            self.authorize(company)
        elif kind < 0.92:
            company, call_id = pick.choice(self.calls)
            act = pick.choice([lambda p: p.start(company, call_id), lambda p: p.start(company, call_id),
                               lambda p: p.settle(company, call_id, 61_001),
                               lambda p: p.cancel(company, call_id), lambda p: p.stop(company, call_id)])
            self.note(act)
        elif kind < 0.95:
            self.version += 1
            self.terms[company] = dataclasses.replace(
                Terms(calls_max=1000), **pick.choice(TERMS), version=self.version)
        elif kind < 0.97:
            amount = pick.choice([1, 4_000_000])
            self.note(lambda p: p.credit(company, amount, f'pay-{self.now}'))
        else:
            self.note(lambda p: p.tick_all())

    def calm(self, company):
        """A call talks on until its wallet is about to be looked at again, and no lease is near."""
        self.serial += 1
        call_id = f'call-{self.serial}'
        self.calls.append((company, call_id))
        self.note(lambda p: p.authorize(company, call_id, PRICES[0], self.terms[company], LIMITS[1], start=True))
        for later in (130_000, 3_500_000):
            self.note(lambda p: p.tick_all())
            self.now += later
            self.client.fcall('cgtest_clock', 0, self.now)
        self.authorize(company)

    def come_near(self):
        """Of a wallet of its own the end, or the threshold, is so near that the last of three holds
        brings it before the instant at which the wallet would be looked at."""
        pick = self.random
        self.serial += 1
        company = self.serial.to_bytes(16, 'big')
        terms = pick.choice(NEAR)
        self.partition.load(company, terms.low_balance + pick.choice([230_000, 300_000, 390_000]), 0, terms)
        for number, started in enumerate([True, False, False]):
            call_id = f'near-{self.serial}-{number}'
            self.calls.append((company, call_id))
            self.terms.setdefault(company, terms)
            self.note(lambda p, c=call_id, s=started: p.authorize(company, c, PRICES[0], terms, LIMITS[0], start=s))
            self.now += pick.choice([1, 1000])
            self.client.fcall('cgtest_clock', 0, self.now)

    def run(self):
        for number in range(150):
            self.step()
            if number % 15 == 14:
                self.trace.append(contents(self.client))
        return self.trace


def compare(redis, way, seed):
    for one, other in zip(Schedule(redis, way, seed).run(), Schedule(redis, changed(*LONG_WAY), seed).run()):
        assert one == other


def test_both_ways_decide_and_write_the_same(redis):
    taken = 0
    for seed in range(400 if LONG else 12):
        Schedule(redis, changed(TAKEN, COUNTED), seed).run()
        taken += int(redis.get('taken') or 0)
        compare(redis, lambda text: text, seed)
    assert taken > 100, 'the short way was hardly ever gone'


MUTANTS = {
    'nothing is held': ('w_calls + 1, w_held + hold, 0', 'w_calls + 1, w_held, 0'),
    'the call is not counted': ('w_calls + 1, w_held + hold, 0', 'w_calls, w_held + hold, 0'),
    'a call that lives is authorized again': ('if found[3] or not parse', 'if not parse'),
    'a call that has ended is authorized again': (' or is_remembered(id) then', ' then'),
    'other terms are not taken': ('if o.terms ~= w_terms or terms_suspended', 'if terms_suspended'),
    'suspended companies call': ('or terms_suspended or terms_shadow', 'or terms_shadow'),
    'shadow mode is not noted': ('terms_suspended or terms_shadow\n', 'terms_suspended\n'),
    'what comes too late begins': ('\t\tor (now > not_after and not_after > 0)\n', ''),
    'one call more': ('\t\tor w_calls >= terms_calls_max or', '\t\tor w_calls > terms_calls_max or'),
    'due work waits': ('if not (due > now and due', 'if not (due'),
    'the lease is not minded': ('due <= expires and w_calls_due > 0 and w_calls_due <= expires\n', 'due <= expires\n'),
    'what is unlimited has no threshold': ('\telseif terms_unlimited then\n\t\treturn left >=', '\tend\n\tif terms_unlimited then\n\t\treturn left >='),
    'what is limited has no end': ('\telseif terms_unlimited then\n\t\treturn left >=', '\telseif true then\n\t\treturn left >='),
    'the threshold is not minded': ('w_phase == CALM) then\n\t\treturn false\n\telseif w_low_armed then', 'w_phase == CALM) then\n\t\treturn false\n\telseif false then'),
    'the end is not minded': ('return left - floor > w_burn * ((due - now + reach) / 60000 + 1)', 'return left > 0'),
    'a poor wallet talks for ever': ('if left - o.headroom < burn * o.longest_minutes then', 'if false then'),
    'a flag is not looked at': ('if flags ~= PRICED or not', 'if not'),
    'an order is of another price': ("pack('<BBc40', LAYOUT, AUTHORIZED, deal_text)", "pack('<BBc24c16', LAYOUT, AUTHORIZED, NO_PRICE_BYTES, sub(deal_text, 25))"),
    'an id is not looked at': ("or #id > 128 or not find(id, '^[!-~]+$') or #dest", 'or #dest'),
    'a destination is not looked at': ("or not (destination == '' or find(destination, '^%+[1-9]%d+$'))", ''),
}


@pytest.mark.parametrize('name', MUTANTS)
def test_a_short_way_that_is_wrong_is_seen(redis, name):
    mutant = changed(*MUTANTS[name])
    with pytest.raises(AssertionError, match='assert'):
        for seed in range(80):
            compare(redis, mutant, seed)
