"""What Postgres may answer a flush, one SQLSTATE of each kind, and what becomes of the entries:
they wait and go through by themselves, or their text or their wallet is set aside, or everything
waits for an operator.  Nothing is lost and nothing booked twice.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import psycopg
import pytest

from support.contract import pb
from support.invariants import check_invariants
from support.processes import is_root
from support.waiting import wait_until
from support.wire import Partition

LONG_MS = 6_600_000  # 110 minutes


@pytest.fixture
def stack(make_stack):
    return make_stack(partitions=1)


class Company:
    """Has running calls: their Settles are accepted whatever becomes of the ledger."""

    def __init__(self, stack):
        self.client = stack.client
        self.id = self.client.funded(100_000_000)
        self.calls = [f"call-{n}" for n in range(9)]
        for call in self.calls:
            self.client.authorize(self.id, call, start=True)
        stack.wait_until_flushed(self.id)

    def settle(self):
        self.client.settle(self.id, self.calls.pop(), LONG_MS, durability=pb.DURABILITY_ACCEPTED)


@pytest.fixture
def company(stack):
    return Company(stack)


def booked(stack, company):
    return stack.value("select count(*) from wallet_transactions where company_id = %s and type = 'usage'",
                       [company.id])


def aside(stack):
    return stack.sql("select kind, count(*) from callgate.quarantine group by kind order by kind")


def wait_until_logged(stack, sqlstate):
    wait_until(lambda: f"sqlstate={sqlstate}" in stack.sidecar.process.text(), 20, f"{sqlstate} is in the log")


def end_connections(stack):
    """So that the sidecar's next ones have what was set for its role or database."""
    stack.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'callgated'")


@contextlib.contextmanager
def setting(stack, name, value):
    stack.sql(f"alter role callgated in database {stack.database} set {name} = '{value}'")
    end_connections(stack)
    try:
        yield
    finally:
        stack.sql(f"alter role callgated in database {stack.database} reset {name}")
        end_connections(stack)


@contextlib.contextmanager
def locked(stack):
    with psycopg.connect(stack.url) as connection:
        connection.execute("select from callgate.cursors for update")
        yield connection


@pytest.mark.parametrize("name, sqlstate", [("statement_timeout", "57014"), ("lock_timeout", "55P03")])
def test_what_takes_too_long_is_asked_again(stack, company, name, sqlstate):
    with setting(stack, name, "100ms"):
        with locked(stack):
            for _ in range(3):
                company.settle()
            wait_until_logged(stack, sqlstate)
            assert booked(stack, company) == 0
        wait_until(lambda: booked(stack, company) == 3, 20)
    assert aside(stack) == []
    check_invariants(stack)


def test_a_conflict_of_transactions_is_asked_again(stack, company):
    with setting(stack, "default_transaction_isolation", "repeatable read"):
        with psycopg.connect(stack.url) as other:
            other.execute("update callgate.cursors set updated_at = now()")
            company.settle()
            wait_until(lambda: stack.value("select count(*) from pg_stat_activity where usename = 'callgated'"
                                           " and wait_event_type = 'Lock'") > 0, 20)
            other.commit()
        wait_until_logged(stack, "40001")
        wait_until(lambda: booked(stack, company) == 1, 20)
    assert aside(stack) == []
    check_invariants(stack)


def test_connections_that_are_ended_are_made_again(stack, company):
    for n in range(5):
        company.settle()
        end_connections(stack)
    wait_until(lambda: booked(stack, company) == 5, 20)
    assert aside(stack) == []
    check_invariants(stack)


def test_a_ledger_that_became_read_only_is_left_and_found_again(stack, company):
    stack.sql(f"alter database {stack.database} set default_transaction_read_only = on")
    end_connections(stack)
    company.settle()
    wait_until(lambda: "read-only" in stack.sidecar.process.text(), 20, "it is in the log")
    assert booked(stack, company) == 0
    stack.sql("set default_transaction_read_only = off")
    stack.sql(f"alter database {stack.database} reset default_transaction_read_only")
    wait_until(lambda: booked(stack, company) == 1, 20)
    assert aside(stack) == []
    check_invariants(stack)


