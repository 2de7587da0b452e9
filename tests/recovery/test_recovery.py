"""The store forgets: a tail, everything, an hour, or by a failover; and parts die in the middle of
taking it into use again.  What was acknowledged is there once, with the same keys sent again.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import contextlib
import json
import signal
import threading
import time

import grpc
import psycopg
import pytest

from support.client import new_reference, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.metrics import Scrape
from support.postgres_server import PostgresServer
from support.redis_server import RedisPair
from support.stack import Stack
from support.waiting import wait_until

COMMITTED = pb.DURABILITY_COMMITTED
TO = {"resource_type": "voice_outbound", "destination": "+14155550100"}


LATE = (grpc.StatusCode.DEADLINE_EXCEEDED,)  # on a busy machine: the same key tells what became of it


class Journal:
    """What was asked and how it was answered; everything can be sent again."""

    def __init__(self, stack, companies=6):
        self.stack = stack
        self.companies = [stack.client.funded(10_000_000_000, plan_id="enterprise") for _ in range(companies)]
        self.lock = threading.Lock()
        self.count = 0
        self.answers = {}  # (method, company, key) -> (arguments, answer), of what must not be lost
        self.accepted = {}  # the same, of what may be

    def name(self):
        with self.lock:
            self.count += 1
            return f"j-{self.count}"

    def ask(self, method, company, key, *args, keep=None, **fields):
        client = self.stack.client
        answer = until_answered(lambda: getattr(client, method)(company, *args, timeout=5, **fields), 60, LATE)
        (self.answers if keep is None else keep)[method, company, key] = (args, fields), answer
        return answer

    def settle(self, company, durability=COMMITTED, begin=True):
        call = self.name()
        if begin:
            self.begin(company, call)
        self.ask("settle", company, call, call, 1000 + 997 * self.count % 60_000, durability=durability, **TO,
                 keep=None if durability == COMMITTED else self.accepted)
        return call

    def begin(self, company, call=None):
        call = call or self.name()
        answer = until_answered(lambda: self.stack.client.authorize(company, call, start=True, timeout=5), 60, LATE)
        assert answer.decision == pb.DECISION_ALLOWED
        return call

    def credit(self, company):
        reference = new_reference()
        self.ask("credit", company, reference, 1_000_000 + self.count, reference, durability=COMMITTED)

    def charge(self, company):
        reference = new_reference("charge")
        self.ask("charge", company, reference, 5_000 + self.count, reference, durability=COMMITTED)

    def live_on(self, rounds):
        """Calls settled now and then, late ones too, credits and charges: all of them committed."""
        def one(number):
            company = self.companies[number % len(self.companies)]
            self.settle(company)
            if number % 3 == 0:
                self.settle(company, begin=False)
                self.credit(company)
            if number % 5 == 0:
                self.charge(company)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(rounds)))

    def send_again(self):
        """Each is answered as it was, from the store or from the ledger."""
        def one(item):
            (method, company, key), ((args, fields), before) = item
            after = until_answered(
                lambda: getattr(self.stack.client, method)(company, *args, timeout=5, **fields), 60, LATE)
            assert after.replayed, (method, key, after)
            assert after.ledger_id == before.ledger_id, (method, key, before, after)
            if method == "settle":
                assert (after.cost_micros, after.billed_ms, after.late, after.state) == \
                    (before.cost_micros, before.billed_ms, before.late, before.state), (key, before, after)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(one, list(self.answers.items())))
        for (method, company, _), ((args, fields), _) in self.accepted.items():
            until_answered(lambda m=method, c=company, a=args, f=fields:
                           getattr(self.stack.client, m)(c, *a, timeout=5, **f), 60, LATE)

    def check(self):
        """The store is used again at once; everything acknowledged is in the ledger once."""
        self.send_again()
        check_invariants(self.stack, timeout=60)
        rows = self.stack.sql("select company_id::text, type, reference_id, entry_id from wallet_transactions")
        in_ledger = {tuple(row[:3]): row[3] for row in rows}
        assert len(in_ledger) == len(rows)
        for (method, company, key), (_, answer) in self.answers.items():
            type = "top_up" if method == "credit" else "usage"
            assert in_ledger[company, type, key] == answer.ledger_id
        for method, company, key in self.accepted:
            assert (company, "usage", key) in in_ledger
        assert not [row for row in rows if row[2].startswith(("dup:", "undo:"))]
        assert not self.stack.sql("select * from callgate.quarantine")


def logged(stack, event):
    """What the sidecars said of it."""
    lines = [line for sidecar in stack.sidecars for line in sidecar.process.text().splitlines() if event in line]
    return [json.loads(line) for line in lines if line.startswith("{")] or lines


REPAIRED = "partition lost entries that the ledger has: repaired"
DROPPED = "partition's history is not the latest"


def test_a_tail_that_was_lost_comes_back_from_the_ledger(make_stack):
    stack = make_stack()
    journal = Journal(stack)
    settled_later = [journal.begin(company) for company in journal.companies]
    live = {journal.begin(company): company for company in journal.companies}
    journal.live_on(10)
    copy = stack.redis.copy_files()
    journal.live_on(40)
    for company, call in zip(journal.companies, settled_later):
        journal.ask("settle", company, call, call, 60_000, durability=COMMITTED, **TO)
    lost = {journal.begin(company): company for company in journal.companies}
    stack.redis.start_from(copy)
    journal.send_again()
    calls = {call.call_id: call for call in until_answered(stack.client.live_calls)}
    assert set(live) <= set(calls), "calls that the store remembered were dropped"
    assert not set(settled_later) & set(calls), "calls that the ledger has still hold funds"
    assert not set(lost) & set(calls)
    for call in settled_later:
        company = journal.companies[settled_later.index(call)]
        assert stack.client.get_call(company, call).state == pb.CALL_STATE_SETTLED
        assert stack.client.authorize(company, call).decision == pb.DECISION_DENIED_BARRED
    assert logged(stack, REPAIRED) and not logged(stack, DROPPED)
    for call, company in live.items():
        journal.ask("settle", company, call, call, 30_000, durability=COMMITTED, **TO)
    journal.live_on(10)
    journal.check()


def test_accepted_settles_that_were_lost_are_charged_once_when_sent_again(make_stack):
    stack = make_stack(flush_interval_ms=1000)
    journal = Journal(stack)
    journal.live_on(5)
    copy = stack.redis.copy_files()
    for company in journal.companies:
        journal.settle(company, durability=pb.DURABILITY_ACCEPTED)
    stack.redis.start_from(copy)
    journal.check()


def test_a_flushed_store_begins_again_from_the_ledger(make_stack):
    stack = make_stack()
    journal = Journal(stack)
    journal.live_on(20)
    live = {journal.begin(company): company for company in journal.companies}
    stack.redis.client.flushall()
    journal.send_again()
    assert not until_answered(stack.client.live_calls)
    now_ms = int(stack.redis.client.time()[0]) * 1000
    for call, company in live.items():
        until_answered(lambda c=call, w=company: stack.client.adopt(w, c, now_ms - 5000))
        journal.ask("settle", company, call, call, 30_000, durability=COMMITTED, **TO)
    journal.live_on(10)
    journal.check()


@pytest.mark.parametrize("appendfsync", ["always"])
def test_a_restart_without_a_loss_drops_and_repairs_nothing(make_stack, appendfsync):
    stack = make_stack(appendfsync=appendfsync)
    journal = Journal(stack)
    live = {journal.begin(company) for company in journal.companies}
    journal.live_on(20)
    stack.redis.restart()
    journal.send_again()
    assert {call.call_id for call in until_answered(stack.client.live_calls)} == live
    assert not logged(stack, REPAIRED) and not logged(stack, DROPPED)
    journal.check()


def test_an_hour_old_snapshot(make_stack):
    """Leases have run out and calls are overdue by then; the ledger is an hour ahead."""
    stack = make_stack(movable_clock=True)
    journal = Journal(stack)
    closed = [journal.begin(company) for company in journal.companies]
    live = {journal.begin(company): company for company in journal.companies}
    ringing = journal.name()
    stack.client.authorize(journal.companies[0], ringing)
    journal.live_on(5)
    copy = stack.redis.copy_files()
    for _ in range(4):
        stack.redis.set_clock_ahead(900_000)
        journal.live_on(50)
    for company, call in zip(journal.companies, closed):
        journal.ask("settle", company, call, call, 3_000_000, durability=COMMITTED, **TO)
    stack.redis.start_from(copy)
    journal.send_again()
    calls = {call.call_id for call in until_answered(stack.client.live_calls)}
    assert set(live) <= calls and not set(closed) & calls and ringing not in calls
    assert logged(stack, REPAIRED) and not logged(stack, DROPPED)
    for call, company in live.items():
        journal.ask("settle", company, call, call, 3_600_000, durability=COMMITTED, **TO)
    journal.live_on(10)
    journal.check()


def test_a_lagging_replica_is_promoted_and_the_old_master_after_it(make_stack, tmp_path):
    """Its run id is what it was, and its history is not the latest."""
    pair = RedisPair()
    metrics = f"unix:{tmp_path}/metrics.sock"
    stack = make_stack(redis=pair, metrics_listen=metrics)
    journal = Journal(stack)
    live = {journal.begin(company): company for company in journal.companies}
    journal.live_on(10)
    pair.fall_behind()
    journal.live_on(30)
    pair.promote()
    pair.replica.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    journal.live_on(20)
    assert logged(stack, REPAIRED) and not logged(stack, DROPPED)
    assert set(live) <= {call.call_id for call in until_answered(stack.client.live_calls)}
    journal.check()
    # Back to the old master as it is: a history that ended before the last one began.
    pair.promote()
    pair.replica.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    journal.live_on(20)
    assert logged(stack, DROPPED)
    assert Scrape(metrics)["callgate_orphaned_entries_total"] >= stack.value(
        "select count(*) from callgate.orphans") > 0
    journal.check()
    # And as a replica that has heard everything: the same run id, the latest history.
    pair.follow()
    drops = len(logged(stack, DROPPED))
    live = {journal.begin(company) for company in journal.companies}
    wait_until(pair.is_in_step, 20, "the replica has everything")
    pair.promote()
    pair.replica.client.execute_command("REPLICAOF", "127.0.0.1", str(pair.master.port))
    journal.live_on(20)
    assert len(logged(stack, DROPPED)) == drops
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    journal.check()


class Held:
    """A table that nobody can read or write meanwhile: whoever needs it waits in the middle."""

    def __init__(self, stack, table):
        self.stack, self.table = stack, table

    def __enter__(self):
        self.connection = psycopg.connect(self.stack.url)
        self.connection.execute(f"lock table {self.table} in access exclusive mode")
        return self

    def wait_until_met(self):
        wait_until(lambda: self.stack.value(
            "select count(*) from pg_locks where not granted and relation = %s::regclass", [self.table]) > 0,
            20, f"somebody waits for {self.table}")

    def __exit__(self, *_):
        self.connection.close()


def lose_a_tail(journal):
    journal.live_on(10)
    copy = journal.stack.redis.copy_files()
    journal.live_on(30)
    return copy


# The pages of the tail are read from usage_logs; what a recovery came to is noted in callgate.served.
@pytest.mark.parametrize("table", ["usage_logs", "callgate.served"])
def test_kill_9_of_the_sidecar_in_the_middle_of_a_recovery(make_stack, table):
    stack = make_stack()
    journal = Journal(stack)
    live = {journal.begin(company) for company in journal.companies}
    copy = lose_a_tail(journal)
    with Held(stack, table) as held:
        stack.redis.start_from(copy)
        held.wait_until_met()
        stack.sidecar.kill()
    stack.sidecar.start()
    journal.send_again()
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    assert not logged(stack, DROPPED)
    journal.live_on(10)
    journal.check()


@pytest.mark.parametrize("table", ["usage_logs", "callgate.served"])
def test_kill_9_of_postgres_in_the_middle_of_a_recovery(postgres, make_stack, table):
    stack = make_stack()
    journal = Journal(stack)
    live = {journal.begin(company) for company in journal.companies}
    copy = lose_a_tail(journal)
    held = Held(stack, table).__enter__()
    stack.redis.start_from(copy)
    held.wait_until_met()
    stack.connection.close()
    postgres.kill()
    postgres.start()
    journal.send_again()
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    assert not logged(stack, DROPPED)
    journal.live_on(10)
    journal.check()


def test_the_store_falls_back_again_in_the_middle_of_a_recovery(make_stack):
    stack = make_stack()
    journal = Journal(stack)
    copy = lose_a_tail(journal)
    with Held(stack, "usage_logs") as held:
        stack.redis.start_from(copy)
        held.wait_until_met()
        stack.redis.start_from(copy)
    journal.live_on(10)
    stack.redis.start_from(copy)  # of before the recovery by now: the beginning of what came of it
    journal.live_on(10)
    assert len(logged(stack, REPAIRED)) > 1 and not logged(stack, DROPPED)
    journal.check()


def test_sidecars_that_recover_at_once_agree(make_stack):
    stack = make_stack(sidecars=3)
    journal = Journal(stack)
    live = {journal.begin(company) for company in journal.companies}
    copy = lose_a_tail(journal)
    stack.redis.start_from(copy)
    journal.send_again()
    for sidecar in stack.sidecars:
        sidecar.wait_until_serving()
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    assert not logged(stack, DROPPED)
    journal.live_on(10)
    journal.check()


def test_partitions_are_recovered_one_by_one_while_others_serve(make_stack):
    """One is held up in its recovery; the calls of all others go on."""
    stack = make_stack()
    journal = Journal(stack, companies=24)
    journal.live_on(24)
    partition = int(next(iter(journal.answers.values()))[1].ledger_id.split("-")[0])
    own = {company for (_, company, _), (_, answer) in journal.answers.items()
           if answer.ledger_id.startswith(f"{partition}-")}
    with psycopg.connect(stack.url) as held:
        held.execute("select from callgate.cursors where partition = %s for update", [partition])
        stack.redis.restart()
        for company in set(journal.companies) - own:
            call = journal.begin(company)
            until_answered(lambda w=company, c=call: stack.client.settle(w, c, 1000), timeout=20)
        for company in own:
            failure = stack.client.fails("authorize", company, "held-up", timeout=2)
            assert failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), failure
    journal.check()


@contextlib.contextmanager
def nothing_flushed(stack):
    """What is accepted meanwhile waits in the store; recoveries go on."""
    function = stack.value("select 'callgate.flush'::regproc::oid::regprocedure::text")
    stack.sql(f"revoke execute on function {function} from callgate_sidecar")
    try:
        yield
    finally:
        stack.sql(f"grant execute on function {function} to callgate_sidecar")


def recover(stack, copy=None):
    """Every partition is in use again after a restart; `copy`: from those files."""
    before = dict(stack.sql("select partition, epoch from callgate.cursors"))
    if copy:
        stack.redis.start_from(copy)
    else:
        stack.redis.restart()
    wait_until(lambda: all(served == epoch > before[partition] for partition, epoch, served in stack.sql(
        "select partition, epoch, served from callgate.cursors")), 30, "the recovery is noted in the ledger")
    stack.sidecar.wait_until_serving()


def check_flushed_as_they_were(stack, journal):
    """What was accepted is booked by the entry that the caller was told, without being sent again."""
    stack.wait_until_flushed(*journal.companies)
    rows = dict(stack.sql("select reference_id, entry_id from wallet_transactions where type = 'usage'"))
    for (_, _, call), (_, answer) in journal.accepted.items():
        assert rows.get(call) == answer.ledger_id, (call, answer)
    assert not logged(stack, DROPPED) and not stack.sql("select entry_id from callgate.orphans")


def leave_waiting(stack, journal):
    """While nothing is flushed: settles that are accepted, and calls that run on; those calls, and
    the store's files as they are then."""
    for company in journal.companies:
        journal.settle(company, durability=pb.DURABILITY_ACCEPTED)
    live = {journal.begin(company) for company in journal.companies}
    return live, stack.redis.copy_files()


