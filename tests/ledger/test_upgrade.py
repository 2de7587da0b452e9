"""The migrations of a later version under the sidecars of the one before, which go on flushing.

SPDX-License-Identifier: Apache-2.0
"""

import psycopg
import pytest

from conftest import MIGRATIONS
from flusher import FLUSH, PARTITION, Flusher
from old_sidecar import ENDS, OldSidecar
from support.postgres_server import SIDECAR_ROLE
from test_schema import KIND_RULE

FIRST_VERSION_ENDS = "20261122100900"

# What a sidecar of the first version asks, in its own words.
KEY = ("select r.entry_id, r.amount_micros, r.corrected_micros, r.meta ->> 'billed_ms'"
       " from callgate.key_read(%s, 'usage', %s) r")
PLANS = "select plan_id, version, shadow, guard_ms, cut_warning_ms from callgate.plans order by plan_id"
RECEIPT = "select callgate.receipt_write(%s, 'top_up', %s, %s, '', 'x')"


def migrations(later, ends=FIRST_VERSION_ENDS):
    return [path for path in MIGRATIONS if (path.name.split("_")[0] > ends) == later]


def apply(connection, later, ends=FIRST_VERSION_ENDS):
    for path in migrations(later, ends):
        connection.execute(path.read_text(encoding="utf-8"))


@pytest.fixture
def make_database(postgres):
    def make(ends=FIRST_VERSION_ENDS):
        postgres.execute("create database upgraded")
        with psycopg.connect(postgres.url("upgraded")) as connection:
            apply(connection, later=False, ends=ends)
        return postgres.url("upgraded")

    yield make
    postgres.drop_database("upgraded")


@pytest.fixture
def url(make_database):
    return make_database()


def test_a_sidecar_of_the_first_version_goes_on(url):
    with psycopg.connect(url, autocommit=True) as old, psycopg.connect(url) as migration:
        def sql(statement, *values):
            # Prepared, so that its plans outlive the migration as a sidecar's do.
            cursor = old.execute(statement, values, prepare=True)
            return cursor.fetchall() if cursor.description else []

        def work(number):
            sql(RECEIPT, company, 1000, f"pay-{number}")
            top_up = flusher.entry(company, "top_up", 1000, f"pay-{number}")
            call = flusher.entry(company, reference=f"call-{number}")
            again = flusher.entry(company, reference=f"call-{number}")
            assert flusher.flush(top_up, call, again)[4:] == (0, 1)
            (row,) = sql(KEY, company, call.reference)
            assert row == (call.id, -93000, 0, "62000")
            assert len(sql(PLANS)) == 5

        flusher = Flusher(sql)
        company = flusher.wallet()
        work(1)
        apply(migration, later=True)
        migration.commit()
        work(2)
        assert sql("select count(*) from usage_logs") == [(2,)]
        assert sql("select count(*) from callgate.shadow_calls") == [(0,)]
        assert sql("select distinct cut_repeat_ms, outage_policy from callgate.plans") == [(5000, "deny")]


def test_a_batch_under_way_holds_no_migration_up(url):
    """The migration does not wait for a flush that has not committed."""
    with psycopg.connect(url, autocommit=True) as setup, psycopg.connect(url) as flushing, \
            psycopg.connect(url) as migration:
        flusher = Flusher(lambda statement, *values: [*setup.execute(statement, values)]
                          if statement.startswith("select") else setup.execute(statement, values))
        company = flusher.wallet()
        entry = flusher.entry(company)
        columns = [[value] for value in vars(entry).values()]
        row = flushing.execute(FLUSH, (PARTITION, 1, 0, 0, 0, 0, 0, *columns, None, None)).fetchone()
        assert row[0] == "done"
        migration.execute("set lock_timeout = '5s'")
        apply(migration, later=True)
        migration.commit()
        flushing.commit()
        flusher.last = row[2], row[3]
        assert flusher.flush(flusher.shadow(company, "allowed", 1, 1787300000000))[0] == "done"
        assert setup.execute("select count(*) from callgate.shadow_calls").fetchone() == (1,)


def test_a_flush_that_hangs_leaves_the_rule_of_kinds_as_it_is(url):
    """It is tried for a while, and given up: dearer, as right, and in nobody's way."""
    with psycopg.connect(url, autocommit=True) as setup, psycopg.connect(url) as flushing, \
            psycopg.connect(url) as migration:
        def of(connection, statement):
            return connection.execute(statement).fetchone()[0]

        rule = of(setup, KIND_RULE)
        flushing.execute("lock table usage_logs in row exclusive mode")
        migration.execute("set lock_timeout = '5s'")
        apply(migration, later=True)
        assert of(migration, "show lock_timeout") == "5s"
        migration.commit()
        assert of(setup, KIND_RULE) == rule and "OR" not in rule
        flushing.rollback()
        (again,) = [path for path in migrations(later=True) if path.name.endswith("_kinds.sql")]
        migration.execute(again.read_text(encoding="utf-8"))
        assert of(migration, "show lock_timeout") == "5s"
        migration.commit()
        assert " OR " in of(setup, KIND_RULE)


@pytest.fixture
def before(postgres, make_database):
    """A database as the version before left it, and its sidecar; `migrate` applies one statement."""
    owner = psycopg.connect(make_database(ENDS), autocommit=True)
    logged_in = psycopg.connect(postgres.url("upgraded", SIDECAR_ROLE), autocommit=True)

    def run(statement, *values):
        # Prepared, so that its plans outlive each migration as a sidecar's do.
        return logged_in.execute(statement, values, prepare=True).fetchall()

    def migrate(text):
        with owner.transaction():
            owner.execute(text)

    try:
        yield OldSidecar(owner.execute, run), migrate
    finally:
        owner.close()
        logged_in.close()


def test_a_sidecar_of_the_version_before_goes_on_through_every_migration(before):
    sidecar, migrate = before
    sidecar.work()
    for path in migrations(later=True, ends=ENDS):
        migrate(path.read_text(encoding="utf-8"))
        sidecar.work()
    sidecar.work()


@pytest.mark.parametrize("migration", [
    "alter function callgate.terms_latest() rename to terms_newest",
    "drop function callgate.turn_take(integer, integer)",
    "revoke execute on function callgate.cursors_read(text[]) from callgate_sidecar",
    "alter table callgate.plans alter column guard_ms type bigint, drop column shadow",
    "alter table callgate.orphans add column must_be_said text not null default 'x';"
    " alter table callgate.orphans alter column must_be_said drop default",
    "alter table callgate.receipts rename column asked_by to asked_for",
])
def test_a_migration_that_it_does_not_survive_is_noticed(before, migration):
    """So that the test above can fail, and does for what it is there to catch."""
    sidecar, migrate = before
    sidecar.work()
    migrate(migration)
    with pytest.raises((psycopg.Error, AssertionError)):
        sidecar.work()
