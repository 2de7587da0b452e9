"""plan list|show|set against a real ledger.

SPDX-License-Identifier: Apache-2.0
"""

import psycopg
import pytest

from cli_support import DONE, FORBIDDEN, INCOMPATIBLE, NOT_FOUND, UNAVAILABLE, USAGE, Run

PLAN_FIELDS = ["plan_id", "version", "credit_limit_micros", "credit_unlimited", "shadow",
               "calls_max", "longest_call_ms", "ring_lease_ms", "default_reserve_ms", "guard_ms",
               "cut_warning_ms", "cut_repeat_ms", "outage_policy", "outage_longest_ms",
               "outage_calls_max", "rates_count", "updated_at_ms"]


def test_the_seeded_plans_are_listed(ledger):
    told = ledger.run("plan", "list", "--json")
    assert told.code == DONE, told
    plans = {plan["plan_id"]: plan for plan in told.json["plans"]}
    assert list(plans) == ["enterprise", "growth", "legacy", "scale", "starter"]
    assert all(list(plan) == PLAN_FIELDS for plan in plans.values())
    assert plans["starter"]["calls_max"] == 10
    assert plans["starter"]["credit_limit_micros"] == 0
    assert plans["starter"]["cut_repeat_ms"] == 5000
    assert {plan["outage_policy"] for plan in plans.values()} == {"deny"}
    assert plans["enterprise"]["credit_unlimited"] is True
    assert all(plan["rates_count"] > 0 for plan in plans.values())

    people = ledger.run("plan", "list")
    assert len(people.lines()) == 6 and max(map(len, people.lines())) <= 100, people
    assert "unlimited" in people.out and "100.000000" in people.out


def test_only_what_is_given_changes(ledger):
    before = ledger.run("plan", "show", "growth", "--json").json
    told = ledger.run("plan", "set", "growth", "--calls-max", "7", "--shadow", "on", "--json")
    assert told.code == DONE, told
    after = ledger.run("plan", "show", "growth", "--json").json
    assert told.json == {**after, "created": False}
    assert after["version"] > before["version"]
    changed = {"calls_max": 7, "shadow": True}
    moving = {"version", "updated_at_ms"}
    assert {k: v for k, v in after.items() if k not in moving} == \
        {k: v for k, v in {**before, **changed}.items() if k not in moving}

    assert ledger.run("plan", "set", "growth", "--shadow", "off").code == DONE
    assert ledger.run("plan", "show", "growth", "--json").json["shadow"] is False


def test_every_flag_sets_its_column(ledger):
    values = {"credit-limit-micros": 1_000_001, "calls-max": 0, "longest-call-ms": 604_800_000,
              "ring-lease-ms": 1000, "default-reserve-ms": 1001, "guard-ms": 0,
              "cut-warning-ms": 3_600_000, "cut-repeat-ms": 1000, "outage-policy": "allow",
              "outage-longest-ms": 604_800_000, "outage-calls-max": 1000}
    flags = [part for name, value in values.items() for part in (f"--{name}", value)]
    told = ledger.run("plan", "set", "pilot", "--create", "--credit-unlimited", "on", *flags,
                      "--json")
    assert told.code == DONE, told
    assert told.json["created"] is True and told.json["credit_unlimited"] is True
    for name, value in values.items():
        assert told.json[name.replace("-", "_")] == value
    again = ledger.run("plan", "set", "pilot", "--create", "--json")
    assert again.json["created"] is False and again.json["calls_max"] == 0


def test_a_change_is_announced(ledger):
    with psycopg.connect(ledger.url, autocommit=True) as listener:
        listener.execute("listen callgate_terms")
        assert ledger.run("plan", "set", "scale", "--calls-max", "3").code == DONE
        assert next(listener.notifies()).channel == "callgate_terms"


def test_what_is_refused_changes_nothing(ledger):
    before = ledger.rows("select * from callgate.plans order by plan_id")
    for line, code in [
            (["plan", "set", "nope", "--calls-max", "1"], NOT_FOUND),
            (["plan", "set", "starter"], USAGE),
            (["plan", "set", "starter", "--calls-max", "1", "--longest-call-ms", "1000"], USAGE),
            (["plan", "set", "fresh", "--create", "--longest-call-ms", "1000"], USAGE),
            (["plan", "show", "nope"], NOT_FOUND)]:
        told = ledger.run(*line)
        assert (told.code, told.out) == (code, ""), (line, told)
    assert ledger.rows("select * from callgate.plans order by plan_id") == before


def test_roles_without_the_right_are_told_so(ledger):
    ledger.rows("do $$ begin create role cli_reader login in role callgate_reader;"
                " exception when duplicate_object then null; end $$")
    as_reader = ledger.url.replace("postgres@", "cli_reader@")
    assert Run(["plan", "list", "--database-url", as_reader]).code == DONE
    told = Run(["plan", "set", "starter", "--calls-max", "1", "--database-url", as_reader,
                "--json"])
    assert (told.code, told.out) == (FORBIDDEN, ""), told


def test_an_operator_may_do_all_of_it(ledger, tmp_path):
    ledger.rows("do $$ begin create role cli_operator login in role callgate_operator;"
                " exception when duplicate_object then null; end $$")
    as_operator = ledger.url.replace("postgres@", "cli_operator@")
    rates = tmp_path / "rates.csv"
    rates.write_text("plan_id,currency,resource_type,prefix,rate_micros_per_minute,"
                     "connect_fee_micros,minimum_ms,increment_ms\np1,usd,voice,,1,0,0,1\n")
    for line in (["plan", "set", "p1", "--create"], ["rate", "import", rates, "--replace"],
                 ["plan", "list"], ["rate", "list"]):
        told = Run([*line, "--database-url", as_operator])
        assert told.code == DONE, told


def test_a_database_without_the_schema_is_told_to_migrate(postgres):
    told = Run(["plan", "list", "--database-url", postgres.url("postgres")])
    assert told.code == INCOMPATIBLE and "callgate migrate" in told.err


def test_a_lock_held_too_long_is_unavailable(ledger):
    with psycopg.connect(ledger.url) as other:
        other.execute("update callgate.plans set calls_max = 1 where plan_id = 'starter'")
        told = ledger.run("plan", "set", "starter", "--calls-max", "2", "--timeout-ms", "200")
        assert told.code == UNAVAILABLE, told
    assert ledger.run("plan", "show", "starter", "--json").json["calls_max"] == 1


@pytest.mark.parametrize("dry_run", [True, False])
def test_migrating_again_is_safe(ledger, dry_run):
    told = ledger.run("migrate", *(["--dry-run"] if dry_run else []), "--json")
    assert told.code == DONE, told
    assert told.json["dry_run"] is dry_run
    assert told.json["migrations"] == []
    assert "is up to date" in ledger.run("migrate").out


def test_migrating_an_empty_database(postgres):
    name = "cli_empty"
    postgres.execute(f"create database {name}")
    try:
        url = ["--database-url", postgres.url(name)]
        planned = Run(["migrate", "--dry-run", "--json", *url]).json["migrations"]
        assert len(planned) > 5 and not any(row["applied"] for row in planned)
        assert Run(["plan", "list", *url]).code == INCOMPATIBLE
        done = Run(["migrate", "--json", *url]).json["migrations"]
        assert done == [{**row, "applied": True} for row in planned]
        assert Run(["plan", "list", *url]).code == DONE
    finally:
        postgres.drop_database(name)
