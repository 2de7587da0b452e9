"""Postgres is away: calls go on, entries wait in order, and what needs the ledger is refused.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import time

import grpc
import pytest

from support.client import new_company, new_reference, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.load import Load, check_load
from support.processes import release_directory
from support.redis_server import RedisPair
from support.stack import Sidecar
from support.waiting import wait_until

# An entry of a call with a pair of meta, in the stream and all its overhead.
ENTRY_BYTES_MAX = 600


@pytest.fixture
def away(postgres):
    """away(stack): a context in which Postgres is away for it."""
    @contextlib.contextmanager
    def leave(stack):
        if stack.connection is not None:
            stack.connection.close()  # else it is the next statement that finds out
        postgres.shut(stack.database)
        try:
            yield
        finally:
            postgres.open(stack.database)
    return leave


def is_refused(failure, reason):
    return failure.code == grpc.StatusCode.UNAVAILABLE and failure.reason == reason


def in_order(stack):
    """Within a partition entries are committed in the order of their ids."""
    return stack.value("""
        with entry as (select xmin::text::bigint as transaction,
                         string_to_array(entry_id, '-')::bigint[] as id from wallet_transactions)
        select count(*) from (select transaction, lag(transaction) over
          (partition by id[1] order by id) as before from entry) e where transaction < before""") == 0


def test_the_outbox_fills_and_new_calls_wait_but_nothing_that_runs(make_stack, away):
    stack = make_stack(outbox_max=20, partitions=1)
    client = stack.client
    company = client.funded(1_000_000_000, plan_id="enterprise")
    for number in range(30):
        client.authorize(company, f"c{number}", start=True)
    client.authorize(company, "rings")
    stack.wait_until_flushed(company)
    with away(stack):
        for number in range(20):
            client.settle(company, f"c{number}", 60_000)
        assert client.authorize(company, "fits", start=True).decision == pb.DECISION_ALLOWED
        client.settle(company, "c20", 60_000)
        assert is_refused(client.fails("authorize", company, "late"), pb.ERROR_REASON_OUTBOX_FULL)
        # A replay is no new call; and whatever runs is begun, ended, charged.
        assert client.authorize(company, "fits", start=True).decision == pb.DECISION_ALLOWED
        client.start(company, "rings")
        for number in range(21, 30):
            assert client.settle(company, f"c{number}", 60_000).cost_micros > 0
        client.settle(company, "rings", 60_000)
        client.settle(company, "fits", 60_000)
        assert client.balance(company).active_calls == 0
    # It is in the ledger at once, and new calls are let in by the next trim: not when the margin
    # of ten minutes is over.
    stack.wait_until_flushed(company)
    answer = until_answered(lambda: client.authorize(company, "late", timeout=5), timeout=20)
    assert answer.decision == pb.DECISION_ALLOWED
    assert stack.value("select count(*) from usage_logs") == 32
    assert in_order(stack)
    check_invariants(stack)


def test_what_needs_the_ledger_is_refused_and_leaves_nothing_behind(make_stack, away):
    stack = make_stack()
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "known")
    stack.wait_until_flushed(company)
    stranger, reference = new_company(), new_reference()
    with away(stack):
        for method, args, fields in [
                ("credit", (company, 1_000_000, reference), {}),
                ("charge", (company, 1_000, reference), {}),
                ("create_wallet", (stranger,), {}),
                ("get_wallet", (stranger,), {}),
                ("update_wallet", (company,), {"plan_id": "growth"}),
                ("authorize", (stranger, "c"), {}),
                ("settle", (company, "unknown", 1_000), {"resource_type": "voice_outbound"})]:
            failure = client.fails(method, *args, timeout=5, **fields)
            assert is_refused(failure, pb.ERROR_REASON_LEDGER_UNAVAILABLE), (method, failure)
        assert client.balance(company).posted_micros == 10_000_000
    # With the same keys they go through once, and as if for the first time.
    credited = until_answered(lambda: client.credit(company, 1_000_000, reference, timeout=5))
    assert not credited.replayed
    assert client.credit(company, 1_000_000, reference).replayed
    check_invariants(stack)
    assert client.balance(company).posted_micros == 11_000_000


def test_a_committed_settle_that_was_not_answered_is_charged_once(make_stack, away):
    stack = make_stack()
    client = stack.client
    company = client.funded(100_000_000)
    for number in range(8):
        client.authorize(company, f"c{number}", start=True)
    committed = {"durability": pb.DURABILITY_COMMITTED}
    with away(stack):
        for number in range(8):
            begun = time.monotonic()
            failure = client.fails("settle", company, f"c{number}", 60_000, timeout=1, **committed)
            assert failure.code in (grpc.StatusCode.UNAVAILABLE,
                                    grpc.StatusCode.DEADLINE_EXCEEDED), failure
            assert time.monotonic() - begun < 2
        # It is charged all the same, in the store.
        assert client.balance(company).posted_micros == 100_000_000 - 8 * 100_000
    for number in range(8):
        answer = until_answered(
            lambda n=number: client.settle(company, f"c{n}", 60_000, timeout=5, **committed))
        assert answer.replayed and answer.cost_micros == 100_000
    assert stack.value("select count(*) from usage_logs where company_id = %s", [company]) == 8
    check_invariants(stack)


def test_a_sidecar_that_starts_meanwhile_ends_calls_and_begins_none(make_stack, away):
    """It has no terms, so it cannot price and is NOT_SERVING; but the price of a call that is held
    stands in the store."""
    stack = make_stack(sidecars=1)
    company = stack.client.funded(100_000_000)
    for call in ("settled", "started", "stopped", "cancelled"):
        stack.client.authorize(company, call, start=call not in ("started", "cancelled"))
    with away(stack):
        stack.sidecar.kill()
        stack.sidecar.launch()
        client = stack.client
        answer = until_answered(lambda: client.settle(company, "settled", 60_000, timeout=5))
        assert answer.cost_micros == 100_000 and not answer.replayed
        client.start(company, "started")
        client.stop(company, "stopped")
        client.cancel(company, "cancelled")
        assert client.settle(company, "started", 60_000).cost_micros == 100_000
        failure = client.fails("authorize", company, "new", timeout=5)
        assert is_refused(failure, pb.ERROR_REASON_LEDGER_UNAVAILABLE), failure
        assert not client.is_serving()
    stack.sidecar.wait_until_serving()
    client.settle(company, "stopped", 60_000)
    assert until_answered(lambda: client.authorize(company, "new", timeout=5)).state
    check_invariants(stack)
    assert stack.value("select count(*) from usage_logs where company_id = %s", [company]) == 3


def test_a_store_without_its_history_is_not_recovered_meanwhile(make_stack, away):
    """Nobody knows what the ledger has: an outage of both, and nothing is written to the store."""
    stack = make_stack()
    company = stack.client.funded(100_000_000)
    stack.client.authorize(company, "c", start=True)
    stack.wait_until_flushed(company)
    with away(stack):
        stack.sidecar.kill()
        stack.redis.client.flushall()
        stack.sidecar.launch()
        log = stack.sidecar.process
        wait_until(lambda: log.text().count("store connected") >= 4, 20, "both connections stand")
        for _ in range(3):
            failure = stack.client.fails("settle", company, "c", 60_000, timeout=1)
            assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
        assert not stack.redis.client.keys("cg:*")
    stack.sidecar.wait_until_serving()
    check_invariants(stack)


def test_a_sidecar_of_another_deployment_serves_nothing_even_meanwhile(make_stack, away):
    """How many partitions there are is in the store, too."""
    stack = make_stack(partitions=16)
    company = stack.client.funded(100_000_000)
    stack.client.authorize(company, "c", start=True)
    with away(stack):
        other = Sidecar(stack, 7, None, {**stack.settings, "partitions": 8})
        stack.sidecars.append(other)
        other.launch()
        wait_until(lambda: "another deployment" in other.process.text(), 20, "it says so")
        failure = other.client.fails("settle", company, "c", 60_000, timeout=1)
        assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
        other.kill()
    stack.sidecars.remove(other)
    until_answered(lambda: stack.client.settle(company, "c", 60_000, timeout=5))
    check_invariants(stack)


def test_load_goes_on_and_is_booked_in_order(make_stack, away, is_long):
    """Each entry takes little of the store, and afterwards the ledger has all of them, in order."""
    stack = make_stack(directory=release_directory())
    companies = [stack.client.funded(10_000_000_000, plan_id="enterprise") for _ in range(8)]
    load = Load([stack.sidecar.address], companies, 100_000).start()
    wait_until(lambda: load.settled_count() > 100 or load.trouble, 60)
    redis = stack.redis.client
    with away(stack):
        bytes_before = redis.info("memory")["used_memory_dataset"]
        before = load.settled_count()
        wait_until(lambda: load.settled_count() > before + (20_000 if is_long else 2_000)
                   or load.trouble, 300, "load goes on")
        entries = load.settled_count() - before
        grown = redis.info("memory")["used_memory_dataset"] - bytes_before
    assert grown / entries < ENTRY_BYTES_MAX, grown / entries
    assert load.codes["UNAVAILABLE"] == load.codes["DEADLINE_EXCEEDED"] == 0, load.codes
    load.halt()
    load.join()
    check_invariants(stack)
    check_load(stack, load)
    assert in_order(stack)


def test_it_comes_and_goes(make_stack, away):
    """Many short absences: each connection is made again, and nothing is booked twice."""
    stack = make_stack(directory=release_directory())
    companies = [stack.client.funded(10_000_000_000, plan_id="enterprise") for _ in range(8)]
    load = Load([stack.sidecar.address], companies, 100_000).start()
    for _ in range(6):
        goal = load.settled_count() + 60
        with away(stack):
            wait_until(lambda: load.settled_count() > goal or load.trouble, 60)
        booked = stack.value("select count(*) from usage_logs")
        wait_until(lambda: stack.value("select count(*) from usage_logs") > booked, 20,
                   "the flush goes on")
    load.halt()
    load.join()
    check_invariants(stack)
    check_load(stack, load)
    assert in_order(stack)
    # One line per connection and five seconds, whatever happens meanwhile.
    assert sum("ledger connection failed" in line
               for line in stack.sidecar.process.text().splitlines()) < 100


def hellos(server):
    return server.client.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"]


def test_an_older_master_is_not_served_while_postgres_is_away(make_stack, away):
    """It is healthy by itself: it was never told that another one took its place.  That an epoch was
    served since, the sidecar knows from having served it."""
    pair = RedisPair()
    stack = make_stack(redis=pair, partitions=1)
    company = stack.client.funded(100_000_000)
    stack.client.authorize(company, "before", start=True)
    stack.wait_until_flushed(company)
    # Else its money may be what the next one lacks, until the receipt is applied again.
    wait_until(pair.is_in_step, 30, "the replica has everything")
    older = pair.master
    pair.promote()
    older.client.client_kill_filter(_type="normal", skipme=True)
    since = until_answered(lambda: stack.client.authorize(company, "since", start=True, timeout=5), timeout=30)
    assert since.decision == pb.DECISION_ALLOWED, since
    stack.wait_until_flushed(company)
    length, before = older.client.xlen("cg:{p0}:ledger"), hellos(older)
    with away(stack):
        newer = pair.master
        pair.promote()
        newer.client.client_kill_filter(_type="normal", skipme=True)
        # Asked again and again, and found healthy each time.
        wait_until(lambda: hellos(older) >= before + 5, 30, "the older one is asked")
        assert not stack.client.is_serving()
        failure = stack.client.fails("settle", company, "before", 1000, timeout=2)
        assert failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), failure
        assert older.client.xlen("cg:{p0}:ledger") == length
        pair.promote()  # the newer one again
        older.client.client_kill_filter(_type="normal", skipme=True)
        assert until_answered(lambda: stack.client.settle(company, "since", 1000, timeout=5), timeout=30).cost_micros > 0
    stack.wait_until_flushed(company)
    check_invariants(stack)
