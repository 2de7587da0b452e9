"""A correction is of the charge that stands under its call's key; of another one it is taken back with it.

SPDX-License-Identifier: Apache-2.0
"""

import json

import pytest

from flusher import Flusher


@pytest.fixture
def flusher(sql):
    return Flusher(sql)


def charge(flusher, company, basis="assumed", billed_ms=62_000, amount=-93_000, **more):
    entry = flusher.entry(company, amount=amount, reference="call-1", quantity=billed_ms)
    entry.meta = json.dumps({**json.loads(entry.meta), "basis": basis, "billed_ms": billed_ms, **more})
    return entry


def receipts(sql, company):
    return sql("select reference_id, amount_micros from callgate.receipts where company_id = %s order by 1", company)


def keys(sql, company):
    return sql("select type, reference_id from callgate.keys where company_id = %s order by 1, 2", company)


@pytest.mark.parametrize("batches", ["one", "each its own"])
def test_a_correction_of_a_charge_that_was_taken_back_goes_with_it(sql, flusher, batches):
    """Settled with nothing and forgotten; taken in anew, abandoned, and settled again."""
    company = flusher.wallet()
    settled = charge(flusher, company, "reported", 0, 0)
    assumed = charge(flusher, company)
    correction = flusher.correction(company, "call-1", 93_000, -62_000, 0)
    if batches == "one":
        assert flusher.flush(settled, assumed, correction)[5] == 2
    else:
        assert [flusher.flush(entry)[5] for entry in (settled, assumed, correction)] == [0, 1, 1]
    assert receipts(sql, company) == [(f"undo:{assumed.id}", 93_000), (f"undo:{correction.id}", -93_000)]
    assert keys(sql, company) == [
        ("adjustment", f"dup:{assumed.id}"), ("adjustment", f"dup:{correction.id}"), ("usage", "call-1")]
    assert sql("select count(*), sum(cost) from usage_logs where company_id = %s", company) == [(1, 0)]


@pytest.mark.parametrize("batches", ["one", "each its own"])
@pytest.mark.parametrize("beside", [False, True], ids=["plain", "beside a key that is known"])
def test_a_correction_of_the_charge_that_stands_is_booked(sql, flusher, batches, beside):
    company, other = flusher.wallet(), flusher.wallet()
    assert flusher.flush(flusher.entry(other, reference="known"))[5] == 0
    assumed = charge(flusher, company)
    correction = flusher.correction(company, "call-1", 31_000, -20_000, 42_000)
    known = [flusher.entry(other, reference="known")] if beside else []
    if batches == "one":
        assert flusher.flush(assumed, correction, *known)[5] == len(known)
    else:
        assert flusher.flush(assumed)[5] == 0
        assert flusher.flush(correction, *known)[5] == len(known)
    assert receipts(sql, company) == []
    assert ("adjustment", "correction:call-1") in keys(sql, company)
    assert sql("select count(*) from usage_logs where company_id = %s", company) == [(2,)]


@pytest.mark.parametrize("other", [
    {"billed_ms": 61_000}, {"rate_micros_per_minute": 90_001}, {"connect_fee_micros": 1}, {"basis": "reported"}])
def test_a_correction_of_another_charge_than_the_one_that_stands_is_taken_back(sql, flusher, other):
    company = flusher.wallet()
    assert flusher.flush(charge(flusher, company, **other))[5] == 0
    correction = flusher.correction(company, "call-1", 31_000, -20_000, 42_000)
    assert flusher.flush(correction)[5] == 1
    assert receipts(sql, company) == [(f"undo:{correction.id}", -31_000)]


def test_a_correction_of_nothing_is_taken_back(sql, flusher):
    company = flusher.wallet()
    correction = flusher.correction(company, "call-1", 31_000, -20_000, 42_000)
    assert flusher.flush(correction)[5] == 1
    assert receipts(sql, company) == [(f"undo:{correction.id}", -31_000)]


def test_a_correction_that_comes_twice_is_booked_once(sql, flusher):
    company = flusher.wallet()
    assert flusher.flush(charge(flusher, company))[5] == 0
    assert flusher.flush(flusher.correction(company, "call-1", 31_000, -20_000, 42_000))[5] == 0
    second = flusher.correction(company, "call-1", 31_000, -20_000, 42_000)
    assert flusher.flush(second)[5] == 1
    assert receipts(sql, company) == [(f"undo:{second.id}", -31_000)]


def test_who_waits_for_a_correction_that_was_taken_back_hears_of_what_stands(sql, flusher):
    company = flusher.wallet()
    settled = charge(flusher, company, "reported", 0, 0)
    correction = flusher.correction(company, "call-1", 93_000, -62_000, 0)
    ask = "select entry_id from callgate.keys_booked(array[%s::uuid], '{adjustment}', '{correction:call-1}', array[%s])"
    flusher.flush(settled)
    assert sql(ask, company, correction.id) == [(None,)]
    flusher.flush(correction)
    assert sql(ask, company, correction.id) == [(settled.id,)]
    assert sql(ask, company, "3-1-99") == [(None,)], "it was another entry that was taken back"
