"""callgate.flush(): exactly once, and nothing that does not add up.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import threading
import uuid
from decimal import Decimal

import psycopg
import pytest

from flusher import FLUSH, PARTITION, Entry, Flusher
from support.invariants import MISCORRECTED, UNLOGGED


@pytest.fixture
def flusher(sql):
    return Flusher(sql)


def counts(sql):
    return tuple(sql(f"select count(*) from {table}")[0][0]
                 for table in ("wallet_transactions", "usage_logs", "callgate.keys", "callgate.quarantine"))


def test_entries_land_in_every_table_once(sql, flusher):
    company = flusher.wallet()
    top_up = flusher.entry(company, "top_up", 50_000_000, "pay-1")
    usage = flusher.entry(company, reference="call-1")
    assert flusher.flush(top_up, usage) == ("done", 1, 1, 2, 0, 0)
    assert counts(sql) == (2, 1, 2, 0)
    assert sql("select balance, version from wallets where company_id = %s", company) == [
        (Decimal("4990.7"), 2)]
    assert sql("select amount, type, reference_id, entry_id, balance_after, created_at"
               " from wallet_transactions order by version")[1][:5] == (
        Decimal("-9.3"), "usage", "call-1", usage.id, Decimal("4990.7"))
    assert sql("select callgate.to_ms(created_at) from wallet_transactions order by version") == [
        (top_up.at_ms,), (usage.at_ms,)]
    assert sql("select quantity, cost, meta ->> 'call_id' from usage_logs") == [
        (Decimal("1.033333333333"), Decimal("9.3"), "call-1")]


def test_the_quantity_of_a_charge_is_its_own(sql, flusher):
    company = flusher.wallet()
    entry = flusher.entry(company, reference="rent", resource="phone_number_rental", quantity=3, is_charge=True)
    flusher.flush(entry)
    assert sql("select resource_type, quantity from usage_logs") == [("phone_number_rental", 3)]


@pytest.mark.parametrize("epoch, last, trimmed, outcome", [
    (2, (0, 0), (0, 0), "fenced"),
    (0, (0, 0), (0, 0), "fenced"),
    (1, (0, 5), (0, 0), "moved"),
    (1, (0, 0), (1, 1), "trimmed"),
])
def test_a_flusher_that_is_wrong_changes_nothing(sql, flusher, epoch, last, trimmed, outcome):
    company = flusher.wallet()
    entry = flusher.entry(company)
    flusher.epoch, flusher.last = epoch, last
    assert flusher.flush(entry, trimmed=trimmed)[:4] == (outcome, 1, 0, 0)
    assert counts(sql) == (0, 0, 0, 0)


def test_without_a_cursor_nothing_is_flushed(sql, flusher):
    entry = flusher.entry(flusher.wallet())
    sql("delete from callgate.cursors")
    assert flusher.flush(entry)[0] == "no_cursor"


def test_two_flushers_with_one_batch(sql, flusher, postgres, database):
    company = flusher.wallet()
    entry = flusher.entry(company)
    outcomes = []
    barrier = threading.Barrier(2)
    columns = [[value] for value in vars(entry).values()]

    def flush():
        with psycopg.connect(postgres.url(database), autocommit=True) as connection:
            barrier.wait()
            outcomes.append(connection.execute(
                FLUSH, (PARTITION, 1, 0, 0, 0, 0, 0, *columns, None, None)).fetchone()[0])

    threads = [threading.Thread(target=flush) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["done", "moved"]
    assert counts(sql) == (1, 1, 1, 0)


@pytest.mark.parametrize("wrong", [{"version": 4}, {"version": 1}, {"balance": -1}])
def test_what_does_not_follow_sets_its_wallet_aside_and_no_other(sql, flusher, wrong):
    bad, good = flusher.wallet(), flusher.wallet()
    entries = [flusher.entry(bad), flusher.entry(good), flusher.entry(bad), flusher.entry(bad)]
    for name, value in wrong.items():
        setattr(entries[2], name, value)
    assert flusher.flush(*entries) == ("done", 1, 1, 4, 2, 0)
    assert counts(sql) == (2, 2, 2, 2)
    # Once aside, always aside, also where the next entry would follow by itself.
    flusher.books[bad] = (1, -93000)
    assert flusher.flush(flusher.entry(bad), flusher.entry(good))[4] == 1
    assert [row[0] for row in sql("select entry_id from callgate.quarantine order by id")] == [
        entries[2].id, entries[3].id, "3-1-5"]
    assert sql("select version from wallets where company_id = %s", good) == [(2,)]
    assert sql("select version from wallets where company_id = %s", bad) == [(1,)]


def test_a_wallet_in_quarantine_is_read_as_the_store_has_it(sql, flusher):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company))
    flusher.books[company] = (5, -500000)
    entry = flusher.entry(company, reference="later")
    flusher.flush(entry)
    assert sql("select posted_micros, version from callgate.wallet_read(%s)", company) == [(-593000, 6)]
    assert sql("select entry_id from callgate.key_read(%s, 'usage', 'later')", company) == [(entry.id,)]


def test_an_entry_of_an_unknown_wallet_is_set_aside(sql, flusher):
    company = uuid.uuid4()
    flusher.books[company] = (0, 0)
    assert flusher.flush(flusher.entry(company), flusher.entry(flusher.wallet()))[4] == 1
    assert counts(sql) == (1, 1, 1, 1)


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_second_entry_under_a_key_is_booked_and_taken_back(sql, flusher, in_one_batch):
    company = flusher.wallet()
    first, second = flusher.entry(company, reference="call-1"), flusher.entry(company, reference="call-1")
    third = flusher.entry(company, reference="call-2")
    if in_one_batch:
        assert flusher.flush(first, second, third)[4:] == (0, 1)
    else:
        flusher.flush(first)
        assert flusher.flush(second, third)[4:] == (0, 1)
    assert sql("select type, reference_id from wallet_transactions order by version") == [
        ("usage", "call-1"), ("adjustment", f"dup:{second.id}"), ("usage", "call-2")]
    assert sql("select type, reference_id, amount_micros, entry_id from callgate.receipts") == [
        ("adjustment", f"undo:{second.id}", 93000, None)]
    undo = flusher.entry(company, "adjustment", 93000, f"undo:{second.id}")
    assert flusher.flush(undo)[4:] == (0, 0)
    assert sql("select entry_id from callgate.receipts") == [(undo.id,)]
    assert sql("select balance from wallets where company_id = %s", company) == [(Decimal("-18.6"),)]
    assert counts(sql)[1] == 2


def test_the_chain_is_what_it_says(sql, flusher):
    company, other = flusher.wallet(), flusher.wallet("jpy")
    entries = [flusher.entry(company, description="with | bars"), flusher.entry(other), flusher.entry(company),
               flusher.entry(company, "refund", 7, "ä|b")]
    flusher.flush(*entries[:2])
    flusher.flush(*entries[2:])
    before = b""
    for entry in (entries[0], entries[2], entries[3]):
        reference = entry.reference.encode()
        content = "|".join(map(str, (entry.id, entry.company, entry.version, entry.type, entry.amount,
                                     entry.balance, entry.at_ms, len(reference), entry.reference,
                                     entry.description))).encode()
        before = hashlib.sha256(before + content).digest()
        assert sql("select hash from wallet_transactions where entry_id = %s", entry.id) == [(before,)]
    assert sql("select chain_hash from wallets where company_id = %s", company) == [(before,)]


def test_ids_out_of_order_are_refused(flusher):
    company = flusher.wallet()
    first, second = flusher.entry(company), flusher.entry(company)
    first.n, second.n = second.n, first.n
    with pytest.raises(psycopg.errors.InternalError_):
        flusher.flush(first, second)


def test_a_payload_that_is_refused_goes_to_quarantine_alone(sql, flusher):
    company = flusher.wallet()
    entry = flusher.entry(company, meta=None)
    assert flusher.flush(entry, mode=1, raw=b"\xff", reason="refused")[4:] == (0, 0)
    assert sql("select kind, raw from callgate.quarantine") == [("payload", b"\xff")]
    assert flusher.flush(flusher.entry(company))[4] == 0
    assert flusher.flush(flusher.entry(company), mode=2, raw=b"\xff", reason="refused")[4] == 1
    assert flusher.flush(flusher.entry(company))[4] == 1


def test_other_currencies_have_other_units(sql, flusher):
    for currency, units in (("jpy", "-0.093"), ("kwd", "-93"), ("clf", "-930"), ("ngn", "-9.3")):
        company = flusher.wallet(currency)
        flusher.flush(flusher.entry(company))
        assert sql("select balance from wallets where company_id = %s", company) == [(Decimal(units),)]


def test_a_receipt_is_applied_by_its_entry(sql, flusher):
    company = flusher.wallet()
    write = "select callgate.receipt_write(%s, 'top_up', %s, %s, 'x', 'me')"
    assert sql(write, company, 100, "pay-1") == [("written",)]
    assert sql(write, company, 100, "pay-1") == [("replayed",)]
    assert sql(write, company, 101, "pay-1") == [("key_reused",)]
    assert sql(write, flusher.wallet(), 100, "pay-1") == [("key_reused",)]
    assert sql(write, uuid.uuid4(), 100, "pay-2") == [("no_wallet",)]
    assert sql(write, company, 8 * 10**15 - 100, "pay-3") == [("written",)]
    assert sql(write, company, 1, "pay-4") == [("out_of_range",)]
    due = "select reference_id from callgate.receipts_due(0, 0, 10)"
    assert sql(due) == [("pay-1",), ("pay-3",)]
    flusher.flush(flusher.entry(company, "top_up", 100, "pay-1"))
    assert sql(due) == [("pay-3",)]
    assert sql(write, company, 100, "pay-1") == [("posted",)]


def test_a_key_is_read_with_what_the_caller_said(sql, flusher):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company, reference="call-1"),
                  flusher.correction(company, "call-1", -7, 0, 62000))
    (row,) = sql("select amount_micros, at_ms, pairs, corrected_micros, meta ->> 'billed_ms'"
                 " from callgate.key_read(%s, 'usage', 'call-1')", company)
    city = "Łódź".encode()
    assert row == (-93000, 1787300000124,
                   b"\x01k\x00\x00" + b"\x04city" + bytes([len(city), 0]) + city, -7, "62000") or \
        row[2] == b"\x04city" + bytes([len(city), 0]) + city + b"\x01k\x00\x00"
    assert sql("select * from callgate.key_read(%s, 'usage', 'call-2')", company) == []


def test_a_correction_is_logged_with_the_difference(sql, flusher):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company, reference="call-1"))
    assert flusher.flush(flusher.correction(company, "call-1", 31500, -21000, 41000))[4:] == (0, 0)
    assert counts(sql) == (2, 2, 2, 0)
    assert sql("select quantity, cost from usage_logs order by created_at")[1] == (Decimal("-0.35"), Decimal("-3.15"))
    assert sql("select sum(quantity), sum(cost) from usage_logs") == [(Decimal("0.683333333333"), Decimal("6.15"))]
    # Once more, of a history that was lost: booked, taken back, and not logged.
    assert flusher.flush(flusher.correction(company, "call-1", 31500, -21000, 41000))[4:] == (0, 1)
    assert counts(sql) == (3, 2, 3, 0)


@pytest.fixture
def any_correction(sql):
    """A flush that books corrections of whatever: otherwise it takes them back."""
    sql("create or replace function callgate.corrects(p_charge jsonb, p_correction jsonb, p_quantity bigint)"
        " returns boolean language sql immutable parallel safe return true")


@pytest.mark.parametrize("change, statement", [
    ({}, None),
    ({"resource": ""}, UNLOGGED),  # not logged at all
    ({"meta": None}, UNLOGGED),  # logged without what it is
    ({"meta": '{"entry_id": "3-1-2", "call_id": "call-1"}'}, UNLOGGED),  # not said to be a correction
    ({"reference": "correction:call-2"}, UNLOGGED),  # of another call than its row says
    ({"quantity": -20999}, MISCORRECTED),
])
def test_the_shared_invariants_see_a_wrong_correction(sql, flusher, any_correction, change, statement):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company, reference="call-1"))
    correction = flusher.correction(company, "call-1", 31500, -21000, 41000)
    for name, value in change.items():
        setattr(correction, name, value)
    assert flusher.flush(correction)[4:] == (0, 0)
    for invariant in (UNLOGGED, MISCORRECTED):
        assert bool(sql(invariant)) == (invariant is statement), invariant


def test_the_shared_invariants_want_a_call_for_a_correction(sql, flusher, any_correction):
    company = flusher.wallet()
    flusher.flush(flusher.correction(company, "call-9", 31500, -21000, 41000))
    assert sql(UNLOGGED) == []
    assert sql(MISCORRECTED) == [("call-9",)]
