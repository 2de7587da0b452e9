"""Retrying by SQL alone: what a stack does not come to in a test's time.

SPDX-License-Identifier: Apache-2.0
"""

import json

import psycopg
import pytest

from flusher import PARTITION, Flusher


@pytest.fixture
def books(sql):
    return Flusher(sql)


def retry(sql, company):
    return sql("select * from callgate.quarantine_retry(%s)", company)[0]


def break_wallet(sql, company, by):
    sql("update wallets set balance = balance + %s where company_id = %s", by, company)


def test_a_key_that_was_taken_meanwhile_is_booked_and_taken_back(sql, books):
    company = books.wallet()
    books.flush(books.entry(company, "top_up", 1_000_000, "paid"))
    break_wallet(sql, company, 1)
    again = books.entry(company, "bonus", 500, "gift")
    twice = books.entry(company, "bonus", 500, "gift")
    books.flush(again, twice)
    break_wallet(sql, company, -1)
    assert retry(sql, company) == ("applied", None, 2, 1, 0)
    assert sql("select type, reference_id from wallet_transactions order by version") == [
        ("top_up", "paid"), ("bonus", "gift"), ("adjustment", f"dup:{twice.id}")]
    assert sql("select type, reference_id, amount_micros from callgate.receipts") == [
        ("adjustment", f"undo:{twice.id}", -500)]
    assert sql("select callgate.audit_page(%s, %s, null) -> 'wallets' -> 0 -> 8", PARTITION, [company]) == [(None,)]


def test_the_cursor_is_where_it_was_and_the_flush_goes_on(sql, books):
    company = books.wallet()
    books.flush(books.entry(company, "top_up", 1_000_000))
    break_wallet(sql, company, 1)
    books.flush(books.entry(company))
    break_wallet(sql, company, -1)
    before = sql("select last_epoch, last_n, epoch, updated_at from callgate.cursors")
    assert retry(sql, company)[0] == "applied"
    assert sql("select last_epoch, last_n, epoch, updated_at from callgate.cursors") == before
    assert books.flush(books.entry(company))[0] == "done"
    assert sql("select version from wallets") == [(3,)]
    assert sql("select count(*) from callgate.quarantine") == [(0,)]


@pytest.mark.parametrize("raw, reference, resource, lost", [
    (b'{"reference_id":"call\\u0000","description":"","resource_type":"voice_outbound","call_id":"call","meta":{}}',
     "call\ufffd", "voice_outbound", "U+0000, written as U+FFFD"),
    (b'{"reference_id":"call","description":"\xe9","resource_type":"Voice!","call_id":"call","meta":{"a":"b"}}',
     "call", "unknown", "bytes that are no UTF-8, read as Latin-1; its resource type"),
    (b"nothing that can be read", None, "unknown",
     "every text: it cannot be read; its reference; its resource type"),
])
def test_what_can_be_represented_is_booked_and_the_rest_is_said(sql, books, raw, reference, resource, lost):
    company = books.wallet()
    books.flush(books.entry(company, "top_up", 1_000_000))
    bare = books.entry(company, reference="", resource="", meta=None)
    bare.reference = ""
    books.flush(bare, mode=2, raw=raw, reason="refused by Postgres as it came")
    assert retry(sql, company) == ("applied", None, 1, 0, 1)
    assert sql("select reference_id from wallet_transactions where type = 'usage'") == [
        (reference or f"lost:{bare.id}",)]
    ((logged, meta),) = sql("select resource_type, meta from usage_logs")
    assert logged == resource and meta["entry_id"] == bare.id
    assert sql("select lost from callgate.quarantine_log") == [(lost,)]
    assert sql("select callgate.audit_page(%s, %s, null) -> 'wallets' -> 0 -> 8", PARTITION, [company]) == [(None,)]


def test_where_the_payload_alone_is_refused_the_money_goes(sql, books):
    company = books.wallet()
    books.flush(books.entry(company, "top_up", 1_000_000))
    sql("alter table wallet_transactions add constraint short check (length(description) < 5)")
    break_wallet(sql, company, 1)
    books.flush(books.entry(company, description="a long one"))
    break_wallet(sql, company, -1)
    assert retry(sql, company) == ("applied", None, 1, 0, 1)
    ((description, meta),) = sql("select t.description, u.meta from wallet_transactions t, usage_logs u"
                                 " where t.type = 'usage'")
    assert description is None and "meta" not in meta
    ((lost, kept),) = sql("select lost, entry from callgate.quarantine_log")
    assert lost == "description and meta" and kept["description"] == "a long one"


@pytest.mark.parametrize("statement", [
    "update callgate.quarantine_log set note = 'x'", "delete from callgate.quarantine_log",
    "truncate callgate.quarantine_log"])
def test_the_log_is_append_only(sql, books, statement):
    company = books.wallet()
    break_wallet(sql, company, 1)
    books.flush(books.entry(company, "bonus", 5))
    break_wallet(sql, company, -1)
    assert retry(sql, company)[0] == "applied"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sql(statement)


def test_ten_thousand_entries_of_one_wallet(sql, books):
    company = books.wallet()
    break_wallet(sql, company, 1)
    for _ in range(10):
        books.flush(*[books.entry(company, "bonus", 5) for _ in range(1000)])
    break_wallet(sql, company, -1)
    assert retry(sql, company) == ("applied", None, 10_000, 0, 0)
    page = json.dumps(sql("select callgate.audit_page(%s, %s, null)", PARTITION, [company])[0][0])
    assert '"entries": 10000' in page and page.endswith("null]]}"), page
