"""The two ways of callgate.flush(): a plain batch is booked by one statement, every other one step by step.

SPDX-License-Identifier: Apache-2.0
"""

import dataclasses
import json
import threading
import uuid
from decimal import Decimal

import psycopg
import pytest

from flusher import FLUSH, PARTITION, Entry, Flusher
from support.waiting import wait_until

TABLES = {
    "wallets": "company_id", "wallet_transactions": "entry_id", "usage_logs": "id", "callgate.keys": "entry_id",
    "callgate.receipts": "id", "callgate.cursors": "partition", "callgate.shadow_calls": "entry_id",
    "callgate.quarantine": "id"}
# What is of a clock or of a generator, and not of the entries.
NOT_OF_ENTRIES = {"updated_at"}
SHORT_WAY = ("callgate.flush_plain(integer, bigint, bigint, bigint[], bigint[], uuid[], bigint[], text[], bigint[],"
             " bigint[], bigint[], text[], text[], text[], bigint[], boolean[], jsonb[]{})")
STEP_BY_STEP = (
    f"drop function {SHORT_WAY.format('')}; create function"
    f" {SHORT_WAY.format(', out ret_is_plain boolean, out ret_has_shadow boolean')}"
    " language plpgsql as 'begin ret_is_plain := false; end'")
PLAIN = "select * from callgate.flush_plain(%s, %s, %s, {})".format(", ".join([
    "%s::bigint[]", "%s::bigint[]", "%s::uuid[]", "%s::bigint[]", "%s::text[]", "%s::bigint[]", "%s::bigint[]",
    "%s::bigint[]", "%s::text[]", "%s::text[]", "%s::text[]", "%s::bigint[]", "%s::boolean[]", "%s::jsonb[]"]))


@pytest.fixture
def flusher(sql):
    return Flusher(sql)


def everything(sql):
    return {table: [{name: value for name, value in row.items() if name not in NOT_OF_ENTRIES}
                    for (row,) in sql(f"select to_jsonb(t) from {table} t order by {order}")]
            for table, order in TABLES.items()}


def plain(flusher, *entries):
    columns = [[getattr(e, f.name) for e in entries] for f in dataclasses.fields(Entry)]
    return flusher.sql(PLAIN, PARTITION, *flusher.last, *columns)


def batch_of_every_kind(sql, flusher):
    """Of two wallets in turn: money that comes in by a receipt, calls, one of them of shadow mode,
    a charge, and a correction of each call."""
    company, other = flusher.wallet(), flusher.wallet("jpy")
    assert sql("select callgate.receipt_write(%s, 'top_up', 5000000, 'pay-1', 'thanks | a lot', 'x')", company) == [
        ("written",)]
    return [
        flusher.entry(company, "top_up", 5_000_000, "pay-1", description="thanks | a lot"),
        flusher.entry(company, reference="call-1"),
        flusher.entry(other, "bonus", 7, "gift"),
        flusher.shadow(other, "allowed", 20, 1787300000000, reference="call-2", amount=-70),
        flusher.entry(company, reference="rent", resource="phone_number_rental", quantity=3, is_charge=True,
                      meta=json.dumps({"is_charge": True, "quantity": 3})),
        flusher.correction(company, "call-1", 31_000, -20_000, 42_000),
        flusher.correction(other, "call-2", 30, -1000, 61_000),
        flusher.entry(other, amount=0)]


def test_both_ways_book_the_same(sql, flusher):
    batch = batch_of_every_kind(sql, flusher)
    booked = []
    for way in (None, STEP_BY_STEP):
        sql("begin")
        if way:
            sql(way)
        last = flusher.last
        assert flusher.flush(*batch)[4:] == (0, 0)
        booked.append(everything(sql))
        flusher.last = last
        sql("rollback")
    assert booked[0] == booked[1]
    tables = ("wallet_transactions", "usage_logs", "callgate.shadow_calls")
    assert [len(booked[0][table]) for table in tables] == [8, 6, 2]


