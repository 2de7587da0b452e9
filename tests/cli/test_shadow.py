"""shadow: the report on a real ledger.

SPDX-License-Identifier: Apache-2.0
"""

import psycopg
import pytest

from cli_support import COMPANY, DONE, FORBIDDEN, INCOMPATIBLE, UNAVAILABLE, Run

OTHER = COMPANY[:-1] + "2"
DAY_MS = 86_400_000
FIRST_MS = 1_793_491_200_000  # 2026-11-01
FIELDS = ["company_id", "currency", "calls", "cost_micros", "denied_calls", "denied_funds",
          "denied_concurrency", "denied_suspended", "denied_micros", "cut_calls", "cut_micros",
          "saved_micros"]


@pytest.fixture
def shadowed(ledger):
    """Four calls of shadow mode on 2026-11-01, one of another company a day later."""
    for company in (COMPANY, OTHER):
        ledger.rows("insert into public.companies (id) values (%s)", [company])
        ledger.rows("insert into public.wallets (company_id, currency) values (%s, 'usd')",
                    [company])
    calls = [
        ("1", COMPANY, 0, "denied_insufficient_funds", 0.10, 0.10),
        ("2", COMPANY, 1, "denied_concurrency_limit", 0.20, 0.20),
        ("3", COMPANY, 2, "denied_suspended", 0.30, 0.30),
        ("4", COMPANY, DAY_MS - 1, "allowed", 1, 0.25),
        ("5", OTHER, DAY_MS, "allowed", 2, 2),
    ]
    for entry, company, after_ms, decision, cost, saved in calls:
        ledger.rows(
            "insert into callgate.shadow_calls (entry_id, company_id, call_id, is_correction, at,"
            " decision, cut_at, cost, saved) select %s, %s, %s, false, callgate.to_instant(%s),"
            " %s, null, %s * u, %s * u from (select 1000000 * callgate.units_per_micro('usd') as u)"
            " s", [entry, company, f"c{entry}", FIRST_MS + after_ms, decision, cost, saved])
    return ledger


def report(ledger, *line):
    told = ledger.run("shadow", *line, "--json")
    assert told.code == DONE and told.err == "", told
    return told.json


def test_the_report_sums_by_company(shadowed):
    told = report(shadowed, "--from", "2026-11-01", "--to", "2026-11-02")
    assert list(told) == ["from_at_ms", "to_at_ms", "companies"]
    assert (told["from_at_ms"], told["to_at_ms"]) == (FIRST_MS, FIRST_MS + 2 * DAY_MS)
    assert all(list(company) == FIELDS for company in told["companies"])
    found = {company["company_id"]: company for company in told["companies"]}
    mine = found[COMPANY]
    assert (mine["denied_calls"], mine["denied_funds"], mine["denied_concurrency"],
            mine["denied_suspended"], mine["cut_calls"]) == (3, 1, 1, 1, 1)
    assert (mine["denied_micros"], mine["cut_micros"], mine["saved_micros"]) == (
        600_000, 250_000, 850_000)
    assert found[OTHER]["saved_micros"] == 2_000_000


def test_the_last_day_counts_and_the_next_does_not(shadowed):
    one = report(shadowed, "--from", "2026-11-01", "--to", "2026-11-01")["companies"]
    assert [(row["company_id"], row["saved_micros"]) for row in one] == [(COMPANY, 850_000)]
    assert report(shadowed, "--from", "2026-10-30", "--to", "2026-10-31")["companies"] == []
    mine = report(shadowed, "--from", "2026-11-01", "--to", "2026-11-02", "--company", OTHER)
    assert [row["company_id"] for row in mine["companies"]] == [OTHER]


def test_without_days_it_is_the_last_thirty(shadowed):
    told = report(shadowed)
    assert told["to_at_ms"] - told["from_at_ms"] == 30 * DAY_MS
    told = report(shadowed, "--to", "2026-11-02")
    assert told["from_at_ms"] == FIRST_MS - 28 * DAY_MS


def test_the_report_for_people(shadowed):
    days = ["--from", "2026-11-01", "--to", "2026-11-02"]
    table = shadowed.run("shadow", *days)
    assert table.code == DONE and max(map(len, table.lines())) <= 100, table
    assert "0.850000 USD" in table.out and "2.000000 USD" in table.out
    one = shadowed.run("shadow", *days, "--company", COMPANY)
    assert one.code == DONE and "0.600000 USD" in one.out and "denied suspended" in one.out
    none = shadowed.run("shadow", "--from", "2026-10-30", "--to", "2026-10-31")
    assert none.code == DONE and none.out.startswith("Nothing would have been denied or cut off")


def test_who_may_read_it(shadowed):
    shadowed.rows("do $$ begin create role cli_reader login in role callgate_reader;"
                  " exception when duplicate_object then null; end $$")
    shadowed.rows("do $$ begin create role cli_nobody login;"
                  " exception when duplicate_object then null; end $$")
    reader = shadowed.url.replace("postgres@", "cli_reader@")
    nobody = shadowed.url.replace("postgres@", "cli_nobody@")
    assert Run(["shadow", "--database-url", reader]).code == DONE
    assert Run(["shadow", "--database-url", nobody]).code == FORBIDDEN


def test_a_ledger_without_the_report_is_told_to_migrate(postgres):
    told = Run(["shadow", "--database-url", postgres.url("postgres")])
    assert told.code == INCOMPATIBLE and "callgate migrate" in told.err


def test_a_lock_held_too_long_is_unavailable(ledger):
    with psycopg.connect(ledger.url) as other:
        other.execute("lock table callgate.shadow_calls in access exclusive mode")
        assert ledger.run("shadow", "--timeout-ms", "200").code == UNAVAILABLE
