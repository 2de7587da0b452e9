# Many operations in one call do what they would have done one after the other, each for itself.
#
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import random

import pytest
from redis.exceptions import ResponseError
from support import wire
from support.wire import Failed, Partition, Price, Refused, Terms

NOW = 1_700_000_000_000
COMPANIES = [bytes([i]) * 16 for i in range(1, 5)]
PRICE = Price(60_000)
TERMS = Terms(calls_max=1000)
MANY_MAX = 64


@pytest.fixture
def two(redis):
    """Two partitions of one server with the same wallets: one is told one by one, one at once."""
    redis.execute_command('FUNCTION', 'LOAD', wire.library_text(controlled_clock=True))
    wire.set_clock(redis, NOW)
    made = [Partition(redis, number=number, announces=True) for number in (0, 1)]
    for p in made:
        p.take_into_use(1)
        for company in COMPANIES:
            p.load(company, 10**7, 0, TERMS)
    return made


def everything(p):
    """All that a partition keeps; of its keys what is behind its own tag."""
    kept = {}
    for key in sorted(p.redis.keys(p.key(b'*'))):
        kind = p.redis.type(key)
        read = {b'hash': p.redis.hgetall, b'zset': lambda k: p.redis.zrange(k, 0, -1, withscores=True),
                b'stream': p.redis.xrange}[kind]
        kept[key[len(p.key(b'')):]] = read(key)
    return kept


def beginning(rng, ids):
    company, call_id, price = rng.choice(COMPANIES), rng.choice(ids), rng.choice([PRICE, None])
    return rng.choice([
        lambda p: p.authorize(company, call_id, PRICE, TERMS, start=True),
        lambda p: p.authorize(company, call_id, price, TERMS),
        lambda p: p.start(company, call_id),
        lambda p: p.adopt(company, call_id, PRICE, NOW - 5000, asked=True)])


def finishing(rng, ids):
    company, call_id, ms = rng.choice(COMPANIES), rng.choice(ids), rng.randrange(1, 10**5)
    return rng.choice([
        lambda p: p.stop(company, call_id), lambda p: p.cancel(company, call_id),
        lambda p: p.settle(company, call_id, ms, price=PRICE, resource='voice_outbound', asked=True),
        lambda p: p.settle(company, call_id)])


@pytest.mark.parametrize('seed', range(12))
def test_the_same_answers_and_the_same_records_as_one_by_one(two, seed):
    single, together = two
    rng = random.Random(seed)
    ids = [f'c{i}' for i in range(30)]
    for turn in range(12):
        name, make = rng.choice([('begin_many', beginning), ('finish_many', finishing)])
        operations = [make(rng, ids) for _ in range(rng.randrange(1, MANY_MAX + 1))]
        assert together.many(name, operations) == [operation(single) for operation in operations]
        wire.set_clock(single.redis, NOW + 40_000 * (turn + 1))  # leases run out, calls are cut off
    assert everything(single) == everything(together)
    assert len(everything(single)[b'ledger']) > 20


