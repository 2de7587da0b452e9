"""margin: the report on a real ledger.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from cli_support import COMPANY, DONE, USAGE

OTHER = COMPANY[:-1] + "2"
DAY_MS = 86_400_000
FIRST_MS = 1_793_491_200_000  # 2026-11-01


@pytest.fixture
def sold(ledger):
    """(company, after ms, cost in micros, what the provider asked, and whether it is a correction)."""
    for company, currency in ((COMPANY, "usd"), (OTHER, "ngn")):
        ledger.rows("insert into public.companies (id) values (%s)", [company])
        ledger.rows("insert into public.wallets (company_id, currency) values (%s, %s)", [company, currency])
    for company, after_ms, cost, asked, more in [
            (COMPANY, 0, 80_000, "50000", {}), (COMPANY, DAY_MS - 1, 10_000, "10001", {}),
            (COMPANY, DAY_MS, 5_000, None, {}), (COMPANY, DAY_MS, 7_000, "junk", {}),
            (COMPANY, DAY_MS, -2_000, None, {"correction": True}),
            (COMPANY, 2 * DAY_MS, 999, "1", {"no_call": True}), (OTHER, 0, 80_000_000, "50000", {})]:
        meta = {} if more.pop("no_call", False) else {"call_id": "c"}
        ledger.rows("insert into public.usage_logs (company_id, resource_type, quantity, cost, meta, created_at)"
                    " select company_id, 'voice_inbound', 1, callgate.to_units(%s, currency), %s,"
                    " callgate.to_instant(%s) from public.wallets where company_id = %s",
                    [cost, __import__("psycopg").types.json.Jsonb(
                        {**meta, **more, "meta": {"provider_cost_micros": asked} if asked else {}}),
                     FIRST_MS + after_ms, company])
    return ledger


def report(ledger, *line):
    told = ledger.run("margin", "--from", "2026-11-01", "--to", "2026-11-03", *line, "--json")
    assert told.code == DONE and told.err == "", told
    return told.json["days"]


def test_the_margin_per_company_and_day(sold):
    days = report(sold, "--company", COMPANY)
    assert [(d["day"], d["calls"], d["cost_micros"], d["provider_calls"], d["provider_cost_micros"],
             d["margin_micros"], d["below_cost_calls"]) for d in days] == [
        ("2026-11-01", 2, 90_000, 2, 60_001, 29_999, 1), ("2026-11-02", 2, 10_000, 0, 0, 0, 0)]


def test_in_another_currency_there_is_no_margin(sold):
    [day] = [d for d in report(sold) if d["company_id"] == OTHER]
    assert (day["cost_micros"], day["provider_cost_micros"], day["margin_micros"]) == (80_000_000, 50_000, None)


def test_days_with_calls_below_cost(sold):
    assert [(d["company_id"], d["day"]) for d in report(sold, "--below-cost")] == [(COMPANY, "2026-11-01")]
    assert "29999" in sold.run("margin", "--from", "2026-11-01", "--to", "2026-11-03").out.replace(" ", "")
    assert sold.run("margin", "--from", "2026-11-03", "--to", "2026-11-01").code == USAGE
