# Heads, marks, epochs and the stream: ledger.md, When the store forgets, step by step.
#
# SPDX-License-Identifier: Apache-2.0
import pytest
from redis.exceptions import ResponseError
from support import wire
from support.redis_server import RedisServer
from support.wire import Limits, Partition, Price, Refused, Terms

COMPANY = bytes(range(16))
NOW = 1_700_000_000_000
PRICE = Price(60_000)


@pytest.fixture
def p(redis):
    redis.execute_command('FUNCTION', 'LOAD', wire.library_text(controlled_clock=True))
    wire.set_clock(redis, NOW)
    return Partition(redis)


@pytest.fixture
def served(p):
    p.take_into_use(1)
    p.load(COMPANY, 10**9, 0, Terms(calls_max=1000))
    return p


def operations(p):
    return [lambda: p.authorize(COMPANY, 'a', PRICE), lambda: p.start(COMPANY, 'a'), lambda: p.stop(COMPANY, 'a'),
            lambda: p.settle(COMPANY, 'a', 5), lambda: p.cancel(COMPANY, 'a'),
            lambda: p.adopt(COMPANY, 'a', PRICE, NOW), lambda: p.credit(COMPANY, 5, 'r'),
            lambda: p.charge(COMPANY, 5, 'r'), lambda: p.balance(COMPANY), lambda: p.get_call(COMPANY, 'a'),
            lambda: p.calls(COMPANY), p.live_wallets, lambda: p.load(COMPANY)]


def assert_all_refused(p):
    for operation in operations(p):
        with pytest.raises(Refused):
            operation()


def test_nothing_works_without_a_head(p):
    assert p.hello().condition == 'NO_HEAD'
    assert_all_refused(p)
    for step in (p.read, lambda: p.trim((1, 0))):
        with pytest.raises(Refused):
            step()


def test_recovery_takes_a_fresh_store_into_use(p):
    fenced = p.fence(3)
    assert fenced == dict(overtaken=False, former=0, served=0, judged=0, last=(0, 0), trimmed=(0, 0))
    assert set(p.redis.keys()) == set(p.partition_keys())
    p.epoch = 3
    assert p.hello().condition == 'HALF_DONE'
    assert_all_refused(p)
    assert p.read().entries == []  # step 4 reads while the partition is being recovered
    assert not p.serve(3)
    assert not p.serve(3)  # a repeated step, after a lost answer
    assert p.hello().condition == 'HEALTHY'
    assert [operation().outcome for operation in operations(p)[:2]] == ['ABSENT', 'ABSENT']
    assert p.load(COMPANY, 7, 2).outcome == 'DONE'
    assert p.balance(COMPANY).posted == 7


def test_another_epoch_is_refused(served):
    for epoch in (0, 2, 2**40):
        served.epoch = epoch
        assert_all_refused(served)
    with pytest.raises(Refused):
        served.read(epoch=2)
    assert served.read(epoch=1).entries == []


def test_steps_that_are_overtaken_change_nothing(served):
    assert served.fence(1).overtaken
    assert served.serve(2) and served.drop(2) and served.drop(1)
    assert served.balance(COMPANY).outcome == 'DONE'
    assert not served.fence(5).overtaken
    assert served.fence(4) == dict(overtaken=True, former=5, served=0, judged=0, last=(0, 0), trimmed=(0, 0))
    assert served.serve(4) and served.drop(4)
    assert_all_refused(served)
    assert not served.serve(5)
    served.epoch = 5
    assert served.balance(COMPANY).posted == 10**9


def test_an_unfinished_recovery_does_not_pass_for_a_served_epoch(served):
    assert served.fence(5).served == 1
    assert (served.fence(6).former, served.fence(7).served) == (5, 1)
    # What was dropped is judged: nothing is left in it that could be out of date.
    assert not served.drop(7)
    fenced = served.fence(8)
    assert (fenced.served, fenced.last) == (7, (6, 2**53 - 1))
    assert not served.serve(8)
    assert served.fence(9).served == 8


