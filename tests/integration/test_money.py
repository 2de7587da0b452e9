"""Money that comes in, charges that are no calls, and keys that outlive the store's memory.

SPDX-License-Identifier: Apache-2.0
"""

import grpc
import pytest

from support.client import new_company, new_reference, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until

COMMITTED = pb.DURABILITY_COMMITTED


def test_a_credit_is_an_increment_with_its_row(shared, shared_stack):
    company = shared.funded(0)
    reference = new_reference("flw")
    answer = shared.credit(company, 12_345_678, reference, description="card",
                           durability=COMMITTED)
    assert (answer.balance_micros, answer.available_micros, answer.replayed) == (
        12_345_678, 12_345_678, False)
    (row,) = shared_stack.sql(
        "select callgate.to_micros(amount, 'usd'), amount, type, description, entry_id"
        " from wallet_transactions where company_id = %s and reference_id = %s",
        [company, reference])
    assert (row[0], row[2], row[3], row[4]) == (12_345_678, "top_up", "card", answer.ledger_id)
    assert str(row[1].normalize()) == "1234.5678"  # cents, exact to a micro


@pytest.mark.parametrize("kind", [pb.ENTRY_TYPE_TOP_UP, pb.ENTRY_TYPE_MONTHLY_GRANT,
                                  pb.ENTRY_TYPE_BONUS, pb.ENTRY_TYPE_REFUND,
                                  pb.ENTRY_TYPE_ADJUSTMENT])
def test_a_repeated_credit_is_a_replay(shared, kind):
    company, reference = shared.funded(0), new_reference()
    first = shared.credit(company, 5_000_000, reference, type=kind)
    again = shared.credit(company, 5_000_000, reference, type=kind)
    assert again.replayed and again.ledger_id == first.ledger_id
    assert shared.balance(company).posted_micros == 5_000_000


def test_a_reference_stands_for_one_amount(shared):
    company, reference = shared.funded(0), new_reference()
    shared.credit(company, 5_000_000, reference)
    failure = shared.fails("credit", company, 6_000_000, reference)
    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS,
                                              pb.ERROR_REASON_KEY_REUSED)
    assert shared.balance(company).posted_micros == 5_000_000


def test_the_types_have_keys_of_their_own_and_a_payment_is_one_companys(shared):
    one, other, reference = shared.funded(0), shared.funded(0), new_reference()
    assert not shared.credit(one, 1_000_000, reference).replayed
    assert not shared.credit(one, 1_000_000, reference, type=pb.ENTRY_TYPE_BONUS).replayed
    assert not shared.credit(other, 1_000_000, reference, type=pb.ENTRY_TYPE_BONUS).replayed
    failure = shared.fails("credit", other, 1_000_000, reference)
    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS,
                                              pb.ERROR_REASON_KEY_REUSED)
    assert shared.balance(other).posted_micros == 1_000_000


def test_a_charge_is_never_refused_for_funds_and_in_usage_logs(shared, shared_stack):
    company, reference = shared.funded(1_000_000), new_reference()
    answer = shared.charge(company, 2_500_000, reference, quantity=3, description="May",
                           meta={"number": "+14155550100"}, durability=COMMITTED)
    assert answer.balance_micros == -1_500_000
    again = shared.charge(company, 2_500_000, reference, quantity=3)
    assert again.replayed and again.ledger_id == answer.ledger_id
    failure = shared.fails("charge", company, 2_600_000, reference, quantity=3)
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    (row,) = shared_stack.sql(
        "select resource_type, quantity::bigint, callgate.to_micros(cost, 'usd'), meta->'meta'"
        " from usage_logs where company_id = %s", [company])
    assert row == ("phone_number_rental", 3, 2_500_000, {"number": "+14155550100"})


def test_a_charge_and_a_call_share_their_keys(shared):
    company, reference = shared.funded(10_000_000), new_reference()
    shared.charge(company, 1_000_000, reference)
    assert shared.fails("authorize", company, reference).code == grpc.StatusCode.ALREADY_EXISTS
    failure = shared.fails("settle", company, reference, 1000, resource_type="voice_outbound",
                           destination="+14155550100")
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    shared.authorize(company, "call")
    shared.settle(company, "call", 1000)
    failure = shared.fails("charge", company, 1_000_000, "call")
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    assert shared.balance(company).posted_micros < 9_000_000


def test_committed_means_in_the_ledger(shared, shared_stack):
    company = shared.funded(0)
    for n in range(20):
        shared.credit(company, 1_000, f"{company}-{n}", durability=COMMITTED)
        assert shared_stack.ledger_balance(company) == 1_000 * (n + 1)
        call = f"call-{n}"
        settled = shared.settle(company, call, 1_000, resource_type="voice_outbound",
                                destination="+14155550100", durability=COMMITTED)
        assert shared_stack.value(
            "select count(*) from wallet_transactions where entry_id = %s",
            [settled.ledger_id]) == 1
        shared.credit(company, settled.cost_micros, f"{company}-back-{n}",
                      type=pb.ENTRY_TYPE_ADJUSTMENT, durability=COMMITTED)


def test_committed_when_another_sidecars_flusher_commits(make_stack):
    """One of the two flushes so seldom that only the other one can have done it."""
    stack = make_stack()
    slow = stack.add_sidecar(flush_interval_ms=1000).client
    company = slow.funded(10_000_000)
    for n in range(3):
        slow.authorize(company, f"c{n}")
        settled = slow.settle(company, f"c{n}", 1_000, durability=COMMITTED)
        assert stack.value("select count(*) from wallet_transactions where entry_id = %s",
                           [settled.ledger_id]) == 1
        assert slow.settle(company, f"c{n}", 1_000, durability=COMMITTED).replayed
    check_invariants(stack)


