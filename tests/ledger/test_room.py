"""The room itself: its programs against a database of their own, and its runner of migrations.

SPDX-License-Identifier: Apache-2.0
"""

import os
import subprocess

import psycopg
import pytest

from conftest import MIGRATIONS
from support.postgres_server import SIDECAR_ROLE
from support.processes import program


def run(name, url, *arguments, **env):
    done = subprocess.run([program(name), *arguments], check=False, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "CG_TEST_DATABASE_URL": url, **env})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["ledger_integration", "ledger_corrections", "ledger_recovery"])
def test_the_room_keeps_its_promises(postgres, database, name):
    run(name, postgres.url(database),
        CG_TEST_SIDECAR_URL=postgres.url(database, SIDECAR_ROLE))


def test_the_runner_applies_once_and_records(postgres):
    postgres.execute("create database runner")
    url = postgres.url("runner")
    versions = [path.name.split("_")[0] for path in MIGRATIONS]
    assert run("ledger_migrate", url, "dry").split() == versions
    assert run("ledger_migrate", url).split() == versions
    assert run("ledger_migrate", url).split() == []
    with psycopg.connect(url) as connection:
        assert connection.execute("select version from supabase_migrations.schema_migrations order by 1").fetchall() \
            == [(version,) for version in versions]


def test_two_runners_follow_one_another(postgres):
    postgres.execute("create database runners")
    env = {**os.environ, "CG_TEST_DATABASE_URL": postgres.url("runners")}
    both = [subprocess.Popen([program("ledger_migrate")], env=env, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
    applied = [child.communicate(timeout=60)[0].split() for child in both]
    assert [child.returncode for child in both] == [0, 0]
    assert sorted(map(len, applied)) == [0, len(MIGRATIONS)]


def test_a_failing_migration_is_told_and_leaves_nothing(postgres):
    postgres.execute("create database broken")
    postgres.execute("create table wallets (x int)", "broken")
    done = subprocess.run([program("ledger_migrate")], check=False, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "CG_TEST_DATABASE_URL": postgres.url("broken")})
    assert done.returncode == 1
    assert "callgate_tables" in done.stderr and "wallets" in done.stderr
    with psycopg.connect(postgres.url("broken")) as connection:
        assert connection.execute("select to_regclass('public.usage_logs')").fetchone() == (None,)