def test_a_history_whose_serve_was_lost_is_known_by_its_fence(served):
    """The ledger holds epoch 2 for served, which came from 1; the step that says so here was lost."""
    assert not served.fence(2).overtaken
    assert served.fence(3, 2, 1).judged == 2
    fenced = served.fence(4, 2, 1)  # the recovery before died too, and its fence covers 2's
    assert (fenced.former, fenced.served, fenced.judged) == (3, 1, 2)
    assert not served.serve(4)
    assert served.fence(5, 4, 2).judged == 4


@pytest.mark.parametrize('ledger_served, ledger_from', [(2, 2), (3, 1), (1, 2), (0, 0)])
def test_a_fence_alone_proves_nothing(served, ledger_served, ledger_from):
    """It was dropped when 2 was served, or another history was served."""
    served.fence(2)
    assert served.fence(3, ledger_served, ledger_from).judged == 0


def test_fence_answers_the_last_id_and_ids_go_on(served):
    served.credit(COMPANY, 5, 'r1')
    served.credit(COMPANY, 5, 'r2')
    fenced = served.fence(2)
    assert (fenced.former, fenced.last) == (1, (1, 1))
    served.serve(2)
    served.epoch = 2
    assert served.credit(COMPANY, 5, 'r3').entry == (2, 0)
    assert [e.id for e in served.read().entries] == [(1, 0), (1, 1), (2, 0)]
    assert [e.id for e in served.read(after=(1, 0)).entries] == [(1, 1), (2, 0)]


@pytest.mark.parametrize('count', [0, 1, 99, 100, 101, 250])  # it looks at 100 at once
def test_a_read_answers_every_entry_once_and_in_order(served, count):
    for number in range(count):
        served.credit(COMPANY, 5, f'r{number}')
    for most in (1, 99, 100, 101, 1000):
        seen, more = [], True
        while more:
            answer = served.read(after=seen[-1].id if seen else (0, 0), most=most)
            seen, more = seen + answer.entries, answer.more
            assert len(answer.entries) == min(most, count - len(seen) + len(answer.entries))
        assert [(e.id, e.reference) for e in seen] == [((1, n), f'r{n}') for n in range(count)]


def test_drop_makes_wallets_absent_and_keys_unknown(served):
    served.authorize(COMPANY, 'live', PRICE, Terms(calls_max=1000))
    served.cancel(COMPANY, 'barred')
    served.credit(COMPANY, 5, 'r1')
    served.fence(2)
    assert not served.drop(2)
    assert not served.serve(2)
    served.epoch = 2
    assert served.read().entries == [] and served.live_wallets() == set()
    assert served.get_call(COMPANY, 'live').outcome == 'ABSENT'
    served.load(COMPANY, 42, 9)
    assert served.get_call(COMPANY, 'live').outcome == 'ASK'
    assert served.get_call(COMPANY, 'barred').outcome == 'ASK'
    assert served.credit(COMPANY, 5, 'r1', asked=False).outcome == 'ASK'
    balance = served.balance(COMPANY)
    assert (balance.posted, balance.held, balance.calls, balance.version) == (42, 0, 0, 9)


def test_load_leaves_a_wallet_that_is_there(served):
    served.credit(COMPANY, 5, 'r')
    assert served.load(COMPANY, 1, 77, Terms(version=1, frozen=True)).outcome == 'DONE'
    balance = served.balance(COMPANY)
    assert (balance.posted, balance.version, balance.flags) == (10**9 + 5, 1, 0)
    served.load(COMPANY, 1, 77, Terms(version=2, frozen=True))
    assert served.balance(COMPANY).flags == 2


def test_flushall_leaves_functions_that_refuse(served):
    served.redis.flushall()
    assert_all_refused(served)
    assert served.hello().condition == 'NO_HEAD'
    fenced = served.fence(2)
    assert fenced.former == 0


def test_mark_is_lost_with_the_library_and_hello_sets_it_again(served):
    served.redis.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text(controlled_clock=True))
    wire.set_clock(served.redis, NOW)
    assert_all_refused(served)
    assert served.hello().condition == 'HEALTHY'
    assert served.balance(COMPANY).posted == 10**9


