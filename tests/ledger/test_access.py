"""What each role may do, and what it may not.

SPDX-License-Identifier: Apache-2.0
"""

import uuid

import psycopg
import pytest

REFUSED = psycopg.errors.InsufficientPrivilege
TABLES = ["billing_subscriptions", "wallets", "wallet_transactions", "usage_logs", "companies"]


@pytest.fixture
def attempt(postgres, database, sql):
    """Runs a statement as a role; answers the rows."""
    sql("select callgate.wallet_create(%s, 'usd', 'starter')", uuid.uuid4())
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        def run(role, statement):
            connection.execute(f"set role {role}")
            try:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else []
            finally:
                connection.execute("reset role")

        yield run


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["select * from {}", "delete from {}", "update {} set company_id = null",
                                       "insert into {} default values"])
def test_customers_touch_no_table(attempt, role, table, statement):
    with pytest.raises((REFUSED, psycopg.errors.UndefinedColumn)):
        attempt(role, statement.format(table))


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
@pytest.mark.parametrize("statement", [
    "select * from callgate.receipts", "select callgate.wallet_read(gen_random_uuid())",
    "select callgate.epoch_take(0, 0, 1)", "select callgate.deployment_read(16)",
    "select callgate.tail_read(0, 0, 0, 1)", "select callgate.turn_keep(0, 1, 1)", "select * from callgate.served",
    "select * from callgate.passed", "select callgate.cursors_look(0)",
    "select * from callgate.shadow_calls", "select * from callgate.shadow_report('-infinity', 'infinity', null)"])
def test_the_schema_callgate_is_closed_to_supabases_roles(attempt, role, statement):
    with pytest.raises(REFUSED):
        attempt(role, statement)


@pytest.mark.parametrize("statement", [
    "update wallets set balance = 10", "insert into wallet_transactions (reference_id) values ('x')",
    "delete from usage_logs", "truncate wallets cascade"])
def test_service_role_reads_money_and_does_not_write_it(attempt, statement):
    assert len(attempt("service_role", "select * from wallets")) == 1
    with pytest.raises(REFUSED):
        attempt("service_role", statement)


@pytest.mark.parametrize("statement", [
    "select * from wallets", "update wallets set balance = 10", "select * from wallet_transactions",
    "insert into wallet_transactions (reference_id) values ('x')", "insert into usage_logs (cost) values (1)",
    "update callgate.cursors set epoch = 9", "select * from callgate.cursors", "select * from callgate.passed", "delete from callgate.keys",
    "insert into callgate.receipts (type) values ('top_up')", "update callgate.plans set calls_max = 1",
    "update callgate.rates set minimum_ms = 1", "select nextval('callgate.terms_version')",
    "select callgate.set_aside(0, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
    " '{}', null, null)", "insert into companies values (gen_random_uuid())", "select * from callgate.quarantine",
    "select * from callgate.shadow_calls", "select * from callgate.shadow_report('-infinity', 'infinity', null)",
    "select * from callgate.quarantine_retry(gen_random_uuid())", "select callgate.quarantine_dismiss('1-1-1', 'x')",
    "select * from callgate.quarantine_log", "select callgate.audit_page(0, '{}', null)"])
def test_the_sidecar_has_its_functions_and_nothing_else(attempt, statement):
    with pytest.raises(REFUSED):
        attempt("callgate_sidecar", statement)


@pytest.mark.parametrize("statement", [
    "select * from callgate.deployment_read(16)", "select callgate.turn_take(0, 1000)",
    "select callgate.epoch_take(0, 0, 1)", "select callgate.epoch_served(0, 1)",
    "select callgate.tail_read(0, 0, 0, 1)", "select callgate.turn_keep(0, 1, 1)",
    "select callgate.cursor_read(0)", "select callgate.epoch_served(0, 1, 0)", "select callgate.epoch_begin(0, 0, 1)",
    "select * from callgate.cursors_read('{}')", "select * from callgate.cursors_look(0)",
    "select * from callgate.terms_changes(0, 0, 10)",
    "select callgate.terms_latest()", "select * from callgate.plans", "select * from callgate.rates",
    "select callgate.wallet_create(gen_random_uuid(), 'usd', 'starter')",
    "select * from callgate.wallet_read(gen_random_uuid())",
    "select * from callgate.key_read(gen_random_uuid(), 'usage', 'x')",
    "select callgate.wallet_update(gen_random_uuid(), null, true, null, null)",
    "select callgate.receipt_write(gen_random_uuid(), 'bonus', 1, 'x', '', '')",
    "select * from callgate.receipts_due(0, 0, 10)", "select * from callgate.keys_booked('{}', '{}', '{}', '{}')",
    "select callgate.orphans_put(0, 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    "listen callgate_terms",
    "select * from callgate.flush(0, 1, 0, 0, 0, 0, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',"
    " '{}', '{}', '{}', '{}', null, null)"])
def test_the_sidecar_can_work(attempt, statement):
    attempt("callgate_sidecar", statement)