def test_the_last_cent_is_held_once(two):
    p, _ = two
    funds = p.authorize(COMPANIES[0], 'ask', PRICE, TERMS, validate_only=True).required
    poor = bytes(16)
    p.load(poor, funds + funds // 2, 0, TERMS)
    answers = p.many('begin_many', [lambda p, i=i: p.authorize(poor, f'c{i}', PRICE, TERMS) for i in range(10)])
    assert [answer.decision for answer in answers] == ['ALLOWED'] + ['INSUFFICIENT_FUNDS'] * 9


def test_one_that_fails_fails_alone(two):
    p, _ = two
    bad = Price(-1)
    answers = p.many('begin_many', [
        lambda p: p.authorize(COMPANIES[0], 'before', PRICE, TERMS),
        lambda p: p.authorize(COMPANIES[0], 'bad', bad, TERMS),
        lambda p: p.authorize(COMPANIES[1], '', PRICE, TERMS),
        lambda p: p.authorize(COMPANIES[0], 'after', PRICE, TERMS)])
    assert [type(answer) for answer in answers[1:3]] == [Failed, Failed]
    assert 'malformed argument: price' in str(answers[1])
    assert 'malformed argument: call_id' in str(answers[2])
    assert [answers[i].decision for i in (0, 3)] == ['ALLOWED', 'ALLOWED']
    assert p.balance(COMPANIES[0]).calls == 2
    assert p.balance(COMPANIES[1]).calls == 0


def test_one_that_fails_in_the_middle_of_its_writes_fails_alone(two):
    """The ledger's stream takes no entry: what an entry is written by fails, the rest goes on."""
    p, _ = two
    for call_id in ('a', 'b', 'c'):
        p.authorize(COMPANIES[0], call_id, PRICE, TERMS)
    p.redis.execute_command('XSETID', p.key(b'ledger'), f'9-{2**64 - 1}')
    answers = p.many('finish_many', [
        lambda p: p.settle(COMPANIES[0], 'a', 1000), lambda p: p.cancel(COMPANIES[0], 'b'),
        lambda p: p.settle(COMPANIES[0], 'c', 1000)])
    assert [type(answer) for answer in answers] == [Failed, wire.Reply, Failed]
    assert answers[1].state == 'CANCELLED'
    assert p.balance(COMPANIES[0]).calls == 2
    assert p.balance(COMPANIES[0]).posted == 10**7


def test_each_has_its_own_epoch(two):
    p, _ = two
    older = dataclasses.replace(p, epoch=7)
    answers = p.many('begin_many', [
        lambda p: p.authorize(COMPANIES[0], 'a', PRICE, TERMS),
        lambda p: dataclasses.replace(older, redis=p.redis).authorize(COMPANIES[0], 'b', PRICE, TERMS),
        lambda p: p.authorize(COMPANIES[1], 'c', PRICE, TERMS)])
    assert [type(answer) for answer in answers] == [wire.Reply, Refused, wire.Reply]
    assert p.balance(COMPANIES[0]).calls == 1


def test_nothing_of_a_call_is_left_for_the_next(two):
    """What many shared, the head and the instant, is not what a later call goes by."""
    p, _ = two
    p.many('begin_many', [lambda p: p.authorize(COMPANIES[0], 'a', PRICE, TERMS)] * 2)
    wire.set_clock(p.redis, NOW + 5000)
    assert p.authorize(COMPANIES[0], 'b', PRICE, TERMS).at == NOW + 5000
    p.many('begin_many', [lambda p: p.authorize(COMPANIES[0], 'c', Price(-1), TERMS)] * 2)
    p.fence(5)
    for refused in (lambda: p.balance(COMPANIES[0]), lambda: p.authorize(COMPANIES[0], 'd', PRICE, TERMS)):
        with pytest.raises(Refused):
            refused()


def test_what_is_not_many_is_refused_before_anything_is_written(two):
    p, _ = two
    keys = [*p.wallet_keys(b'')[:1], *p.wallet_keys(b'')[2:], p.wallet_key(COMPANIES[0])]
    canned = wire.Canned()
    with pytest.raises(Refused):
        dataclasses.replace(p, redis=canned).authorize(COMPANIES[0], 'a', PRICE, TERMS)
    good = canned.argument
    before = everything(p)
    for name, some_keys, arguments in [
            ('begin_many', keys, [b'']), ('begin_many', keys, [b'\0\0']), ('begin_many', keys[:6], [b'\0\0', good]),
            ('begin_many', keys, [b'\0\1', good]), ('begin_many', keys, [b'\3\0', good]),
            ('finish_many', keys, [b'\0\0', good]), ('begin_many', keys, [b'\0\0\6\0', good, good]),
            ('begin_many', keys, [b'\0\0' * (MANY_MAX + 1), *[good] * (MANY_MAX + 1)])]:
        with pytest.raises(ResponseError, match='malformed argument'):
            p.fcall_many(name, some_keys, *arguments)
    assert everything(p) == before


def test_memory_that_is_short_refuses_beginnings_and_lets_everything_finish(two):
    p, _ = two
    p.authorize(COMPANIES[0], 'a', PRICE, TERMS)
    p.authorize(COMPANIES[0], 'b', PRICE, TERMS)
    p.redis.config_set('maxmemory', '1')
    try:
        with pytest.raises(ResponseError, match='OOM'):
            p.many('begin_many', [lambda p: p.authorize(COMPANIES[0], 'c', PRICE, TERMS)])
        settled = p.many('finish_many', [
            lambda p: p.settle(COMPANIES[0], 'a', 1000), lambda p: p.cancel(COMPANIES[0], 'b')])
        assert [answer.state for answer in settled] == ['SETTLED', 'CANCELLED']
    finally:
        p.redis.config_set('maxmemory', '0')