def test_mark_of_a_recovery_is_lost_with_the_library(p):
    p.fence(1)
    p.redis.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text(controlled_clock=True))
    wire.set_clock(p.redis, NOW)
    assert p.hello().condition == 'HALF_DONE'
    assert p.serve(1) and p.drop(1)


@pytest.mark.parametrize('command', [('REPLICAOF', '127.0.0.1', '1'), None])
def test_another_history_is_noticed(command):
    """A restart changes the run id; a demotion and promotion the replication id alone."""
    server = RedisServer().start()
    try:
        server.client.execute_command('FUNCTION', 'LOAD', wire.library_text())
        p = Partition(server.client)
        p.take_into_use(1)
        p.load(COMPANY, 5)
        if command:
            server.client.execute_command(*command)
            server.client.execute_command('REPLICAOF', 'NO', 'ONE')
            server.client.execute_command('FUNCTION', 'LOAD', 'REPLACE', wire.library_text())
        else:
            server.client.execute_command('CONFIG', 'SET', 'appendfsync', 'always')
            server.restart()
        assert_all_refused(p)
        assert p.hello().condition == 'OTHER_HISTORY'
        assert_all_refused(p)
        assert p.fence(2).former == 1
        assert not p.serve(2)
        p.epoch = 2
        assert p.balance(COMPANY).posted == 5
    finally:
        server.stop()


def test_hello_tells_deployments_apart(served):
    assert served.hello(b'E' * 16).condition == 'OTHER_DEPLOYMENT'
    assert served.hello(count=17).condition == 'OTHER_DEPLOYMENT'
    # Not known to a sidecar that starts while the ledger is away; how many partitions is.
    assert served.hello(b'\0' * 16).condition == 'HEALTHY'
    assert served.hello(b'\0' * 16, count=17).condition == 'OTHER_DEPLOYMENT'
    assert served.hello() == dict(condition='HEALTHY', epoch=1, trimmed=(0, 0), now=NOW)


def test_trim_keeps_the_margin_and_notes_the_last_id(served):
    for i in range(4):
        wire.set_clock(served.redis, NOW + 1000 * i)
        served.credit(COMPANY, 5, 'r%d' % i)
    wire.set_clock(served.redis, NOW + 2500)  # entries of now, 1000, 2000, 3000
    assert served.trim((1, 3), margin_ms=2500) == dict(removed=0, length=4)
    assert served.trim((1, 3), margin_ms=1000) == dict(removed=2, length=2)
    assert served.hello().trimmed == served.read().trimmed == (1, 1)
    assert served.trim((1, 1), margin_ms=0) == dict(removed=0, length=2)
    wire.set_clock(served.redis, NOW + 10**6)
    assert served.trim((1, 2), margin_ms=0) == dict(removed=1, length=1)
    assert served.fence(2).trimmed == (1, 2)
    assert served.fence(3).last == (1, 3)


def test_trim_removes_at_most_a_thousand(served):
    for i in range(1203):
        served.charge(COMPANY, 1, 'c%d' % i)
    wire.set_clock(served.redis, NOW + 1)
    assert served.read(most=1000).more
    assert served.trim((1, 1202)) == dict(removed=1000, length=203)
    assert served.trim((1, 1202)) == dict(removed=203, length=0)
    assert served.hello().trimmed == (1, 1202)
    assert served.charge(COMPANY, 1, 'next').entry == (1, 1203)


def test_generations_rotate_and_never_drop_what_is_not_trimmed(served):
    def known(call_id):
        return served.get_call(COMPANY, call_id).outcome == 'DONE'

    def settle(call_id):
        served.settle(COMPANY, call_id, 5, price=PRICE, resource='voice_inbound', asked=True)

    settle('first')
    served.trim((1, 0), margin_ms=10**9, keep_max=1)  # rotates: the other generation is empty
    settle('second')
    served.trim((1, 1), margin_ms=10**9, keep_max=1)  # must not: `first` is not trimmed yet
    assert known('first') and known('second')
    wire.set_clock(served.redis, NOW + 1)
    assert served.trim((1, 0), keep_max=500).removed == 1
    assert known('first')
    served.trim((1, 0), keep_max=1)
    assert not known('first') and known('second')
    settle('third')
    wire.set_clock(served.redis, NOW + 172_800_001)
    served.trim((1, 2))
    assert not known('second') and known('third')


