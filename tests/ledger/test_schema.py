"""The tables as the roadmap has them, money in and out of units, terms and their versions.

SPDX-License-Identifier: Apache-2.0
"""

import re
import threading
import uuid
from decimal import Decimal

import psycopg
import pytest

ROADMAP = {
    "billing_subscriptions": {
        "id": "uuid", "company_id": "uuid", "stripe_subscription_id": "text", "stripe_customer_id": "text",
        "plan_id": "text", "status": "text", "current_period_end": "timestamp with time zone"},
    "wallets": {
        "id": "uuid", "company_id": "uuid", "balance": "numeric", "currency": "text",
        "updated_at": "timestamp with time zone"},
    "wallet_transactions": {
        "id": "uuid", "wallet_id": "uuid", "amount": "numeric", "type": "text", "reference_id": "text",
        "description": "text", "created_at": "timestamp with time zone"},
    "usage_logs": {
        "id": "uuid", "company_id": "uuid", "resource_type": "text", "quantity": "numeric", "cost": "numeric",
        "meta": "jsonb", "created_at": "timestamp with time zone"},
}


@pytest.mark.parametrize("table", ROADMAP)
def test_the_roadmaps_columns_are_there(sql, table):
    columns = dict(sql("select column_name, data_type from information_schema.columns"
                       " where table_schema = 'public' and table_name = %s", table))
    assert {name: columns.get(name) for name in ROADMAP[table]} == ROADMAP[table]


@pytest.mark.parametrize("child, parent", [
    ("billing_subscriptions", "companies"), ("wallets", "companies"), ("usage_logs", "companies"),
    ("wallet_transactions", "wallets")])
def test_the_foreign_keys_are_there(sql, child, parent):
    assert sql("select count(*) from pg_constraint where contype = 'f' and conrelid = %s::regclass"
               " and confrelid = %s::regclass", child, parent) == [(1,)]


@pytest.mark.parametrize("currency, micros, units", [
    ("usd", 93000, "9.3"), ("usd", 1, "0.0001"), ("usd", -8 * 10**15, "-800000000000"), ("ngn", 10**6, "100"),
    ("jpy", 1, "0.000001"), ("jpy", 1500000, "1.5"), ("vnd", 10**6, "1"), ("kwd", 1, "0.001"),
    ("bhd", 10**6, "1000"), ("clf", 1, "0.01"), ("eur", 999_999_999_999_999, "99999999999.9999")])
def test_money_goes_to_units_and_back(sql, currency, micros, units):
    assert sql("select callgate.to_units(%s, %s)", micros, currency) == [(Decimal(units),)]
    assert sql("select callgate.to_micros(callgate.to_units(%s, %s), %s)", micros, currency, currency) == [(micros,)]


@pytest.mark.parametrize("at_ms", [0, 1, 1787300000123, 1787300000999, 4102444800001])
def test_an_instant_keeps_its_milliseconds(sql, at_ms):
    assert sql("select callgate.to_ms(callgate.to_instant(%s))", at_ms) == [(at_ms,)]


def test_the_seed_covers_every_destination(sql):
    assert sql("select plan_id from callgate.plans order by 1") == [
        ("enterprise",), ("growth",), ("legacy",), ("scale",), ("starter",)]
    assert sql("select credit_limit_micros, credit_unlimited, calls_max from callgate.plans"
               " where plan_id = 'starter'") == [(0, False, 10)]
    assert sql("select credit_unlimited from callgate.plans where plan_id = 'enterprise'") == [(True,)]
    assert sql("select p.plan_id, r.t from callgate.plans p cross join (values ('voice_inbound'),"
               " ('voice_outbound')) r(t) where not exists (select from callgate.rates x"
               " where x.plan_id = p.plan_id and x.currency = 'usd' and x.resource_type = r.t"
               " and x.prefix = '')") == []


@pytest.mark.parametrize("change", [
    "rate_micros_per_minute = 100000000000", "rate_micros_per_minute = -1", "increment_ms = 0",
    "increment_ms = 3600001", "minimum_ms = -1", "connect_fee_micros = 100000000000", "prefix = '44'",
    "currency = 'USD'"])