@pytest.mark.parametrize("times", [1, 2])
def test_what_waits_for_the_ledger_outlives_the_loss_of_a_whole_recovery(make_stack, times):
    """The tail that is lost takes the recovery's fence and its last step with it: what is left is the
    beginning of what was recovered then, not another history."""
    stack = make_stack(appendfsync="always")
    journal = Journal(stack)
    journal.live_on(10)
    stack.wait_until_flushed(*journal.companies)
    with nothing_flushed(stack):
        live, copy = leave_waiting(stack, journal)
        for _ in range(times):
            recover(stack)
        recover(stack, copy)
    check_flushed_as_they_were(stack, journal)
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    journal.live_on(10)
    journal.check()


def test_the_store_falls_back_behind_a_recovery_and_what_was_flushed_since(make_stack):
    """Some of it under the epoch before, which waited while the recovery went on."""
    stack = make_stack(appendfsync="always")
    journal = Journal(stack)
    journal.live_on(10)
    stack.wait_until_flushed(*journal.companies)
    with nothing_flushed(stack):
        live, copy = leave_waiting(stack, journal)
        for company in journal.companies:
            journal.settle(company, durability=pb.DURABILITY_ACCEPTED)
        recover(stack)
    journal.live_on(20)
    recover(stack, copy)
    journal.answers.update(journal.accepted)  # by now they are as good as committed
    journal.send_again()
    check_flushed_as_they_were(stack, journal)
    assert logged(stack, REPAIRED)
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    journal.check()


