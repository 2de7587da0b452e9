"""quarantine: what the ledger refuses is listed, booked once it is mended, or stays; never half.

SPDX-License-Identifier: Apache-2.0
"""

import json
import threading
import uuid

import grpc
import pytest

from cli_support import COMPANY, DONE, NOT_FOUND, REFUSED, UNAVAILABLE, USAGE, Run
from support.client import until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.waiting import wait_until
from support.wire import Partition


@pytest.fixture
def stack(make_stack):
    return make_stack(partitions=1)


def told(stack, *line, code=DONE):
    """The JSON of a run that ends with this code."""
    run = Run([*line, "--json"], stack.environment())
    assert run.code == code and run.err == "", run
    return run.json


def aside(stack, company=None):
    return stack.value("select count(*) from callgate.quarantine where kind = 'wallet'"
                       " and (%s::uuid is null or company_id = %s)", [company, company])


def wait_until_aside(stack, count):
    wait_until(lambda: aside(stack) == count, 20, f"{count} entries are in quarantine")


def charge(stack, company, micros=1_000, **fields):
    return stack.client.charge(company, micros, durability=pb.DURABILITY_ACCEPTED, **fields)


def audit_is_clean(stack):
    run = Run(["audit", "--json"], stack.environment())
    assert run.code == DONE, run
    return run.json


def test_nothing_is_there(stack):
    assert told(stack, "quarantine", "list") == {"wallets": []}
    assert told(stack, "quarantine", "retry", "--all") == {"wallets": []}
    one = told(stack, "quarantine", "retry", "--company", COMPANY)
    assert one["wallets"] == [{"company_id": COMPANY, "outcome": "nothing", "applied": 0, "duplicates": 0,
                               "incomplete": 0, "why": None}]
    assert "Nothing is in quarantine" in Run(["quarantine", "list"], stack.environment()).out
    for line in [[], ["--all", "--company", COMPANY]]:
        assert Run(["quarantine", "retry", *line], stack.environment()).code == USAGE


def test_a_balance_changed_by_hand_sets_the_wallet_aside_until_it_is_mended(stack):
    client = stack.client
    company, other = client.funded(10_000_000), client.funded(10_000_000)
    client.authorize(company, "call", start=True)
    stack.wait_until_flushed(company, other)
    stack.sql("update wallets set balance = balance + 1 where company_id = %s", [company])

    charge(stack, company, 2_000, resource_type="phone_number_rental", meta={"city": "Łódź"})
    wait_until_aside(stack, 1)
    refused = client.fails("settle", company, "call", 61_001, durability=pb.DURABILITY_COMMITTED, timeout=3)
    assert refused.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), refused
    wait_until_aside(stack, 2)
    posted = client.balance(company).posted_micros
    assert posted == 10_000_000 - 2_000 - 103_334

    # The others go on.
    client.charge(other, 7, durability=pb.DURABILITY_COMMITTED)

    (wallet,) = told(stack, "quarantine", "list", "--company", company)["wallets"]
    assert wallet["company_id"] == company and wallet["ledger_balance_micros"] == 10_010_000
    assert [(e["kind"], e["version"], e["type"], e["amount_micros"]) for e in wallet["entries"]] == [
        ("wallet", 2, "usage", -2_000), ("wallet", 3, "usage", -103_334)]
    first = wallet["entries"][0]
    assert first["reason"] == "version or balance does not follow from the ledger's" and first["age_ms"] >= 0
    assert first["meta"] == {"city": "Łódź"}
    words = f"entry {first['entry_id']}: -2000 micros do not make 9998000 of 10010000"
    assert wallet["obstacle"] == words
    shown = Run(["quarantine", "list"], stack.environment())
    assert shown.code == DONE and max(map(len, shown.lines())) <= 100, shown
    assert f"Company {company}" in shown.out and "-0.002000 USD" in shown.out
    assert f"retry would say: {words}" in shown.out

    # All or none: nothing has changed where they are refused.
    before = stack.sql("select * from callgate.quarantine order by id")
    answer = told(stack, "quarantine", "retry", "--company", company, code=REFUSED)
    assert answer["wallets"][0]["outcome"] == "refused" and answer["wallets"][0]["why"] == words
    assert stack.sql("select * from callgate.quarantine order by id") == before
    assert f"{company}: {words}" in Run(["quarantine", "retry", "--all"], stack.environment()).out

    stack.sql("update wallets set balance = balance - 1 where company_id = %s", [company])
    assert audit_is_clean(stack)["quarantined_entries"] == 2
    answer = told(stack, "quarantine", "retry", "--all")
    assert answer["wallets"] == [{"company_id": company, "outcome": "applied", "applied": 2, "duplicates": 0,
                                  "incomplete": 0, "why": None}]
    assert aside(stack) == 0

    # The wallet goes on, and what was refused as COMMITTED is so now.
    again = client.settle(company, "call", 61_001, durability=pb.DURABILITY_COMMITTED)
    assert again.replayed and again.cost_micros == 103_334
    client.charge(company, 3, durability=pb.DURABILITY_COMMITTED)
    assert client.balance(company).posted_micros == posted - 3 == stack.ledger_balance(company)
    assert stack.value("select meta->'meta'->>'city' from usage_logs where company_id = %s"
                       " and meta->>'is_charge' = 'true' order by created_at limit 1", [company]) == "Łódź"
    assert stack.sql("select outcome, lost, done_by from callgate.quarantine_log order by id") == [
        ("applied", None, "postgres")] * 2
    check_invariants(stack)
    audit_is_clean(stack)


