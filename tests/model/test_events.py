# Reading the events of a partition, and the bounds of a tick.
#
# SPDX-License-Identifier: Apache-2.0
import pytest
import redis as redis_client
from redis.exceptions import ResponseError
from support import wire
from support.wire import Limits, Partition, Price, Terms
from test_wallet import in_order

COMPANY = b'printable-as-key'
NOW = 1_700_000_000_000
PRICE = Price(60_000, increment=1)
LIMITS = Limits(guard_ms=0)
MANY = Terms(calls_max=5000)
TICK_CALLS_MAX, STEP = 256, 128  # as in the library; a step of HSCAN may find a few more


@pytest.fixture
def served(redis):
    redis.execute_command('FUNCTION', 'LOAD', wire.library_text(controlled_clock=True))
    wire.set_clock(redis, NOW)
    p = Partition(redis)
    p.take_into_use(3)
    p.load(COMPANY, 10**9, 0, MANY)
    return p


def at(p, ms):
    wire.set_clock(p.redis, NOW + ms)


def company(number):
    return b'company-%08d' % number


class Watcher:
    """Reads as the sidecar does: at most `most` of each stream at once, merged, and from there on."""

    def __init__(self, p, event=(0, 0), entry=(0, 0)):
        self.p, self.event, self.entry = p, event, entry
        self.seen = []

    def read(self, most, room):
        answer = self.p.events(self.event, self.entry, most)
        assert answer.outcome == 'DONE'
        events, entries, taken = answer.events, answer.entries, []
        last_entry = entries[-1].id if entries else self.entry
        i = j = 0
        while len(taken) < room:
            if i < len(events):
                if j < len(entries) and entries[j].id <= events[i].after:
                    j, record = j + 1, entries[j]
                elif j == len(entries) and answer.more[1] and events[i].after > last_entry:
                    break
                else:
                    i, record = i + 1, events[i]
            elif answer.more[0] or j == len(entries):
                break
            else:
                j, record = j + 1, entries[j]
            taken.append(record)
        if (i, j) == (len(events), len(entries)) and answer.more == (False, False):
            self.event, self.entry = max(self.event, answer.event), max(self.entry, answer.entry)
        else:
            self.event = events[i - 1].id if i else self.event
            self.entry = entries[j - 1].id if j else self.entry
        self.seen += taken
        return taken

    def read_all(self, most=1000, room=1000):
        while self.read(most, room):
            pass
        return self.seen


def make_news(p, count=60):
    """Events and entries in turns, and in stretches of one kind."""
    p.announces = True
    for i in range(count):
        p.authorize(COMPANY, 'call-%d' % i, PRICE, MANY, LIMITS, start=i % 3 > 0)
        if i % 5 < 2:
            p.credit(COMPANY, 5, 'r%d' % i)
        if i % 7 == 0:
            p.settle(COMPANY, 'call-%d' % i, 1000)
    p.announces = False
    for i in range(7):
        p.charge(COMPANY, 1, 'c%d' % i)


def test_a_partition_without_events_has_a_position(served):
    start = served.events(from_now=True)
    assert (start.event, start.entry) == ((2, 2**53 - 1), (2, 2**53 - 1))
    assert (start.events, start.entries, start.more) == ([], [], (False, False))
    again = served.events(start.event, start.entry)
    assert (again.event, again.entry, again.events, again.entries) == (start.event, start.entry, [], [])
    make_news(served)
    assert Watcher(served, start.event, start.entry).read_all()[0].call_id == 'call-0'


def test_small_pieces_tell_the_same_in_the_same_order(served):
    start = served.events(from_now=True)
    make_news(served)
    answer = served.events(start.event, start.entry)
    assert answer.more == (False, False) and len(answer.events) > 60 and len(answer.entries) > 30
    whole = in_order(answer.events, answer.entries)
    for most in (1, 2, 3, 7, 100):
        for room in (1, 2, 1000):
            assert Watcher(served, start.event, start.entry).read_all(most, room) == whole
    assert served.events(answer.event, answer.entry).events == []
    now = served.events(from_now=True)
    assert (now.event, now.entry) == (answer.event, answer.entry)


def test_what_comes_while_reading_is_not_missed(served):
    start = served.events(from_now=True)
    watcher = Watcher(served, start.event, start.entry)
    served.announces = True
    for i in range(40):
        served.authorize(COMPANY, 'a%d' % i, PRICE, MANY, LIMITS)
        served.settle(COMPANY, 'a%d' % i, 5)
        watcher.read(1 + i % 3, 1 + i % 2)
    told = watcher.read_all(3)
    assert [r.get('call_id') or r.reference for r in told] == [x for i in range(40) for x in ('a%d' % i,) * 2]
    assert [('type' in r and r.type == 'CALL_AUTHORIZED') for r in told] == [True, False] * 40


def out_of_range(p, event, entry):
    return p.events(event, entry).outcome == 'OUT_OF_RANGE'