def test_short_memory_refuses_new_calls_and_finishes_old_ones(served):
    for call_id in 'abc':
        served.authorize(COMPANY, call_id, PRICE, start=call_id == 'c')
    served.redis.config_set('maxmemory', 1)
    try:
        for refused in (lambda: served.authorize(COMPANY, 'd', PRICE), lambda: served.start(COMPANY, 'a'),
                        lambda: served.adopt(COMPANY, 'e', PRICE, NOW, asked=True)):
            with pytest.raises(ResponseError, match='OOM'):
                refused()
        assert served.settle(COMPANY, 'a', 5).outcome == 'DONE'
        assert served.cancel(COMPANY, 'b').outcome == 'DONE'
        assert served.stop(COMPANY, 'c').outcome == 'DONE'
        assert served.credit(COMPANY, 5, 'r').outcome == 'DONE'
        assert served.charge(COMPANY, 5, 'r').outcome == 'DONE'
        assert served.balance(COMPANY).outcome == served.calls(COMPANY).outcome == 'DONE'
        assert len(served.read().entries) == 3
        wire.set_clock(served.redis, NOW + 1)
        assert served.trim((1, 2)).removed == 3
        assert served.fence(2).former == 1 and not served.serve(2)
    finally:
        served.redis.config_set('maxmemory', 0)


def test_outbox_limit_refuses_new_calls_alone(served):
    served.authorize(COMPANY, 'a', PRICE)
    for i in range(3):
        served.credit(COMPANY, 5, 'r%d' % i)
    served.outbox_max = 2
    assert served.authorize(COMPANY, 'b', PRICE).outcome == 'OUTBOX_FULL'
    assert served.adopt(COMPANY, 'b', PRICE, NOW, asked=True).outcome == 'OUTBOX_FULL'
    assert served.authorize(COMPANY, 'a', PRICE).replayed
    assert served.settle(COMPANY, 'a', 5).outcome == 'DONE'
    served.outbox_max = 4
    assert served.authorize(COMPANY, 'b', PRICE).decision == 'ALLOWED'


def test_what_the_ledger_has_does_not_count_as_outbox(served):
    """The stream keeps it for the margin; ten minutes of work would else pass for a lag."""
    for i in range(6):
        served.credit(COMPANY, 5, 'r%d' % i)
    served.outbox_max = 3
    assert served.authorize(COMPANY, 'a', PRICE).outcome == 'OUTBOX_FULL'  # not told yet
    assert served.trim((1, 1), margin_ms=600_000) == dict(removed=0, length=6)  # of n 0 to 5
    assert served.authorize(COMPANY, 'a', PRICE).outcome == 'OUTBOX_FULL'  # 4 wait
    served.trim((0, 0), margin_ms=600_000, flushed=(1, 2))  # nothing may go yet
    assert served.authorize(COMPANY, 'a', PRICE).decision == 'ALLOWED'
    served.credit(COMPANY, 5, 'another')
    assert served.authorize(COMPANY, 'b', PRICE).outcome == 'OUTBOX_FULL'
    # What is known is of another epoch now: until the ledger has an entry of this one, all counts.
    served.take_into_use(2)
    served.epoch = 2
    assert served.authorize(COMPANY, 'b', PRICE).outcome == 'OUTBOX_FULL'
    served.trim((1, 6), margin_ms=600_000)
    assert served.authorize(COMPANY, 'b', PRICE).decision == 'ALLOWED'
    served.credit(COMPANY, 5, 'of-epoch-2')
    assert served.authorize(COMPANY, 'c', PRICE).outcome == 'OUTBOX_FULL'
    served.trim((2, 0), margin_ms=600_000)
    assert served.authorize(COMPANY, 'c', PRICE).decision == 'ALLOWED'


def test_what_comes_too_late_is_refused(served):
    assert served.authorize(COMPANY, 'a', PRICE, not_after=NOW - 1).outcome == 'TOO_LATE'
    assert served.authorize(COMPANY, 'a', PRICE, not_after=NOW).decision == 'ALLOWED'
    assert served.start(COMPANY, 'a', not_after=NOW - 1).outcome == 'TOO_LATE'
    assert served.start(COMPANY, 'a', not_after=NOW).decision == 'ALLOWED'


