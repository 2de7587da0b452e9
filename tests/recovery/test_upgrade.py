"""Sidecars of two versions on one store and one ledger: each loads the function library of its own.

callgated-next is callgated with the library's next version.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from support.client import new_reference, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.load import Load, companies_of, finish, settled
from support.watcher import Watcher

NEXT = "callgated-next"
ORDERED = (pb.EVENT_TYPE_CALL_AUTHORIZED, pb.EVENT_TYPE_CALL_SETTLED, pb.EVENT_TYPE_CREDITED)


@pytest.fixture
def mixed(make_stack):
    """This version's sidecar, and beside it the next one's."""
    def make(**settings):
        stack = make_stack(**settings)
        stack.add_sidecar(executable=NEXT)
        return stack
    return make


def libraries(stack):
    """The names of those that the store has loaded."""
    listed = stack.redis.client.execute_command("FUNCTION", "LIST")
    return sorted(dict(zip(library[::2], library[1::2]))[b"library_name"].decode()
                  for library in listed)


def load_of(stack, **options):
    # Who goes on asking a sidecar that ends, although it said UNAVAILABLE, may at last hear
    # CANCELLED from gRPC itself: of a request that came too late to be taken.
    return Load([sidecar.address for sidecar in stack.sidecars], companies_of(stack.client), 100_000,
                alternates=True, also_retried=(grpc.StatusCode.CANCELLED,), **options).start()


def finish_mixed(stack, load):
    """The same, also where a sidecar's end was part of it."""
    load.halt()
    load.join()
    for sidecar in stack.sidecars:
        if not sidecar.process.is_alive():
            sidecar.start()
    finish(stack, load)


def test_each_version_keeps_its_library(mixed):
    """Had they one name, each connection would replace the other's, and its marks be lost."""
    stack = mixed()
    names = libraries(stack)
    assert len(names) == 2 and len(set(names)) == 2
    load = load_of(stack)
    settled(load)
    finish_mixed(stack, load)
    assert libraries(stack) == names
    for sidecar in stack.sidecars:
        assert "replaced" not in sidecar.process.text()


@pytest.mark.parametrize("durability", [pb.DURABILITY_ACCEPTED, pb.DURABILITY_COMMITTED])
def test_rolled_out_and_back_under_load(mixed, durability):
    """Whatever one version authorizes or starts the other settles, and either may be the one left."""
    stack = mixed()
    older, newer = stack.sidecars
    load = load_of(stack, durability=durability)
    settled(load)
    older.kill()  # rolled out
    settled(load)
    older.start()  # and back
    settled(load)
    newer.terminate()
    settled(load)
    newer.start()
    settled(load)
    finish_mixed(stack, load)


@pytest.mark.parametrize("survivor", [0, 1])
def test_a_recovery_by_either_version(mixed, survivor):
    """A Redis that restarts is recovered by the one that is there; the other says hello to that."""
    stack = mixed(appendfsync="always")
    other = stack.sidecars[1 - survivor]
    load = load_of(stack)
    settled(load)
    other.kill()
    stack.redis.restart()
    settled(load)
    other.start()
    settled(load)
    finish_mixed(stack, load)


def test_a_flushed_store_under_two_versions(mixed):
    """With everything COMMITTED nothing is lost, and whoever recovers, both go on."""
    stack = mixed()
    client = stack.client
    companies = companies_of(client, 4)
    for number, company in enumerate(companies):
        sidecar = stack.sidecars[number % 2].client
        sidecar.authorize(company, "before", start=True)
        sidecar.settle(company, "before", 60_000, durability=pb.DURABILITY_COMMITTED)
    stack.redis.client.flushall()
    for number, company in enumerate(companies):
        here, there = (stack.sidecars[(number + n) % 2].client for n in (0, 1))
        until_answered(lambda: here.authorize(company, "after", start=True, timeout=5))
        until_answered(lambda: there.settle(company, "after", 60_000, timeout=5,
                                            durability=pb.DURABILITY_COMMITTED))
        again = until_answered(lambda: there.settle(company, "before", 60_000, timeout=5))
        assert again.replayed
    check_invariants(stack)


def test_events_in_order_through_both(mixed):
    """A library that trusted its memory of the streams would put an event of its own before
    entries that the other one wrote in between."""
    stack = mixed(lifecycle_events=1)
    here, there = (sidecar.client for sidecar in stack.sidecars)
    company = here.funded(1_000_000_000, plan_id="enterprise")
    watchers = [Watcher(client, company, types=ORDERED).begin() for client in (here, there)]
    expected = []
    for number in range(6):
        here, there = there, here
        here.authorize(company, f"c{number}", start=True)
        there.settle(company, f"c{number}", 1_000)
        reference = new_reference()
        here.credit(company, 1_000_000, reference, type=pb.ENTRY_TYPE_BONUS)
        there.authorize(company, f"d{number}", start=True)
        there.settle(company, f"d{number}", 1_000)
        expected += [(pb.EVENT_TYPE_CALL_AUTHORIZED, f"c{number}"),
                     (pb.EVENT_TYPE_CALL_SETTLED, f"c{number}"),
                     (pb.EVENT_TYPE_CREDITED, ""),
                     (pb.EVENT_TYPE_CALL_AUTHORIZED, f"d{number}"),
                     (pb.EVENT_TYPE_CALL_SETTLED, f"d{number}")]
    for watcher in watchers:
        seen = watcher.wait_for(len(expected), *ORDERED)
        assert [(event.type, event.call_id) for event in seen] == expected
        watcher.kill()
    # A token of one version's is good at the other's.
    resumed = Watcher(there, company, watchers[0].token, types=ORDERED).begin()
    here.authorize(company, "last")
    assert [event.call_id for event in resumed.wait_for(1, *ORDERED)] == ["last"]
    resumed.kill()
    check_invariants(stack)


def test_the_outbox_limit_counts_what_both_wrote(postgres, mixed):
    stack = mixed(outbox_max=10, partitions=1)
    here, there = (sidecar.client for sidecar in stack.sidecars)
    company = here.funded(1_000_000_000, plan_id="enterprise")
    for client in (here, there):
        client.authorize(company, new_reference("known"))
    for number in range(12):
        here.authorize(company, f"c{number}")
    if stack.connection is not None:
        stack.connection.close()
    postgres.shut(stack.database)
    try:
        for number in range(12):
            there.settle(company, f"c{number}", 1_000)
        for client in (here, there):
            failure = client.fails("authorize", company, new_reference("late"))
            assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
            assert failure.reason == pb.ERROR_REASON_OUTBOX_FULL, failure
    finally:
        postgres.open(stack.database)
    until_answered(lambda: here.authorize(company, "again", timeout=5), timeout=30)
    check_invariants(stack)