@pytest.fixture
def own_stack(request):
    """With a Postgres of its own, whose files can be put back."""
    server = PostgresServer()
    stack = None
    try:
        server.start()
        server.make_template()
        stack = Stack(server, trim_margin_ms=request.param).start()
        request.node.stacks = [stack]
        yield stack
        complaints = stack.stop()
        assert not complaints, "\n".join(complaints)
    finally:
        server.stop()


WENT_BACK = "the ledger went back behind what the store has trimmed"


@pytest.mark.parametrize("own_stack", [600_000], indirect=True)
@pytest.mark.parametrize("recovers", [False, True])
def test_a_ledger_that_went_back_is_caught_up_with_from_the_stream(own_stack, recovers):
    """As after a failover of Postgres to a standby that lagged: the cursor is further back under
    the same epoch, or its epoch is one that the store has left behind.  What is kept replays."""
    stack = own_stack
    journal = Journal(stack)
    journal.live_on(10)
    stack.wait_until_flushed(*journal.companies)
    stack.connection.close()
    copy = stack.postgres.copy_data()
    before = dict(stack.sql("select partition, epoch from callgate.cursors"))
    if recovers:
        stack.redis.restart()
    journal.live_on(20)
    live = {journal.begin(company) for company in journal.companies}
    stack.connection.close()
    stack.postgres.start_from(copy)
    journal.live_on(5)

    def all_have_gone_on():
        after = dict(stack.sql("select partition, epoch from callgate.cursors"))
        assert all(after[n] >= before[n] + (2 if recovers else 0) for n in before), (before, after)
        return True
    # Partitions are recovered one by one, also those that nobody asks anything of.
    wait_until(all_have_gone_on, 30, "every partition is served again")
    # An epoch is in the ledger before its partition is served; until then it answers UNAVAILABLE.
    assert live <= {call.call_id for call in until_answered(stack.client.live_calls)}
    assert not logged(stack, DROPPED) and not logged(stack, WENT_BACK)
    journal.check()