def test_a_price_out_of_bounds_is_refused(sql, change):
    with pytest.raises(psycopg.errors.CheckViolation):
        sql(f"update callgate.rates set {change} where plan_id = 'starter' and prefix = ''"
            " and resource_type = 'voice_inbound' and currency = 'usd'")


@pytest.mark.parametrize("repeat_ms, fits", [(999, False), (1000, True), (3600000, True), (3600001, False)])
def test_a_cut_off_is_repeated_within_bounds(sql, repeat_ms, fits):
    assert sql("select distinct cut_repeat_ms from callgate.plans") == [(5000,)]
    change = f"update callgate.plans set cut_repeat_ms = {repeat_ms} where plan_id = 'starter'"
    if fits:
        sql(change)
    else:
        with pytest.raises(psycopg.errors.CheckViolation):
            sql(change)


@pytest.mark.parametrize("change", [
    "outage_policy = 'ask'", "outage_policy = null", "outage_longest_ms = 999", "outage_longest_ms = 604800001",
    "outage_calls_max = -1", "outage_calls_max = 1001"])
def test_an_outage_policy_is_kept_within_bounds(sql, change):
    assert sql("select distinct outage_policy, outage_longest_ms, outage_calls_max from callgate.plans") \
        == [("deny", 600000, 5)]
    sql("update callgate.plans set outage_policy = 'allow', outage_longest_ms = 604800000, outage_calls_max = 1000"
        " where plan_id = 'starter'")
    with pytest.raises(psycopg.errors.IntegrityError):
        sql(f"update callgate.plans set {change} where plan_id = 'starter'")


@pytest.mark.parametrize("table", ["wallet_transactions", "usage_logs", "callgate.keys"])
@pytest.mark.parametrize("attempt", ["delete from {}", "update {} set created_at = now()", "truncate {} cascade"])
def test_ledger_tables_are_append_only_for_their_owner_too(sql, table, attempt):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sql(attempt.format(table))


KIND_RULE = ("select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'public.usage_logs'::regclass"
             " and conname = 'usage_logs_resource_type_check'")


@pytest.mark.parametrize("kind, fits", [
    ("voice_inbound", True), ("voice_outbound", True), ("phone_number_rental", True), ("sms", True), ("a", True),
    ("a" * 64, True), ("a" * 65, False), ("", False), ("Voice", False), ("voice_inbound ", False), ("1a", False),
    ("voice\nx", False), (None, False)])
def test_a_kind_of_usage_is_a_name(sql, kind, fits):
    company = uuid.uuid4()
    sql("insert into companies (id) values (%s)", company)
    put = "insert into usage_logs (company_id, resource_type, quantity, cost, created_at) values (%s, %s, 1, 1, now())"
    if fits:
        sql(put, company, kind)
    else:
        with pytest.raises(psycopg.errors.IntegrityError):
            sql(put, company, kind)


def test_the_usual_kinds_are_known_by_their_names(sql):
    """And it costs nothing of the rule: the expression that decides of all others admits them."""
    ((rule,),) = sql(KIND_RULE)
    names, expression = rule.split(" OR ")
    (pattern,) = re.findall(r"~ '([^']+)'", expression)
    usual = re.findall(r"'(\w+)'", names)
    assert "~" not in names and {"voice_inbound", "voice_outbound", "phone_number_rental"} == set(usual)
    assert sql("select bool_and(u ~ %s) from unnest(%s::text[]) u", pattern, usual) == [(True,)]


def versions(sql):
    return (sql("select plans_version from callgate.terms")[0][0],
            dict(sql("select plan_id, version from callgate.plans")))


@pytest.mark.parametrize("change", [
    "update callgate.plans set calls_max = 12 where plan_id = 'growth'",
    "update callgate.rates set rate_micros_per_minute = 1 where plan_id = 'growth' and prefix = '+44'",
    "delete from callgate.rates where plan_id = 'growth' and prefix = '+44'",
    "insert into callgate.rates values ('growth', 'usd', 'voice_outbound', '+4420', 1)"])
