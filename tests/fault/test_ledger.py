"""The ledger dies in the middle of commits, goes back in time, stops, and fills its disk.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest

from scenario import answers, begin, finish
from support.invariants import check_invariants
from support.postgres_server import BIN, PostgresServer
from support.processes import as_user, is_root
from support.strace import Injection
from support.waiting import wait_until


def test_sessions_end_in_the_middle_of_commits(make_stack, seed):
    """Postgres ends them wherever they are; the commit was made, or it was not."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    for _ in range(15):
        stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                  " where datname = current_database() and pid <> pg_backend_pid()")
        traffic.wait_for(15)
    finish(stack, traffic)


@pytest.mark.long
def test_postgres_killed_in_the_middle_of_commits(make_stack, seed):
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    for _ in range(3):
        stack.postgres.restart()
        traffic.wait_for(50)
    finish(stack, traffic)


def test_postgres_stops_and_goes_on(make_stack, seed):
    """Every process of it: connections stay open and silent."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    for seconds in (0.3, 2.0):
        signal_all(stack.postgres, signal.SIGSTOP)
        time.sleep(seconds)
        signal_all(stack.postgres, signal.SIGCONT)
        traffic.wait_for(50)
    finish(stack, traffic)


def signal_all(postgres, number):
    for pid in postgres.sessions():
        with contextlib.suppress(ProcessLookupError):
            subprocess.run(["kill", f"-{int(number)}", str(pid)], check=False)


def test_the_ledger_goes_back_to_an_older_copy(make_stack, seed):
    """As after a failover to a standby that lagged: what it lost is still in the store's
    streams, also what was answered COMMITTED; it comes again, under the same entry ids."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    for more in (20, 200):
        copy = stack.postgres.copy_data()
        traffic.wait_for(more)
        before = stack_count(stack)
        stack.postgres.start_from(copy)
        traffic.wait_for(50)
        wait_until(lambda: stack_count(stack) >= before, 30, "what was lost has come again")
    finish(stack, traffic)


def stack_count(stack):
    wait_until(lambda: answers(stack), 10)
    return stack.value("select count(*) from wallet_transactions")


def test_the_ledger_went_back_and_the_store_lost_its_tail(make_stack, seed):
    """Both at once: what neither of them has any more is what was only ACCEPTED, and what was
    COMMITTED to the one and trimmed from the other; nothing was trimmed here."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    copy = stack.postgres.copy_data()
    traffic.wait_for(100)
    stack.postgres.kill()
    stack.redis.restart()  # `always`: its history is whole, but nobody can confirm it yet
    stack.postgres.put_data(copy)
    stack.postgres.start_again()
    traffic.wait_for(50)
    finish(stack, traffic)


class Standby:
    """A streaming standby of a server; promoted, it takes the server's place."""

    def __init__(self, primary):
        self.primary = primary
        self.server = PostgresServer()
        subprocess.run([*as_user("postgres"), BIN / "pg_basebackup", "-h", primary.directory,
                        "-U", "postgres", "-D", self.server.data, "-R", "-X", "stream",
                        "--checkpoint=fast", "--no-sync"],
                       check=True, capture_output=True, cwd="/")
        self.server.process.start()
        self.server.process.wait_until_ready(self.server.answers)
        wait_until(lambda: self.lag() == 0, 30, "the standby is in step")

    def lag(self):
        rows = self.primary.rows("select coalesce(pg_current_wal_lsn() - replay_lsn, 1)"
                                 " from pg_stat_replication")
        return rows[0][0] if rows else None

    def promote(self):
        self.server.execute("select pg_promote()")


def test_a_failover_to_a_streaming_standby_that_lags(make_stack, seed):
    primary = PostgresServer()
    standby = None
    try:
        primary.start()
        primary.make_template()
        stack = make_stack(sidecars=2, partitions=4, appendfsync="always", proxied=True,
                           postgres=primary)
        traffic = begin(stack, seed)
        standby = Standby(primary)
        signal_all(standby.server, signal.SIGSTOP)  # from here on it lags
        traffic.wait_for(100)
        primary.kill()
        primary.wait_until_gone()
        signal_all(standby.server, signal.SIGCONT)
        standby.promote()
        stack.take_postgres(standby.server)
        traffic.wait_for(100)
        finish(stack, traffic)
        stack.stop_sidecars()
    finally:
        for server in (primary, standby and standby.server):
            if server:
                server.stop()


@pytest.fixture
def small_disk():
    """A file system with little room; needs to be allowed to mount."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="cg-small-", dir="/tmp"))
    owner = "uid=postgres,gid=postgres,mode=700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=48m,{owner}", "tmpfs", place],
                             check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)
    place.rmdir()


@pytest.mark.long
def test_the_disk_of_the_ledger_is_full(make_stack, seed, postgres, small_disk):
    """53100 is no reason to set anything aside: it waits, and goes through when there is room."""
    assert is_root()
    postgres.execute(f"create tablespace small location '{small_disk}'")
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    try:
        stack.stop_sidecars()
        postgres.execute(f"alter database {stack.database} set tablespace small")
        for sidecar in stack.sidecars:
            sidecar.start()
        traffic = begin(stack, seed)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(8192))
        wait_until(lambda: "No space left on device" in postgres.process.text(), 60,
                   "Postgres has met the full disk", every=0.1)
        traffic.wait_for(50)  # the gate goes on
        filler.unlink()
        traffic.wait_for(50)
        finish(stack, traffic)
    finally:
        stack.stop_sidecars()
        postgres.drop_database(stack.database)
        postgres.execute("drop tablespace small")


@pytest.mark.long
def test_a_slow_disk_under_the_ledger(make_stack, seed):
    """COMMITTED is answered later, and no less true."""
    server = PostgresServer(durable=True)
    try:
        server.start()
        server.make_template()
        stack = make_stack(sidecars=2, partitions=4, appendfsync="always", postgres=server)
        traffic = begin(stack, seed)
        with contextlib.ExitStack() as slow:
            for pid in server.pids_of("callgated"):
                slow.enter_context(Injection(pid, "fdatasync", "delay_enter=200000"))
            traffic.wait_for(60, timeout=60)
        finish(stack, traffic)
        stack.stop_sidecars()
    finally:
        server.stop()


def test_a_receipt_that_comes_after_its_entry_does_not_wait_for_ever(make_stack):
    """What a ledger that went back may be left with: the entry came again before its receipt."""
    stack = make_stack(partitions=1, receipt_after_ms=200)
    company = stack.client.funded(5_000_000)
    stack.wait_until_flushed(company)
    entry = stack.value("select entry_id from callgate.receipts")
    stack.sql("update callgate.receipts set entry_id = null")
    wait_until(lambda: stack.value("select entry_id from callgate.receipts") == entry, 10,
               "the receipt is told of its entry")
    check_invariants(stack)