@pytest.mark.parametrize("own_stack", [0], indirect=True)
@pytest.mark.parametrize("recovers", [False, True])
def test_a_ledger_that_lacks_what_was_trimmed_stops_the_partition(own_stack, recovers):
    """Entries are never skipped: an operator decides.  Here by bringing the other ledger back."""
    stack = own_stack
    journal = Journal(stack, companies=1)
    company, = journal.companies
    stack.wait_until_flushed(company)
    stack.connection.close()
    copy = stack.postgres.copy_data()
    if recovers:
        stack.redis.restart()
    journal.live_on(10)
    partition = next(iter(journal.answers.values()))[1].ledger_id.split("-")[0]
    stream = "cg:{p%s}:ledger" % partition
    wait_until(lambda: stack.redis.client.xlen(stream) == 0, 30, "everything is trimmed")
    stack.connection.close()
    newest = stack.postgres.copy_data()
    stack.postgres.start_from(copy)
    wait_until(lambda: logged(stack, WENT_BACK), 30, "the alarm")
    failure = stack.client.fails("authorize", company, "refused")
    assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
    assert stack.value("select count(*) from callgate.quarantine") == 0
    stack.connection.close()
    stack.postgres.start_from(newest)
    journal.live_on(10)
    journal.check()


@pytest.fixture
def pair():
    """Two sidecars and a Postgres of their own, whose files can be put back; entries are kept for 12 s."""
    server = PostgresServer()
    stack = None
    try:
        server.start()
        server.make_template()
        stack = Stack(server, sidecars=2, partitions=1, trim_margin_ms=12_000).start()
        yield stack
    finally:
        complaints = stack.stop() if stack is not None else []
        server.stop()
        assert not complaints, "\n".join(complaints)