def test_positions_of_nowhere_are_out_of_range(served):
    start = served.events(from_now=True)
    make_news(served)
    end = served.events(from_now=True)
    assert not out_of_range(served, end.event, end.entry)
    for strange in ((0, 0), (2, 5), (3, end.event[1] + 1), (4, 0), (2**40, 2**40)):
        assert out_of_range(served, strange, end.entry)
    for strange in ((0, 0), (2, 5), (3, end.entry[1] + 1), (4, 0), (2**40, 2**40)):
        assert out_of_range(served, end.event, strange)
    assert not out_of_range(served, (3, 0), (3, 0)) and not out_of_range(served, start.event, (3, 0))


def test_what_was_cut_off_is_out_of_range(served):
    served.announces = True
    start = served.events(from_now=True)
    for i in range(350):
        served.authorize(COMPANY, 'a%d' % i, Price(0, 1), MANY, LIMITS)
    served.tick(keep=300)  # fewer than a step too many: left alone
    assert len(served.events(start.event, start.entry).events) == 350
    served.tick(keep=100)
    assert out_of_range(served, start.event, start.entry) and out_of_range(served, (3, 248), start.entry)
    left = served.events((3, 249), start.entry)
    assert [event.call_id for event in left.events] == ['a%d' % i for i in range(250, 350)]
    assert not out_of_range(served, *[served.events(from_now=True)[name] for name in ('event', 'entry')])
    served.announces = False
    for i in range(350):
        served.cancel(COMPANY, 'a%d' % i)
    assert len(served.events((3, 249), start.entry).events) == 100


def test_trimmed_entries_are_out_of_range(served):
    start = served.events(from_now=True)
    for i in range(5):
        served.credit(COMPANY, 5, 'r%d' % i)
    at(served, 1)
    assert served.trim((3, 2)).removed == 3
    assert out_of_range(served, start.event, start.entry) and out_of_range(served, start.event, (3, 1))
    assert [e.reference for e in served.events(start.event, (3, 2)).entries] == ['r3', 'r4']
    assert served.trim((3, 4)).removed == 2
    assert out_of_range(served, start.event, (3, 3))
    assert served.events(start.event, (3, 4)).entry == (3, 4)


def test_a_position_outlives_an_epoch_unless_it_was_dropped(served):
    start = served.events(from_now=True)
    make_news(served, 3)
    served.fence(5)
    served.serve(5)
    served.epoch = 5
    served.credit(COMPANY, 5, 'later')
    watcher = Watcher(served, start.event, start.entry)
    assert watcher.read_all()[-1].reference == 'later' and watcher.entry == (5, 0)
    served.fence(6)
    assert not served.drop(6)
    served.serve(6)
    served.epoch = 6
    for position in ((start.event, start.entry), (watcher.event, watcher.entry), ((6, 0), (6, 0))):
        assert out_of_range(served, *position)
    fresh = served.events(from_now=True)
    assert (fresh.event, fresh.entry) == ((5, 2**53 - 1), (5, 2**53 - 1))
    served.load(COMPANY, 5)
    served.credit(COMPANY, 5, 'r')
    assert [e.id for e in served.events(fresh.event, fresh.entry).entries] == [(6, 0)]


def test_a_reader_of_another_epoch_is_refused(served):
    served.epoch = 4
    with pytest.raises(wire.Refused):
        served.events(from_now=True)
    with pytest.raises(wire.Refused):
        served.tick()


def test_a_thousand_calls_are_cut_off_in_steps(served):
    """None is missed and none is told twice; the end comes to all of them at the same T*."""
    terms = Terms(calls_max=5000, warning_ms=0, repeat_ms=60_000)
    assert served.load(company(1), 10**9, 0, terms).outcome == 'DONE'
    for i in range(1000):
        served.authorize(company(1), 'call-%03d' % i, PRICE, terms, LIMITS, start=True)
    balance = served.balance(company(1))
    end = balance.exhausts_at
    at(served, end - NOW - 1)
    start = served.events(from_now=True)
    assert served.tick(company(1)).worked == 0
    at(served, end - NOW + 40)
    told, ticks = [], 0
    while served.tick().due[0][1] <= end + 40:
        answer = served.tick(company(1))
        found = Watcher(served, start.event, start.entry).read_all()[len(told):]
        assert answer.worked == 1 and len(found) <= TICK_CALLS_MAX
        told, ticks = told + found, ticks + 1
    assert 1000 / TICK_CALLS_MAX < ticks < 1000 / STEP + 6
    assert sorted(event.call_id for event in told) == ['call-%03d' % i for i in range(1000)]
    assert {(event.type, event.exhausts_at, event.repeat, event.at) for event in told} == {
        ('CUT_OFF', end, 0, end + 40)}