def test_what_is_in_quarantine_is_not_committed_whatever_the_store_remembers(stack):
    """It is found under its key, by whoever asks the ledger for it: a credit that comes again, everything
    once the store has forgotten."""
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "call", start=True)
    stack.wait_until_flushed(company)
    stack.sql("update wallets set balance = balance + 1 where company_id = %s", [company])

    asks = [lambda **fields: client.settle(company, "call", 61_001, **fields),
            lambda **fields: client.credit(company, 5_000, "payment", **fields),
            lambda **fields: client.charge(company, 7_000, "rental", **fields)]

    def is_refused(ask):
        with pytest.raises(grpc.RpcError) as caught:
            ask(durability=pb.DURABILITY_COMMITTED, timeout=3)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

    for ask in asks:
        is_refused(ask)
    wait_until_aside(stack, 3)
    for ask in asks:
        is_refused(ask)
    stack.redis.client.flushall()
    for ask in asks:
        assert until_answered(lambda a=ask: a(durability=pb.DURABILITY_ACCEPTED, timeout=10), 30).replayed
        is_refused(ask)
    assert aside(stack) == 3

    stack.sql("update wallets set balance = balance - 1 where company_id = %s", [company])
    told(stack, "quarantine", "retry", "--all")
    for ask in asks:
        assert ask(durability=pb.DURABILITY_COMMITTED).replayed
    check_invariants(stack)
    audit_is_clean(stack)


def test_a_wallet_that_is_missing_is_made_again(stack):
    client = stack.client
    company = client.funded(0)
    client.authorize(company, "denied")  # it is loaded
    stack.sql("delete from wallets where company_id = %s", [company])
    store = Partition(stack.redis.client, 0, stack.value("select epoch from callgate.cursors"))
    charge(stack, company)
    store.credit(uuid.UUID(company).bytes, 50_000, "gift", type=3)
    charge(stack, company)
    wait_until_aside(stack, 3)
    answer = told(stack, "quarantine", "retry", "--company", company, code=REFUSED)
    assert answer["wallets"][0]["why"] == "the ledger has no such wallet"

    assert Run(["wallet", "create", "--company", company], stack.environment()).code == DONE
    answer = told(stack, "quarantine", "retry", "--company", company)
    assert answer["wallets"][0]["applied"] == 3
    client.charge(company, 1, durability=pb.DURABILITY_COMMITTED)
    assert stack.ledger_balance(company) == 50_000 - 2_001
    check_invariants(stack)


def test_a_row_refused_bare_is_booked_whole_once_it_may(stack):
    """A rule of somebody else's refuses the row in every form; its texts wait in `raw`."""
    client = stack.client
    company = client.funded(10_000_000)
    client.authorize(company, "call", start=True, meta={"agent": "a7"})
    stack.wait_until_flushed(company)
    stack.sql("alter table wallet_transactions add constraint least check (amount > -5) not valid")
    client.settle(company, "call", 61_001, durability=pb.DURABILITY_ACCEPTED)
    charge(stack, company, 10)
    wait_until_aside(stack, 2)
    (wallet,) = told(stack, "quarantine", "list")["wallets"]
    assert wallet["entries"][0]["reference_id"] == "call" and wallet["entries"][0]["meta"] == {"agent": "a7"}
    assert wallet["obstacle"] is None
    why = told(stack, "quarantine", "retry", "--all", code=REFUSED)["wallets"][0]["why"]
    assert "Postgres refuses them" in why and '"least"' in why and "(23514)" in why
    assert aside(stack) == 2

    stack.sql("alter table wallet_transactions drop constraint least")
    answer = told(stack, "quarantine", "retry", "--all")["wallets"][0]
    assert (answer["applied"], answer["incomplete"]) == (2, 0)
    meta = stack.value("select meta from usage_logs where meta->>'call_id' = 'call'")
    assert meta["meta"] == {"agent": "a7"} and meta["billed_ms"] == 62_000 and "description" not in meta
    assert "reference_id" not in meta
    assert client.settle(company, "call", 61_001, durability=pb.DURABILITY_COMMITTED).replayed
    check_invariants(stack)
    audit_is_clean(stack)