@pytest.mark.parametrize("statement", [
    "update callgate.plans set calls_max = 11 where plan_id = 'growth'",
    "delete from callgate.rates where plan_id = 'growth' and prefix = '+91'",
    "insert into callgate.rates values ('growth', 'eur', 'voice_outbound', '', 1)",
    "select * from wallets", "select * from usage_logs", "select * from wallet_transactions",
    "select * from callgate.quarantine", "select * from callgate.receipts", "select * from companies",
    "update callgate.plans set cut_repeat_ms = 7000 where plan_id = 'growth'",
    "update callgate.plans set outage_policy = 'allow', outage_longest_ms = 1000, outage_calls_max = 1"
    " where plan_id = 'growth'", "select * from callgate.shadow_calls",
    "select * from callgate.quarantine_retry(gen_random_uuid())", "select callgate.quarantine_dismiss('1-1-1', 'x')",
    "select * from callgate.quarantine_log", "select callgate.audit_page(0, '{}', null)",
    "select * from callgate.shadow_report('-infinity', 'infinity', null)"])
def test_the_operator_sets_terms_and_reads(attempt, statement):
    attempt("callgate_operator", statement)


@pytest.mark.parametrize("statement", [
    "update wallets set balance = 1", "delete from wallet_transactions", "delete from callgate.plans",
    "insert into callgate.receipts (type) values ('top_up')", "select callgate.epoch_take(0, 0, 1)",
    "update callgate.terms set plans_version = 0", "delete from callgate.shadow_calls",
    "delete from callgate.quarantine", "delete from callgate.quarantine_log",
    "select callgate.quarantine_book(0, gen_random_uuid(), false)"])
def test_the_operator_does_not_touch_money(attempt, statement):
    with pytest.raises(REFUSED):
        attempt("callgate_operator", statement)


@pytest.mark.parametrize("statement", ["update callgate.plans set calls_max = 1", "delete from callgate.rates",
                                       "update wallets set frozen = true",
                                       "select callgate.quarantine_retry(gen_random_uuid())",
                                       "select callgate.quarantine_dismiss('1-1-1', 'x')"])
def test_the_reader_reads(attempt, statement):
    assert len(attempt("callgate_reader", "select * from wallets")) == 1
    with pytest.raises(REFUSED):
        attempt("callgate_reader", statement)


def test_every_table_of_the_exposed_schema_has_row_level_security(sql):
    assert sql("select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
               " and not relrowsecurity") == []


def test_functions_of_definers_fix_their_search_path(sql):
    assert sql("select proname from pg_proc where pronamespace = 'callgate'::regnamespace and prosecdef"
               " and not exists (select from unnest(proconfig) c where starts_with(c, 'search_path='))") == []


@pytest.mark.parametrize("statement", [
    "select * from callgate.edge_settings_read(0)", "select * from callgate.edge_call_row('c')",
    "select callgate.edge_call_note('c', 'running', null, '', null, null, null, null, null, false, true, null, null,"
    " null, 'https://x.vapi.ai/c', null, null)",
    "select * from callgate.edge_event_take('k', 'c', 't', '', 0, '{}', null, null, null, null, null, null, null,"
    " null, null, null)", "select callgate.edge_event_done(1, 'x')", "select * from callgate.edge_calls_due(1, 1000)",
    "select * from callgate.edge_calls_missed('{c}', '{true}')",
    "select callgate.edge_review_put('c', 'w', null, 0, 0, 0, null)", "select callgate.edge_trim(30, 10)"])
def test_the_edge_does_its_work(attempt, statement):
    attempt("callgate_edge", statement)


@pytest.mark.parametrize("role", ["callgate_edge", "callgate_reader", "callgate_operator", "callgate_sidecar",
                                  "service_role", "authenticated"])
def test_nobody_reads_control_urls_but_by_the_calls_row(attempt, role):
    with pytest.raises(REFUSED):
        attempt(role, "select * from callgate.edge_controls")


@pytest.mark.parametrize("statement", [
    "select * from wallets", "update wallets set balance = 1", "select * from callgate.edge_numbers",
    "delete from callgate.edge_events", "insert into callgate.edge_numbers (phone_number_id) values ('x')",
    "select callgate.edge_review_resolve(1, 'x')", "select callgate.wallet_read(gen_random_uuid())",
    "select callgate.epoch_take(0, 0, 1)", "select * from usage_logs"])
def test_the_edge_touches_no_money_and_no_setting(attempt, statement):
    with pytest.raises(REFUSED):
        attempt("callgate_edge", statement)


@pytest.mark.parametrize("role", ["callgate_reader", "callgate_sidecar", "service_role", "anon"])
@pytest.mark.parametrize("statement", [
    "select * from callgate.edge_call_row('c')", "select callgate.edge_trim(30, 10)",
    "delete from callgate.edge_numbers", "select * from callgate.edge_calls_due(1, 1000)"])
def test_nobody_else_does_the_edges_work(attempt, role, statement):
    with pytest.raises(REFUSED):
        attempt(role, statement)


def test_the_operator_keeps_numbers_and_resolves_reviews(attempt, sql):
    company = sql("select company_id from wallets")[0][0]
    attempt("callgate_operator", "insert into callgate.edge_numbers (phone_number_id, number, company_id,"
                                 f" assistant_id) values ('pn', '+15550100200', '{company}', 'a')")
    assert attempt("callgate_reader", "select count(*) from callgate.edge_numbers") == [(1,)]
    attempt("callgate_edge", "select callgate.edge_review_put('c', 'w', null, 0, 0, 0, null)")
    found = attempt("callgate_operator", "select callgate.edge_review_resolve(id, 'seen') from callgate.edge_reviews")
    assert found == [(True,)]
    assert attempt("callgate_reader", "select * from callgate.margin_report('-infinity', 'infinity', null)") == []