def test_a_change_of_terms_takes_a_new_version(sql, change):
    total, plans = versions(sql)
    sql(change)
    total_after, plans_after = versions(sql)
    assert total_after > total
    assert plans_after["growth"] > plans["growth"]
    assert plans_after["starter"] == plans["starter"]


def test_a_wallets_terms_take_a_version_and_a_flush_does_not(sql):
    company = uuid.uuid4()
    sql("select callgate.wallet_create(%s, 'usd', 'starter')", company)
    version = "select terms_version from wallets where company_id = %s"
    assert sql(version, company) == [(0,)]
    sql("update wallets set balance = 5, version = 1, updated_at = now() where company_id = %s", company)
    assert sql(version, company) == [(0,)]
    assert sql("select callgate.wallet_update(%s, null, true, null, null)", company) == [("done",)]
    (first,), = sql(version, company)
    assert first > 0
    assert sql("select callgate.wallet_update(%s, 'growth', null, null, null)", company) == [("done",)]
    (second,), = sql(version, company)
    assert second > first
    sql("insert into billing_subscriptions (company_id, status) values (%s, 'unpaid')", company)
    (third,), = sql(version, company)
    assert third > second
    assert sql("select suspended, frozen from callgate.wallet_read(%s)", company) == [(True, True)]
    assert sql("select callgate.wallet_update(%s, 'nonesuch', null, null, null)", company) == [("no_plan",)]
    assert sql("select callgate.wallet_update(%s, null, true, null, null)", uuid.uuid4()) == [("no_wallet",)]


@pytest.mark.parametrize("first_change, second_change", [
    ("update callgate.plans set calls_max = 12 where plan_id = 'growth'",
     "update callgate.plans set calls_max = 13 where plan_id = 'scale'"),
    ("update wallets set frozen = true where currency = 'eur'",
     "update wallets set frozen = true where currency = 'gbp'"),
    ("update wallets set frozen = true where currency = 'eur'",
     "insert into billing_subscriptions (company_id) select company_id from wallets where currency = 'gbp'")])
def test_versions_become_visible_in_their_own_order(sql, postgres, database, first_change, second_change):
    """The second change waits for the first one's commit: a reader never misses a lower version."""
    for currency in ("eur", "gbp"):
        sql("select callgate.wallet_create(gen_random_uuid(), %s, 'starter')", currency)
    backend = threading.Event()
    with psycopg.connect(postgres.url(database)) as first:
        first.execute(first_change)

        def change():
            with psycopg.connect(postgres.url(database), autocommit=True) as second:
                backend.set()
                second.execute(second_change)

        thread = threading.Thread(target=change)
        thread.start()
        assert backend.wait(5)
        thread.join(0.3)
        assert thread.is_alive()
        first.commit()
        thread.join(5)
        assert not thread.is_alive()


def test_changes_are_notified(sql, postgres, database):
    company = uuid.uuid4()
    sql("select callgate.wallet_create(%s, 'usd', 'starter')", company)
    with psycopg.connect(postgres.url(database), autocommit=True) as listener:
        listener.execute("listen callgate_terms")
        sql("update callgate.rates set minimum_ms = 1 where plan_id = 'scale'")
        sql("update wallets set frozen = true where company_id = %s", company)
        payloads = []
        for notify in listener.notifies():
            payloads.append(notify.payload)
            if len(payloads) == 2:
                break
    assert payloads == ["plans", str(company)]


def test_a_wallet_is_made_once(sql):
    company = uuid.uuid4()
    create = "select callgate.wallet_create(%s, %s, %s)"
    assert sql(create, company, "usd", "nonesuch") == [("no_plan",)]
    assert sql(create, company, "usd", "starter") == [("created",)]
    assert sql(create, company, "usd", "growth") == [("exists",)]
    assert sql(create, company, "eur", "starter") == [("currency_differs",)]
    sql("update callgate.installation set owns_companies = false")
    assert sql(create, uuid.uuid4(), "usd", "starter") == [("no_company",)]
