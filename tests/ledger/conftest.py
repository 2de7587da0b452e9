"""A private Postgres, and for every test a database of its own with the migrations applied.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib

import psycopg
import pytest

from support.postgres_server import SIDECAR_ROLE, PostgresServer

MIGRATIONS = sorted((pathlib.Path(__file__).resolve().parents[2] / "sql" / "migrations").glob("*.sql"))


class PlainPostgres(PostgresServer):
    """Its template is made from the files alone, as any other runner would apply them."""

    def make_template(self):
        self.execute(f"create database {self.TEMPLATE}")
        for path in MIGRATIONS:
            with psycopg.connect(self.url(self.TEMPLATE)) as connection:
                connection.execute(path.read_text(encoding="utf-8"))
        self.execute(f"create role {SIDECAR_ROLE} login in role callgate_sidecar")


@pytest.fixture(scope="session")
def postgres():
    server = PlainPostgres()
    try:
        server.start()
        server.make_template()
        yield server
    finally:
        server.stop()


@pytest.fixture
def database(postgres):
    name = postgres.new_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture
def sql(postgres, database):
    """Runs a statement as the owner; rows of answers come back as a list."""
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        def run(statement, *values):
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

        yield run