def test_what_another_sidecar_applied_again_is_not_trimmed_by_when_it_was_passed_first(pair):
    """One sidecar sleeps while a standby takes over and the other one applies again what it lacks:
    it finds the cursor where it was, and must not believe that this ledger had it all the time."""
    sleeper, other = pair.sidecars
    company = pair.client.funded(10**9)
    pair.wait_until_flushed(company)
    pair.connection.close()
    copy = pair.postgres.copy_data()
    entry = until_answered(lambda: pair.client.charge(company, 5, "lost", timeout=5)).ledger_id
    pair.wait_until_flushed(company)
    passed_at = time.monotonic()
    wait_until(lambda: time.monotonic() > passed_at + 9, 20, "most of the margin goes by")
    sleeper.process.signal(signal.SIGSTOP)
    pair.connection.close()
    again_from = time.monotonic()
    pair.postgres.start_from(copy)
    wait_until(lambda: pair.value("select count(*) from wallet_transactions where entry_id = %s", [entry]) == 1, 30,
               "it is applied again")
    sleeper.process.signal(signal.SIGCONT)
    first = entry.split("-", 1)[1]
    wait_until(lambda: not pair.redis.client.xrange("cg:{p0}:ledger", first, first), 60, "it is trimmed at last")
    assert time.monotonic() - again_from >= 12
    until_answered(lambda: pair.client.charge(company, 5, timeout=5))
    check_invariants(pair)