def test_text_that_was_taken_away_is_shown_until_it_is_dismissed(stack):
    company = stack.client.funded(10_000_000)
    stack.wait_until_flushed(company)
    store = Partition(stack.redis.client, 0, stack.value("select epoch from callgate.cursors"))
    store.credit(uuid.UUID(company).bytes, 7, "bad", type=3, description=b"caf\xe9 \x00!")
    stack.client.charge(company, 1, durability=pb.DURABILITY_COMMITTED)
    assert stack.ledger_balance(company) == 10_000_006
    (wallet,) = told(stack, "quarantine", "list")["wallets"]
    (entry,) = wallet["entries"]
    assert (entry["kind"], entry["description"]) == ("payload", "café \ufffd!")
    assert entry["unreadable"] == ("bytes that are no UTF-8, read as Latin-1;"
                                   " U+0000, written as U+FFFD")
    assert wallet["obstacle"] is None
    shown = Run(["quarantine", "list"], stack.environment())
    assert f"{entry['entry_id']} lacks description: café" in shown.out, shown
    assert told(stack, "quarantine", "retry", "--all") == {"wallets": []}

    gone = Run(["quarantine", "dismiss", "0-9-9", "--reason", "x"], stack.environment())
    assert gone.code == NOT_FOUND, gone
    answer = told(stack, "quarantine", "dismiss", entry["entry_id"], "--reason", "told the customer")
    assert answer == {"entry_id": entry["entry_id"], "outcome": "dismissed"}
    assert told(stack, "quarantine", "list") == {"wallets": []}
    (outcome, note, kept), = stack.sql("select outcome, note, entry from callgate.quarantine_log")
    assert (outcome, note) == ("dismissed", "told the customer") and kept["raw"].startswith("\\x")
    check_invariants(stack)


def test_money_is_never_dismissed(stack):
    company = stack.client.funded(0)
    stack.client.authorize(company, "denied")
    stack.sql("delete from wallets where company_id = %s", [company])
    charge(stack, company)
    wait_until_aside(stack, 1)
    entry = stack.value("select entry_id from callgate.quarantine")
    kept = Run(["quarantine", "dismiss", entry, "--reason", "x"], stack.environment())
    assert kept.code == REFUSED and "money that waits" in kept.err, kept
    assert aside(stack) == 1


def by_hand(stack, company, amount):
    """Between two flushes: one that is under way would write the balance that it has compared."""
    stack.sql("""
        with turn as materialized (select partition from callgate.cursors for update)
        update wallets set balance = balance + %s
          from (select count(*) from turn) t where company_id = %s
    """, [amount, company])


def test_retries_race_with_the_flush(stack):
    """A wallet is broken and mended again and again while entries flow: the sums are true."""
    client = stack.client
    company = client.funded(10**9)
    stack.wait_until_flushed(company)
    over = threading.Event()
    retries = []

    def retry():
        while not over.is_set():
            run = Run(["quarantine", "retry", "--company", company, "--json"], stack.environment())
            if run.code == UNAVAILABLE:  # it did not get its turn in time: the same again
                continue
            retries.append((run.code, json.loads(run.out)["wallets"][0]["outcome"]))

    threads = [threading.Thread(target=retry) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(6):
            by_hand(stack, company, 1)
            for n in range(20):
                charge(stack, company, 1 + n)
            wait_until(lambda: aside(stack, company), 20)
            by_hand(stack, company, -1)
            for n in range(20):
                charge(stack, company, 1 + n)
            wait_until(lambda: not aside(stack, company), 20)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    applied = [outcome for _, outcome in retries if outcome == "applied"]
    assert len(applied) >= 6 and {outcome for _, outcome in retries} <= {"applied", "refused", "nothing"}
    check_invariants(stack)
    assert stack.ledger_balance(company) == 10**9 - 6 * 2 * sum(range(1, 21))
    audit_is_clean(stack)