def test_a_tick_looks_at_so_many_calls_and_leaves_the_rest(served):
    for i in range(40):
        served.load(company(i), 10**8, 0, MANY)
        for j in range(25):
            served.authorize(company(i), 'call-%d-%d' % (i, j), PRICE, MANY, Limits(lease_ms=1000))
    at(served, 999)
    assert served.tick(*map(company, range(32))).worked == 0
    at(served, 1000)
    answer, rounds, worked = served.tick(), 0, 0
    assert len(answer.due) == 32 and {due for _, due in answer.due} == {NOW + 1000}
    while due := [c for c, due in answer.due if due <= answer.now]:
        answer = served.tick(*due)
        assert 1 <= answer.worked <= TICK_CALLS_MAX // 25 + 1
        rounds, worked = rounds + 1, worked + answer.worked
    assert worked == 40 and rounds >= 1000 / (TICK_CALLS_MAX + STEP)
    events = served.events((2, 2**53 - 1), (2, 2**53 - 1)).events
    assert sorted(event.call_id for event in events) == sorted(
        'call-%d-%d' % (i, j) for i in range(40) for j in range(25))
    assert all(event.type == 'CALL_EXPIRED' for event in events)
    assert served.live_wallets() == set()


def test_a_tick_forgets_wallets_of_a_generation_that_was_dropped(served):
    served.authorize(COMPANY, 'a', PRICE, MANY, LIMITS)
    due = dict(served.tick().due)
    assert due == {COMPANY: NOW + 120_000}
    assert served.tick(b'nobody-knows-me!').worked == 0
    served.redis.zadd(served.key(b'due'), {b'nobody-knows-me!': NOW})
    assert (b'nobody-knows-me!', NOW) in served.tick().due
    answer = served.tick(b'nobody-knows-me!')
    assert answer.worked == 0 and dict(answer.due) == due


def test_the_nearest_come_first(served):
    for i in range(40):
        at(served, 40 - i)
        served.load(company(i), 10**9, 0, MANY)
        served.authorize(company(i), 'a', PRICE, MANY, LIMITS)
    answer = served.tick()
    assert answer.due == [(company(i), NOW + 120_040 - i) for i in range(39, 7, -1)]


class OnlyDeclared:
    """Runs functions as a user who may touch nothing but the keys that the call declares."""

    def __init__(self, client):
        self.admin = client
        self.admin.execute_command('ACL', 'SETUSER', 'declared', 'reset', 'on', '>secret', '+@all')
        self.client = redis_client.Redis(unix_socket_path=client.connection_pool.connection_kwargs['path'],
                                         username='declared', password='secret')

    def execute_command(self, name, *arguments):
        if name != 'FCALL':
            return self.admin.execute_command(name, *arguments)
        keys = arguments[2:2 + arguments[1]]
        self.admin.execute_command('ACL', 'SETUSER', 'declared', 'resetkeys', *[b'~' + key for key in keys])
        return self.client.execute_command(name, *arguments)


def test_nothing_but_declared_keys_is_touched(served):
    plain = served.redis
    served.redis = OnlyDeclared(plain)
    with pytest.raises(ResponseError, match='(?i)no.?perm|permission'):  # this test can fail
        served.redis.client.execute_command('GET', 'something-else')
    served.announces = True
    terms = Terms(calls_max=5, has_low=True, low_balance=100_000)
    for i in (1, 2):
        served.load(company(i), 200_000, 0, terms, announces=True)
        served.authorize(company(i), 'ring', Price(60), terms, Limits(1000, lease_ms=1000))
        served.authorize(company(i), 'talk', PRICE, terms, Limits(1000, 5000, guard_ms=1000), start=True)
        served.authorize(company(i), 'long', PRICE, terms, Limits(1000), start=True)
        served.authorize(company(i), 'much', Price(10**9), terms)
        served.authorize(company(i), 'more', Price(10**9), terms)
        served.adopt(company(i), 'adopted', Price(60), NOW, asked=True)
        served.stop(company(i), 'adopted')
        served.cancel(company(i), 'x')
        served.charge(company(i), 5, 'c')
    for ms in (500, 1000, 75_000, 160_000, 906_000, 10**7):
        at(served, ms)
        served.tick(company(1))
        served.balance(company(2))
        served.calls(company(2))
        served.get_call(company(2), 'ring')
        served.start(company(2), 'ring')
        served.tick_all()
    served.settle(company(1), 'talk', 1000)
    served.credit(company(1), 10**9, 'r')
    served.credit(company(2), 10**9, 'r')
    served.live_wallets()
    served.hello()
    start = (2, 2**53 - 1)
    told = Watcher(served, start, start).read_all()
    assert {record.type for record in told if 'call_id' in record} >= {
        'CALL_AUTHORIZED', 'CALL_STARTED', 'CALL_ADOPTED', 'CALL_STOPPED', 'CALL_EXPIRED', 'CALL_DENIED', 'CUT_OFF',
        'CUT_WARNING', 'BALANCE_LOW', 'CALL_OVERDUE', 'WALLET_UPDATED'}
    assert {record.flags for record in told if 'flags' in record} >= {0, 1, 4}
    assert any(record.get('basis') == wire.ASSUMED for record in told)
    served.tick(keep=0)
    served.trim((3, 1000), keep_max=1)
    served.read()
    served.fence(4)
    served.drop(4)
    served.serve(4)
    plain.execute_command('ACL', 'DELUSER', 'declared')
