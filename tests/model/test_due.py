# What went wrong once in the due work, and comes up too seldom by chance.
#
# SPDX-License-Identifier: Apache-2.0
import pytest
from support import wire
from support.wire import ADJUSTMENT, TOP_UP, Limits, Partition, Price, Terms

COMPANY = bytes(range(16))
NOW = 1_700_000_000_000
PRICE = Price(60_000, increment=1)  # a micro per millisecond
LIMITS = Limits(reserve_ms=1, guard_ms=0)  # holds: 2 micros ringing, 2 talking


@pytest.fixture
def p(redis):
    redis.execute_command('FUNCTION', 'LOAD', wire.library_text(controlled_clock=True))
    wire.set_clock(redis, NOW)
    p = Partition(redis)
    p.take_into_use()
    return p


def at(p, ms):
    wire.set_clock(p.redis, NOW + ms)


def told(p):
    place = (0, 2**53 - 1)
    return [(e.type, e.at - NOW, e.exhausts_at and e.exhausts_at - NOW) for e in p.events(place, place).events]


def test_a_hold_that_is_over_does_not_bring_the_end(p):
    p.load(COMPANY, 10_002, 0, Terms(warning_ms=0))
    p.authorize(COMPANY, 'talk', PRICE, limits=LIMITS, start=True)
    p.authorize(COMPANY, 'ring', Price(0, 5_000), limits=Limits(lease_ms=4_000))
    at(p, 6_000)  # nobody ticked; with the hold it would have been over at 4 999
    p.tick_all()
    assert told(p) == [('CALL_EXPIRED', 6_000, 0)]
    at(p, 10_000)
    p.tick_all()
    assert told(p)[1:] == [('CUT_OFF', 10_000, 10_000)]


def test_a_lowered_limit_ends_calls_now(p):
    p.load(COMPANY, 1_000, 0, Terms(credit=100_000))
    p.authorize(COMPANY, 'talk', PRICE, limits=LIMITS, start=True)
    at(p, 71_000)  # the warning is due
    p.load(COMPANY, 0, 0, Terms(version=2, credit=2_000))
    assert told(p) == [('CUT_OFF', 71_000, 71_000)]
    at(p, 3_600_000 + 900_000)
    p.tick_all()
    assert p.get_call(COMPANY, 'talk').call.duration_ms == 71_000


def test_denials_left_out_are_told_after_a_second(p):
    terms = Terms(calls_max=1)
    p.load(COMPANY, 10**12, 0, terms)
    for i in range(4):
        p.authorize(COMPANY, 'call-%d' % i, PRICE, terms, start=True)
    assert p.tick().due == [(COMPANY, NOW + 1000)]
    at(p, 1000)
    p.tick_all()
    place = (0, 2**53 - 1)
    denials = [e for e in p.events(place, place).events if e.type == 'CALL_DENIED']
    assert [(e.call_id, e.repeat, e.decision) for e in denials] == [
        ('call-1', 0, 'CONCURRENCY_LIMIT'), ('', 2, 'CONCURRENCY_LIMIT')]


def test_a_slow_burn_crosses_the_threshold_when_it_is_undercut(p):
    terms = Terms(has_low=True, low_balance=1_000)
    p.load(COMPANY, 1_002 + 1, 0, terms)
    p.authorize(COMPANY, 'slow', Price(1), terms, LIMITS, start=True)  # a micro per minute; holds 2
    assert p.balance(COMPANY).available == 1_001
    for ms in (60_000, 60_001):
        at(p, ms)
        p.tick_all()
        assert [type for type, *_ in told(p)] == ['BALANCE_LOW'] * (ms > 60_000)


def test_a_call_that_begins_too_late_is_overdue_at_once(p):
    terms = Terms(shadow=True)
    p.load(COMPANY, 0, 0, terms)
    p.authorize(COMPANY, 'a', PRICE, terms, Limits(longest_ms=1_000, lease_ms=60_000))
    at(p, 50_000)
    p.start(COMPANY, 'a', NOW + 1)
    p.tick_all()
    assert [type for type, *_ in told(p)] == ['CUT_OFF', 'CALL_OVERDUE']


def test_the_end_is_told_as_it_was_reached(p):
    terms = Terms(has_low=True, low_balance=500)
    p.load(COMPANY, 1_002, 0, terms)
    p.authorize(COMPANY, 'talk', PRICE, terms, LIMITS, start=True)
    at(p, 1_200)  # T* was at 1 000
    p.tick_all()
    assert ('BALANCE_LOW', 1_200, 1_000) in told(p) and ('CUT_OFF', 1_200, 1_000) in told(p)
    p.credit(COMPANY, -5, 'r', ADJUSTMENT)
    p.credit(COMPANY, 5, 'r', TOP_UP)
    p.credit(COMPANY, 1_000, 'more', TOP_UP)
    assert [e.exhausts_at - NOW for e in p.read().entries] == [1_000, 1_000, 2_000]
    assert p.balance(COMPANY).exhausts_at == NOW + 2_000


def test_who_was_told_in_shadow_mode_is_told_anew(p):
    p.load(COMPANY, 1_002, 0, Terms(shadow=True))
    p.authorize(COMPANY, 'talk', PRICE, Terms(shadow=True), LIMITS, start=True)
    for ms in (1_000, 20_000):
        at(p, ms)
        p.tick_all()
    assert told(p)[1:] == [('CUT_OFF', 1_000, 1_000)]
    p.load(COMPANY, 0, 0, Terms(version=2))
    p.tick_all()
    at(p, 25_000)
    p.tick_all()
    place = (0, 2**53 - 1)
    assert [(e.at - NOW, e.repeat, e.shadow) for e in p.events(place, place).events if e.type == 'CUT_OFF'] == [
        (1_000, 0, 1), (20_000, 0, 0), (25_000, 1, 0)]


def test_without_a_repeat_the_end_is_told_once(p):
    p.load(COMPANY, 1_002, 0, Terms(repeat_ms=0, warning_ms=0))
    p.authorize(COMPANY, 'talk', PRICE, Terms(repeat_ms=0), LIMITS, start=True)
    for ms in (1_000, 1_000, 500_000):
        at(p, ms)
        p.tick_all()
    assert told(p) == [('CUT_OFF', 1_000, 1_000)]
