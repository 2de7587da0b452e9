"""Entries that Postgres will not have: found, set aside in order, in nobody's way.

They are written as the function library would, past the sidecar's checks.

SPDX-License-Identifier: Apache-2.0
"""

import uuid

import pytest

from support.client import until_answered
from support.contract import pb
from support.invariants import check_invariants, wait_until_drained
from support.waiting import wait_until
from support.wire import Partition

PLENTY = 1_000_000_000


@pytest.fixture
def poisoned(make_stack):
    """A stack with one partition, and the same partition as the library sees it."""
    stack = make_stack(partitions=1, flush_interval_ms=300)  # several entries per batch
    epoch = stack.value("select epoch from callgate.cursors")
    return stack, Partition(stack.redis.client, number=0, epoch=epoch, count=1)


def rows(stack, company):
    return stack.sql("select reference_id, callgate.to_micros(amount, 'usd'), description"
                     " from wallet_transactions where company_id = %s order by version", [company])


def quarantine(stack):
    return stack.sql("select kind, version, reason from callgate.quarantine order by id")


def test_a_payload_that_text_cannot_hold_goes_aside_and_its_money_through(poisoned):
    """Bytes that are no UTF-8, a NUL, in the description: the entry is booked without it."""
    stack, partition = poisoned
    company, neighbour = stack.client.funded(PLENTY), stack.client.funded(PLENTY)
    stack.wait_until_flushed(company, neighbour)
    wallet = uuid.UUID(company).bytes
    for number, description in enumerate([b"fine", b"\xff\xfe", b"a\0b", b"fine too"]):
        assert partition.credit(wallet, 1000 + number, f"r{number}", type=3, description=description
                                ).outcome == "DONE"
        stack.client.charge(neighbour, 10 + number, f"n{number}")
    wait_until_drained(stack)
    assert [row[:2] for row in rows(stack, company)[1:]] == [(f"r{n}", 1000 + n) for n in range(4)]
    assert [row[2] for row in rows(stack, company)[1:]] == ["fine", None, None, "fine too"]
    assert [row[0] for row in quarantine(stack)] == ["payload", "payload"]
    assert [row[0] for row in stack.sql("select raw is not null from callgate.quarantine")] == [True, True]
    assert len(rows(stack, neighbour)) == 5
    check_invariants(stack, quarantine=[row[2] for row in quarantine(stack)])


def test_an_entry_that_is_refused_bare_sets_its_wallet_aside_in_order(poisoned):
    """Its reference is one that Postgres refuses in every form: this and all later entries of the
    wallet wait in quarantine, in order; the other wallets go on; the store goes on too."""
    stack, partition = poisoned
    client = stack.client
    company, neighbour = client.funded(PLENTY), client.funded(PLENTY)
    stack.wait_until_flushed(company, neighbour)
    # A trigger of the operator's own, of the kind that refuses a row and no other.
    stack.sql("""create function refuse() returns trigger language plpgsql as $$ begin
        if new.reference_id = 'poison' then raise exception 'not this one' using errcode = '23514'; end if;
        return new; end $$""")
    stack.sql("create trigger refuse before insert on wallet_transactions"
              " for each row execute function refuse()")
    for number, reference in enumerate(["before", "poison", "behind-1", "behind-2"]):
        client.charge(company, 100 + number, reference)
        client.charge(neighbour, 10 + number, f"n{number}")
    wait_until(lambda: len(quarantine(stack)) == 3 and len(rows(stack, neighbour)) == 5, 30)
    assert [row[0] for row in rows(stack, company)[1:]] == ["before"]
    assert [(kind, version) for kind, version, _ in quarantine(stack)] == [
        ("wallet", 3), ("wallet", 4), ("wallet", 5)]
    assert client.balance(company).posted_micros == PLENTY - 406
    # Repeats are answered from what is aside, also where the store has forgotten it.
    failed = client.fails("charge", company, 101, "poison", timeout=2,
                          durability=pb.DURABILITY_COMMITTED)
    assert failed.code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    stack.redis.client.flushall()
    again = until_answered(lambda: client.charge(company, 102, "behind-1"))
    assert again.replayed
    assert client.balance(company).posted_micros == PLENTY - 406
    assert len(quarantine(stack)) == 3


def test_an_entry_under_a_key_that_the_ledger_has_is_booked_and_taken_back(poisoned):
    """The library is told that the key was asked for, as by a caller that lies."""
    stack, partition = poisoned
    company = stack.client.funded(PLENTY)
    reference = "twice"
    stack.client.charge(company, 500, reference, durability=pb.DURABILITY_COMMITTED)
    stack.redis.client.flushall()
    until_answered(lambda: stack.client.charge(company, 7, "wakes-the-partition"))
    epoch = stack.value("select epoch from callgate.cursors")
    lying = Partition(stack.redis.client, number=0, epoch=epoch, count=1)
    assert lying.charge(uuid.UUID(company).bytes, 500, reference).outcome == "DONE"
    wait_until(lambda: sum(row[0].startswith(("dup:", "undo:"))
                           for row in rows(stack, company)) == 2, 20)
    wait_until_drained(stack)
    assert stack.ledger_balance(company) == PLENTY - 507
    check_invariants(stack)