def test_who_ends_flushes_at_once_however_long_entries_gather(make_stack):
    stack = make_stack()
    slow = stack.add_sidecar(flush_interval_ms=1000, drain_ms=600_000)
    company = slow.client.funded(10_000_000)
    slow.client.authorize(company, "c0", start=True)
    slow.client.settle(company, "c0", 1_000, durability=COMMITTED)
    assert stack.sidecar.terminate() == 0
    slow.client.authorize(company, "c1", start=True)
    entry = slow.client.settle(company, "c1", 1_000).ledger_id
    assert slow.terminate(timeout=8) == 0, "it takes ten seconds where it waits for entries to gather"
    assert stack.value("select count(*) from wallet_transactions where entry_id = %s", [entry]) == 1


def test_flushall_after_a_flushed_settle_then_the_same_settle(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "c", start=True)
    first = client.settle(company, "c", 61_001, durability=COMMITTED)
    stack.redis.client.flushall()
    again = until_answered(lambda: client.settle(
        company, "c", 61_001, resource_type="voice_outbound", destination="+14155550100"))
    assert again.replayed
    assert (again.cost_micros, again.ledger_id, again.duration_ms, again.billed_ms) == (
        first.cost_micros, first.ledger_id, 61_001, 62_000)
    assert client.balance(company).posted_micros == 10_000_000 - first.cost_micros
    check_invariants(stack)
    assert stack.value("select count(*) from usage_logs") == 1


def test_flushall_then_the_id_again_as_another_call_is_answered_by_the_ledgers_row(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "c", start=True)
    first = client.settle(company, "c", 30_000, durability=COMMITTED)
    stack.redis.client.flushall()
    until_answered(lambda: client.authorize(company, "c", start=True))
    failure = client.fails("settle", company, "c", 60_000, durability=COMMITTED)
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    assert failure.detail.settled.cost_micros == first.cost_micros
    assert failure.detail.settled.ledger_id == first.ledger_id
    # The second charge was booked as a duplicate, and a receipt takes it back.
    wait_until(lambda: client.balance(company).posted_micros == 10_000_000 - first.cost_micros, 15)
    check_invariants(stack)


def test_flushall_then_the_same_settle_without_resource_and_with_another_duration(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "c", start=True)
    first = client.settle(company, "c", 30_000, durability=COMMITTED)
    stack.redis.client.flushall()
    again = until_answered(lambda: client.settle(company, "c", 30_000))
    assert again.replayed and again.ledger_id == first.ledger_id
    failure = client.fails("settle", company, "c", 31_000)
    assert failure.code == grpc.StatusCode.ALREADY_EXISTS
    assert failure.detail.settled.cost_micros == first.cost_micros
    check_invariants(stack)


def test_flushall_then_the_same_top_up_and_the_same_charge(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(0)
    top_up, rental = new_reference("flw"), new_reference("rent")
    first = client.credit(company, 5_000_000, top_up, durability=COMMITTED)
    charged = client.charge(company, 1_000_000, rental, durability=COMMITTED)
    stack.redis.client.flushall()
    again = until_answered(lambda: client.credit(company, 5_000_000, top_up))
    assert again.replayed and again.ledger_id == first.ledger_id
    again = until_answered(lambda: client.charge(company, 1_000_000, rental))
    assert again.replayed and again.ledger_id == charged.ledger_id
    assert client.balance(company).posted_micros == 4_000_000
    check_invariants(stack)


def test_a_call_that_was_charged_is_not_adopted_after_flushall(make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "c", start=True)
    client.settle(company, "c", 30_000, durability=COMMITTED)
    stack.redis.client.flushall()
    now = until_answered(lambda: client.balance(company)).as_of_ms
    failure = client.fails("adopt", company, "c", now - 30_000)
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION,
                                              pb.ERROR_REASON_WRONG_STATE)
    check_invariants(stack)


def test_a_receipt_that_was_not_applied_is_applied_by_somebody(make_stack):
    """As if a sidecar had died between the receipt and the function."""
    stack = make_stack(receipt_after_ms=100)
    company = stack.client.funded(1_000_000)
    stack.sql("insert into callgate.receipts (company_id, type, reference_id, amount_micros)"
              " values (%s, 'top_up', 'orphaned', 4000000)", [company])
    wait_until(lambda: stack.client.balance(company).posted_micros == 5_000_000, 15,
               "the receipt is applied")
    assert stack.client.credit(company, 4_000_000, "orphaned").replayed
    check_invariants(stack)


def test_a_wallet_loads_from_the_ledger_on_first_use(make_stack):
    stack = make_stack()
    company = new_company()
    stack.client.create_wallet(company)
    stack.client.credit(company, 3_000_000, durability=COMMITTED)
    stack.redis.client.flushall()
    assert until_answered(lambda: stack.client.balance(company)).posted_micros == 3_000_000
    assert until_answered(lambda: stack.client.authorize(company, "c")).decision == pb.DECISION_ALLOWED
    check_invariants(stack)


@pytest.fixture(scope="module", autouse=True)
def invariants_hold_afterwards(shared_stack):
    yield
    check_invariants(shared_stack)
