"""Shadow mode in the books: what the flush notes, and what callgate.shadow_report() makes of it.

SPDX-License-Identifier: Apache-2.0
"""

import datetime
import uuid
from decimal import Decimal

import pytest

from flusher import Flusher

BEGIN_MS = 1787300000123
REPORT = ("select company_id, currency, calls, cost_micros, denied_calls, denied_funds, denied_concurrency,"
          " denied_suspended, denied_micros, cut_calls, cut_micros from callgate.shadow_report(%s, %s, %s)")
FUNDS, CONCURRENCY, SUSPENDED = ("denied_insufficient_funds", "denied_concurrency_limit", "denied_suspended")


@pytest.fixture
def flusher(sql):
    return Flusher(sql)


def at(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)


@pytest.fixture
def report(sql):
    def run(company=None, first=BEGIN_MS, last=BEGIN_MS + 1000):
        return sql(REPORT, at(first), at(last), company)

    return run


def test_a_shadow_call_is_noted_where_it_is_booked(sql, flusher):
    company = flusher.wallet()
    denied = flusher.shadow(company, FUNDS, 93000, reference="call-1")
    plain = flusher.entry(company)
    cut = flusher.shadow(company, "allowed", 33000, BEGIN_MS, reference="call-2")
    flusher.flush(denied, plain, cut)
    assert sql("select entry_id, company_id, call_id, callgate.to_ms(at), decision, callgate.to_ms(cut_at), cost,"
               " saved, is_correction from callgate.shadow_calls order by at") == [
        (denied.id, company, "call-1", denied.at_ms, FUNDS, None, Decimal("9.3"), Decimal("9.3"), False),
        (cut.id, company, "call-2", cut.at_ms, "allowed", BEGIN_MS, Decimal("9.3"), Decimal("3.3"), False)]


def test_what_is_not_booked_is_not_noted(sql, flusher):
    """A duplicate, and what is set aside: that keeps what it needs to be noted later."""
    company = flusher.wallet()
    flusher.flush(flusher.shadow(company, FUNDS, 93000, reference="call-1"))
    assert flusher.flush(flusher.shadow(company, FUNDS, 93000, reference="call-1"))[4:] == (0, 1)
    aside = flusher.shadow(company, SUSPENDED, 93000, version=9)
    assert flusher.flush(aside)[4:] == (1, 0)
    assert sql("select count(*) from callgate.shadow_calls") == [(1,)]
    assert sql("select entry_id, meta ->> 'shadow_decision' from callgate.quarantine") == [(aside.id, SUSPENDED)]


def test_the_payload_of_a_shadow_call_may_be_lost(sql, flusher):
    company = flusher.wallet()
    flusher.flush(flusher.shadow(company, FUNDS, 93000), mode=1, raw=b"\xff", reason="refused")
    assert sql("select decision from callgate.shadow_calls") == [(FUNDS,)]


def test_the_report_adds_up(flusher, report):
    company, other, quiet = flusher.wallet(), flusher.wallet("jpy"), flusher.wallet()
    flusher.flush(
        flusher.entry(company, "top_up", 10**6),
        flusher.entry(company),
        flusher.shadow(company, FUNDS, 93000), flusher.shadow(company, FUNDS, 93000),
        flusher.shadow(company, CONCURRENCY, 93000), flusher.shadow(company, SUSPENDED, 93000),
        flusher.shadow(company, "allowed", 20000, BEGIN_MS), flusher.shadow(company, "allowed", 1, BEGIN_MS),
        flusher.entry(company, amount=-5, meta='{"reference_id": "rent", "is_charge": true}', is_charge=True),
        flusher.shadow(other, "allowed", 7, BEGIN_MS),
        flusher.entry(quiet))
    of_company = (company, "usd", 7, 7 * 93000, 4, 2, 1, 1, 4 * 93000, 2, 20001)
    of_other = (other, "jpy", 1, 93000, 0, 0, 0, 0, 0, 1, 7)
    assert report() == [of_company, of_other]
    assert report(company) == [of_company]
    assert report(quiet) == []
    assert report(uuid.uuid4()) == []


def test_the_report_begins_at_its_first_instant_and_ends_before_its_last(flusher, report):
    company = flusher.wallet()
    calls = [flusher.shadow(company, FUNDS, 93000) for _ in range(3)]
    flusher.flush(*calls)
    (row,) = report(company, calls[1].at_ms, calls[2].at_ms)
    assert row[2:6] == (1, 93000, 1, 1)
    assert report(company, calls[2].at_ms + 1) == []


@pytest.mark.parametrize("in_one_batch", [True, False])
@pytest.mark.parametrize("decision, saved, amount, saved_after", [
    (FUNDS, 93000, 31500, 61500),  # denied: all of what it costs
    (FUNDS, 93000, -500, 93500),
    (FUNDS, 93000, 0, 93000),
    ("allowed", 33000, 31500, 1500),  # cut off: what lies behind the cut
    ("allowed", 33000, -500, 33500),
    ("allowed", 20000, 31500, 0),  # it ended before
])
def test_a_correction_is_money_and_no_call(flusher, report, in_one_batch, decision, saved, amount, saved_after):
    company = flusher.wallet()
    call = flusher.shadow(company, decision, saved, reference="call-1")
    correction = flusher.correction(company, "call-1", amount, 0, 62000)
    if in_one_batch:
        flusher.flush(call, correction)
    else:
        flusher.flush(call)
        flusher.flush(correction)
    cost = 93000 - amount
    if decision == "allowed":
        assert report(company) == [(company, "usd", 1, cost, 0, 0, 0, 0, 0, 1, saved_after)]
    else:
        assert report(company) == [(company, "usd", 1, cost, 1, 1, 0, 0, saved_after, 0, 0)]


def test_only_corrections_of_shadow_calls_are_noted(sql, flusher):
    company = flusher.wallet()
    shadow = flusher.shadow(company, FUNDS, 93000, reference="call-1")
    plain = flusher.entry(company, reference="call-2")
    other = flusher.correction(company, "call-2", 5, 0, 62000)
    adjustment = flusher.entry(company, "adjustment", 5, "note-1")
    first = flusher.correction(company, "call-1", 5, 0, 62000)
    second = flusher.correction(company, "call-1", 5, 0, 62000)
    assert flusher.flush(shadow, plain, other, adjustment, first, second)[4:] == (0, 1)
    assert sql("select entry_id, call_id, decision, cost, saved, is_correction from callgate.shadow_calls order by at") \
        == [(shadow.id, "call-1", FUNDS, Decimal("9.3"), Decimal("9.3"), False),
            (first.id, "call-1", FUNDS, Decimal("-0.0005"), Decimal("-0.0005"), True)]