def test_too_late_is_said_by_the_clock_and_not_by_a_wallet_ahead_of_it(served):
    """The clock was set back: the wallet stands still at its last instant, deadlines do not."""
    served.authorize(COMPANY, 'a', PRICE)
    wire.set_clock(served.redis, NOW - 3_600_000)
    assert served.authorize(COMPANY, 'b', PRICE, not_after=NOW - 3_600_000).decision == 'ALLOWED'
    assert served.start(COMPANY, 'a', not_after=NOW - 3_599_000).decision == 'ALLOWED'
    late = served.authorize(COMPANY, 'c', PRICE, not_after=NOW - 3_600_001)
    assert (late.outcome, late.at) == ('TOO_LATE', NOW - 3_600_000)


def test_balances_stay_in_range(served):
    served.load(b'R' * 16, 9 * 10**15 - 1, 0, Terms())
    assert served.credit(b'R' * 16, 2, 'r').outcome == 'OUT_OF_RANGE'
    assert served.credit(b'R' * 16, 1, 'r').balance == 9 * 10**15
    assert served.load(b'S' * 16, 9 * 10**15 + 2).outcome == 'OUT_OF_RANGE'
    served.load(b'T' * 16, 0, 0, Terms(unlimited=True, calls_max=1000))
    price = Price(10**11 - 1)
    answers = [served.authorize(b'T' * 16, 'c%d' % i, price, terms=Terms(unlimited=True, calls_max=1000),
                                start=True).outcome for i in range(12)]
    assert answers == ['DONE'] * 10 + ['OUT_OF_RANGE'] * 2
    assert served.balance(b'T' * 16).burn == 10 * (10**11 - 1) <= 10**12
    # Weeks later accrual has stopped at its bound, and every call still ends exactly.
    wire.set_clock(served.redis, NOW + 30 * 86_400_000)
    assert served.balance(b'T' * 16).accrued <= 9 * 10**15
    for i in range(10):
        assert served.settle(b'T' * 16, 'c%d' % i, 1000).outcome == 'DONE'
    balance = served.balance(b'T' * 16)
    assert (balance.accrued, balance.burn, balance.held, balance.calls) == (0, 0, 0, 0)


def test_calls_are_listed_in_pages_and_swept_in_steps(served):
    terms, limits = Terms(calls_max=1000), Limits(lease_ms=60_000)
    for i in range(600):
        wire.set_clock(served.redis, NOW + i // 7)
        served.authorize(COMPANY, 'call-%03d' % i, Price(0, 1), terms, limits)
    listed, at, last = [], 0, ''
    while True:
        page = served.calls(COMPANY, at, last, 100)
        listed += [call.id for call in page.calls]
        at, last = page.calls[-1].authorized_at, page.calls[-1].id
        if not page.more:
            break
    assert listed == ['call-%03d' % i for i in range(600)]
    assert served.live_wallets() == {COMPANY}

    wire.set_clock(served.redis, NOW + 10**6)
    assert served.calls(COMPANY).calls == []
    sweeps = 0
    while served.redis.hlen(served.wallet_key(COMPANY)) > 2:
        served.cancel(COMPANY, 'other-%d' % sweeps)
        sweeps += 1
    assert sweeps < 12
    served.cancel(COMPANY, 'last')
    record = wire.take_record(served.redis.hgetall(served.wallet_key(COMPANY)))
    assert (record.held, record.calls, record.due) == (0, 0, 0)
    assert served.live_wallets() == set()
    assert served.start(COMPANY, 'call-000').decision == 'ALLOWED'  # decided anew


def test_a_balance_goes_by_the_terms_that_come_with_it_and_keeps_none(served):
    newer = wire.Terms(version=10**6, credit=77, calls_max=3)
    before = served.balance(COMPANY)
    assert served.balance(COMPANY, newer).credit == 77
    assert served.balance(COMPANY).credit == before.credit
    older = wire.Terms(version=0, credit=78, calls_max=3)
    assert served.balance(COMPANY, older).credit == before.credit