def test_a_batch_of_every_kind_is_plain(sql, flusher):
    assert plain(flusher, *batch_of_every_kind(sql, flusher)) == [(True, True)]
    assert plain(flusher, flusher.entry(flusher.wallet())) == [(True, False)]


@pytest.mark.parametrize("wrong", [
    {"version": 7}, {"balance": 1}, {"n": 1}, {"epoch": 0}, {"company": uuid.uuid4()}])
def test_a_batch_that_is_not_plain_books_nothing_by_the_short_way(sql, flusher, wrong):
    company, other = flusher.wallet(), flusher.wallet()
    entries = [flusher.entry(company), flusher.entry(other), flusher.entry(company)]
    before = everything(sql)
    assert plain(flusher, *entries[:2], dataclasses.replace(entries[2], **wrong))[0][0] is False
    assert everything(sql) == before


def test_what_is_in_quarantine_is_not_plain(sql, flusher):
    """The entry would follow from the ledger; that of before it has to come first."""
    company = flusher.wallet()
    aside, entry = flusher.entry(company), flusher.entry(company)
    assert flusher.flush(dataclasses.replace(aside, balance=1))[4:] == (1, 0)
    as_if = dataclasses.replace(entry, version=aside.version, balance=aside.balance)
    assert flusher.flush(as_if)[4:] == (1, 0)
    assert sql("select count(*) from wallet_transactions") == [(0,)]


def test_the_ids_are_in_the_order_of_time_and_the_same_in_both_tables(sql, flusher):
    company = flusher.wallet()
    first = flusher.entry(company)
    flusher.flush(first)
    flusher.flush(flusher.entry(company), flusher.entry(company))
    assert sql("select id from wallet_transactions order by id") == sql(
        "select id from wallet_transactions order by version")
    assert sql("select id from usage_logs order by id") == sql("select id from wallet_transactions order by id")
    (one,) = sql("select callgate.entry_uuid(%s, %s, %s, %s)", PARTITION, 1, first.n, first.at_ms)[0]
    assert sql("select entry_id from wallet_transactions where id = %s", one) == [(first.id,)]
    assert (one.version, one.variant, one.int >> 80) == (8, uuid.RFC_4122, first.at_ms)
    # The greatest values of each part, and those beside them.
    places = [(p, e, n, at) for p in (0, 4095) for e in (1, 4194303) for n in (0, 1099511627775)
              for at in (0, 281474976710655)]
    assert len({sql("select callgate.entry_uuid(%s, %s, %s, %s)", *place)[0][0] for place in places}) == len(places)


def test_a_wallet_whose_terms_are_being_changed_is_flushed_after(sql, flusher, postgres, database):
    """The flush waits for the change, and both are there in the end."""
    company, other = flusher.wallet(), flusher.wallet()
    entries = [flusher.entry(company), flusher.entry(other), flusher.entry(company)]
    columns = [[getattr(e, f.name) for e in entries] for f in dataclasses.fields(Entry)]
    answers = []

    def flush():
        with psycopg.connect(postgres.url(database), autocommit=True) as connection:
            answers.append(connection.execute(
                FLUSH, (PARTITION, 1, 0, 0, 0, 0, 0, *columns, None, None)).fetchone())

    with psycopg.connect(postgres.url(database)) as operator:
        operator.execute("update wallets set frozen = true where company_id = %s", (company,))
        flushing = threading.Thread(target=flush)
        flushing.start()
        wait_until(lambda: sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                               " and datname = current_database()") == [(1,)], 10, "the flush waits")
        operator.commit()
    flushing.join()
    assert answers[0][4:] == (0, 0)
    assert sql("select frozen, version, balance from wallets where company_id = %s", company) == [
        (True, 2, Decimal("-18.6"))]
    assert sql("select w.chain_hash = t.hash from wallets w join wallet_transactions t on t.wallet_id = w.id"
               " and t.version = w.version") == [(True,), (True,)]
