# The price table of meter.md, through the real library, and the arithmetic around it.
#
# SPDX-License-Identifier: Apache-2.0
import math
import random

import pytest
from support import wire
from support.wire import Partition, Price, Terms

COMPANY = bytes(range(16))
NOW = 1_700_000_000_000


@pytest.fixture
def partition(redis):
    redis.execute_command('FUNCTION', 'LOAD', wire.library_text(controlled_clock=True))
    wire.set_clock(redis, NOW)
    p = Partition(redis)
    p.take_into_use()
    assert p.load(COMPANY, 0, terms=Terms(unlimited=True, calls_max=1000)).outcome == 'DONE'
    return p


#        rate        fee     minimum increment duration    cost
TABLE = [
    (90_000,         0,      0,      1_000,    61_001,     93_000),
    (90_000,         0,      0,      1_000,    1,          1_500),
    (100_000,        20_000, 60_000, 6_000,    7_000,      120_000),
    (100_000,        0,      0,      6_000,    7_000,      20_000),
    (50_000,         0,      0,      1_000,    1_000,      834),
    (70_000,         5_000,  30_000, 30_000,   0,          0),
    (2_600_123_457,  0,      0,      1,        15_751_779, 682_609_501_124),
]


@pytest.mark.parametrize('rate,fee,minimum,increment,duration,cost', TABLE)
def test_settle_charges_the_price(partition, rate, fee, minimum, increment, duration, cost):
    price = Price(rate, fee, minimum, increment)
    assert partition.authorize(COMPANY, 'a', price).decision == 'ALLOWED'
    settled = partition.settle(COMPANY, 'a', duration)
    assert (settled.outcome, settled.cost, settled.balance) == ('DONE', cost, -cost)
    assert partition.read().entries[0].amount == -cost


def cost_of(price, d):
    if d == 0:
        return 0, 0
    billed = max(price.minimum, -(-d // price.increment) * price.increment)
    return price.fee + -(-price.rate * billed // 60000), billed


def test_costs_are_exact_to_the_largest(partition):
    random.seed(7)
    for i in range(300):
        price = Price(random.choice([0, 1, 59_999, 60_000, 99_999_999_999, random.randrange(10**11)]),
                      random.choice([0, random.randrange(10**11)]),
                      random.choice([0, 3_600_000, random.randrange(3_600_001)]),
                      random.choice([1, 3_600_000, random.randrange(1, 3_600_001)]))
        d = random.choice([0, 1, 604_800_000, random.randrange(604_800_001)])
        settled = partition.settle(COMPANY, 'c%d' % i, d, price=price, resource='voice_inbound', asked=True)
        if settled.outcome == 'OUT_OF_RANGE':
            assert partition.balance(COMPANY).posted - cost_of(price, d)[0] < -9 * 10**15
            partition.credit(COMPANY, 999_999_999_999_999, 'r%d' % i)
            continue
        assert (settled.cost, settled.billed_ms) == cost_of(price, d)


def test_hold_and_longest_duration_follow_their_formulas(partition):
    random.seed(8)
    for i in range(200):
        company = i.to_bytes(16, 'big')
        posted = random.choice([0, 10**6, 10**9, 9 * 10**15, random.randrange(10**13)])
        partition.load(company, posted, terms=Terms(calls_max=100))
        price = Price(random.choice([0, 1, 10**11 - 1, random.randrange(10**11), random.randrange(10**6)]),
                      random.randrange(10**6), random.choice([0, 60_000]), random.choice([1, 1000, 60_000]))
        limits = wire.Limits(reserve_ms=random.randrange(1, 10**7), longest_ms=604_800_000,
                             guard_ms=random.choice([0, 5000]))
        headroom = price.fee + math.ceil(-(-price.rate * max(price.minimum, price.increment
                                                             + limits.guard_ms) // 60000)) + 1
        hold = headroom - (-price.rate * limits.reserve_ms // 60000)
        reply = partition.authorize(company, 'x', price, limits=limits, terms=Terms(calls_max=100))
        assert reply.required == hold
        assert (reply.decision == 'ALLOWED') == (posted >= hold)
        if reply.decision == 'ALLOWED':
            longest = (posted - headroom) * 60000 // price.rate if price.rate else 604_800_000
            assert reply.max_ms == min(longest, 604_800_000)
            assert (reply.held, reply.available) == (hold, posted - hold)
