# Two versions of the library on one server, as sidecars of two versions load them: each has its own
# locals, both write the same partitions.
#
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib
import struct

import pytest
from support import wire
from support.wire import VERSION, Partition, Price, Refused, Terms

COMPANY = bytes(range(16))
PRICE = Price(60_000)
BEGIN = (0, 2**53 - 1)  # before everything
RELEASED = wire.ROOT / 'src/store/released.txt'


@pytest.fixture
def two(redis):
    """One partition through either library; the older one has taken it into use."""
    for version in (VERSION, VERSION + 1):
        redis.execute_command('FUNCTION', 'LOAD', wire.library_text(version=version))
    older = Partition(redis, announces=True)
    older.take_into_use(1)
    older.load(COMPANY, 10**9, 0, Terms(calls_max=1000))
    return older, dataclasses.replace(older, version=VERSION + 1)


def in_force(p):
    return p.redis.hget(p.key(b'head'), 'in_force')


def library_noted(p):
    """The only library that writes the partition; 0: there may be others."""
    return in_force(p)[20]


def pay(p, *references):
    for reference in references:
        assert p.credit(COMPANY, 5, reference).outcome == 'DONE'


def told(p):
    """Calls that were authorized, and after which entry each."""
    return {event.call_id: event.after for event in p.events(BEGIN, BEGIN).events}


def last_entry(p):
    return p.read().entries[-1].id


def test_the_second_version_is_refused_until_its_hello(two):
    older, newer = two
    with pytest.raises(Refused):
        newer.balance(COMPANY)
    assert library_noted(older) == VERSION
    assert newer.hello().condition == 'HEALTHY'
    assert library_noted(older) == 0
    assert older.balance(COMPANY).posted == newer.balance(COMPANY).posted == 10**9


def test_a_version_that_is_alone_notes_nothing_twice(two):
    older, _ = two
    before = in_force(older)
    older.redis.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text())
    changes = older.redis.info('persistence')['rdb_changes_since_last_save']
    assert older.hello().condition == 'HEALTHY'
    assert in_force(older) == before
    assert older.redis.info('persistence')['rdb_changes_since_last_save'] == changes


def test_an_event_stands_after_the_entries_of_the_other_version(two):
    older, newer = two
    newer.hello()
    for number, (here, there) in enumerate([two, two[::-1]] * 2):
        pay(here, f'h{number}')  # what this library remembers as the last entry
        pay(there, f't{number}')
        here.authorize(COMPANY, f'c{number}', PRICE)
        assert told(older)[f'c{number}'] == last_entry(older)


def test_both_know_how_far_both_streams_go(two):
    older, newer = two
    newer.hello()
    for number, (here, there) in enumerate([two, two[::-1]] * 2):
        here.authorize(COMPANY, f'h{number}', PRICE)
        pay(here, f'h{number}')
        there.authorize(COMPANY, f't{number}', PRICE)
        pay(there, f't{number}')
        assert [here.tick()[name] for name in ('event', 'entry')] == [
            there.tick()[name] for name in ('event', 'entry')]
        assert here.events(from_now=True).entry == last_entry(older)


def test_the_outbox_is_as_long_as_both_have_made_it(two):
    older, newer = two
    newer.hello()
    older.outbox_max = newer.outbox_max = 4
    pay(older, 'a')
    assert older.authorize(COMPANY, 'fits', PRICE).outcome == 'DONE'  # and has counted
    pay(newer, *'bcde')
    for p in two:
        assert p.authorize(COMPANY, 'full', PRICE).outcome == 'OUTBOX_FULL'


def test_a_fence_is_by_one_library_and_the_other_says_hello_again(two):
    older, newer = two
    newer.hello()
    pay(newer, 'n')
    older.fence(2)
    assert library_noted(older) == VERSION
    for p in two:
        p.epoch = 2
    assert not older.serve(2)
    with pytest.raises(Refused):
        newer.balance(COMPANY)
    assert newer.hello().condition == 'HEALTHY'
    assert library_noted(older) == 0
    pay(newer, 'm')
    older.authorize(COMPANY, 'c', PRICE)
    assert told(older)['c'] == last_entry(older)


def test_either_goes_on_with_a_recovery_of_the_other_from_its_beginning(two):
    older, newer = two
    newer.fence(2)
    assert older.serve(2)  # refused: only who fenced may go on
    assert older.hello().condition == 'HALF_DONE'
    older.fence(3)
    assert newer.serve(2) and not older.serve(3)


def test_a_head_of_version_1_is_read_and_nobody_is_alone(two):
    older, _ = two
    older.redis.hset(older.key(b'head'), 'in_force', in_force(older)[:20])
    pay(older, 'a')
    # As if another library had written it.
    record, = older.redis.xrevrange(older.key(b'ledger'), count=1)
    foreign = older.redis.xadd(older.key(b'ledger'), record[1], id='1-*')
    older.authorize(COMPANY, 'c', PRICE)
    assert '%d-%d' % told(older)['c'] == foreign.decode()
    older.trim((1, 0))
    assert older.balance(COMPANY).posted == 10**9 + 5


def test_a_released_version_keeps_its_text():
    """Sidecars of one version with two texts would replace each other's library for ever."""
    released = dict(line.split() for line in RELEASED.read_text().splitlines()
                    if line and not line.startswith('#'))
    assert VERSION >= max(map(int, released))
    here = hashlib.sha256(wire.library_source().encode()).hexdigest()
    assert released.get(str(VERSION), here) == here, 'count CG_LIBRARY_VERSION up in CMakeLists.txt'


def test_the_version_fits_where_the_head_keeps_it():
    assert 2 <= VERSION <= 255
    assert struct.calcsize('<BdBdBBB') == 21