@pytest.mark.skipif(not is_root(), reason="a small file system is mounted")
def test_a_full_disk_is_waited_for(stack, company):
    place = pathlib.Path(tempfile.mkdtemp(prefix="cg-full-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    try:
        shutil.chown(place, "postgres")
        place.chmod(0o700)
        stack.sql(f"create tablespace tiny location '{place}'")
        stack.sql("alter table usage_logs set tablespace tiny")
        stack.sql("create table filler (t text) tablespace tiny")
        with pytest.raises(psycopg.errors.DiskFull):
            stack.sql("insert into filler select repeat(md5(n::text), 30) from generate_series(1, 10000) n")
        company.settle()
        wait_until_logged(stack, "53100")
        assert booked(stack, company) == 0 and aside(stack) == []
        stack.sql("drop table filler")
        stack.sql("checkpoint")
        wait_until(lambda: booked(stack, company) == 1, 20)
        assert aside(stack) == []
        check_invariants(stack)
        stack.sql("alter table usage_logs set tablespace pg_default")
        stack.sql("alter index usage_logs_pkey set tablespace pg_default")
        stack.sql("checkpoint")
        stack.sql("drop tablespace tiny")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
        place.rmdir()


PAYLOADS = {
    "22021": lambda p, c: p.credit(c, 7, "bad", type=3, description=b"caf\xe9"),
    "22P05": lambda p, c: p.charge(c, 7, "bad", meta=b"\x01k\x01\x00\x00"),
}


@pytest.mark.parametrize("sqlstate", PAYLOADS)
def test_text_that_postgres_refuses_is_taken_away_and_the_money_goes(stack, company, sqlstate):
    """Beside others of the same batch, which are found by halving."""
    partition = Partition(stack.redis.client, 0, stack.value("select epoch from callgate.cursors"))
    with locked(stack):
        for n in range(9):
            company.settle()
            if n == 4:
                PAYLOADS[sqlstate](partition, uuid.UUID(company.id).bytes)
    stack.wait_until_flushed(company.id)
    assert aside(stack) == [("payload", 1)]
    assert booked(stack, company) == 9 + (sqlstate == "22P05")
    stack.sql("select callgate.quarantine_dismiss(entry_id, 'seen') from callgate.quarantine")
    check_invariants(stack)


REFUSED = {
    "22003": ("alter table usage_logs alter column quantity type numeric(14, 12)",
              "alter table usage_logs alter column quantity type numeric(30, 12)"),
    "23502": ("alter table usage_logs add column must_be_there integer not null",
              "alter table usage_logs drop column must_be_there"),
    "23503": ("create table kinds (kind text collate \"C\" primary key);"
              " alter table usage_logs add constraint known foreign key (resource_type) references kinds",
              "alter table usage_logs drop constraint known"),
    "23514": ("alter table wallet_transactions add constraint none check (type <> 'usage')",
              "alter table wallet_transactions drop constraint none"),
}


@pytest.mark.parametrize("sqlstate", REFUSED)
def test_a_row_that_postgres_refuses_sets_its_wallet_aside_until_it_may(stack, company, sqlstate):
    other = stack.client.funded(5)
    stack.wait_until_flushed(other)
    for statement in REFUSED[sqlstate][0].split(";"):
        stack.sql(statement)
    company.settle()
    company.settle()
    wait_until(lambda: aside(stack) == [("wallet", 2)], 20, "both are set aside")
    # Another wallet goes on.
    stack.client.credit(other, 5, durability=pb.DURABILITY_COMMITTED)
    assert booked(stack, company) == 0
    stack.sql(REFUSED[sqlstate][1])
    assert stack.sql("select ret_outcome, ret_applied, ret_lost from callgate.quarantine_retry(%s)",
                     [company.id]) == [("applied", 2, 0)]
    company.settle()
    stack.wait_until_flushed(company.id)
    assert booked(stack, company) == 3
    check_invariants(stack)


FOR_AN_OPERATOR = {
    "42501": ("revoke usage on schema callgate from callgate_sidecar",
              "grant usage on schema callgate to callgate_sidecar"),
    "42P01": ("alter table usage_logs rename to usage_logs_away", "alter table usage_logs_away rename to usage_logs"),
    "P0001": ("create function public.no() returns trigger language plpgsql as"
              " 'begin raise exception ''no''; end'; create trigger no before insert on usage_logs"
              " for each row execute function public.no()", "drop trigger no on usage_logs"),
}


@pytest.mark.parametrize("sqlstate", FOR_AN_OPERATOR)
def test_a_schema_that_does_not_fit_stops_the_flush_and_sets_nothing_aside(stack, company, sqlstate):
    there, back = FOR_AN_OPERATOR[sqlstate]
    with psycopg.connect(stack.url, autocommit=True) as connection:
        connection.execute(there)
    company.settle()
    wait_until_logged(stack, sqlstate)
    # Gating goes on.
    company.settle()
    assert booked(stack, company) == 0 and aside(stack) == []
    stack.sql(back)
    wait_until(lambda: booked(stack, company) == 2, 20)
    assert aside(stack) == []
    check_invariants(stack)
