"""A private Postgres 15: unix socket only, every test its own database.

SPDX-License-Identifier: Apache-2.0
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import uuid

import psycopg

from support.processes import Process, as_user, is_root, program
from support.shifted_clock import ShiftedClock
from support.waiting import wait_until

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
SIDECAR_ROLE = "callgated"
EDGE_ROLE = "callgate_edged"


# What anybody's server has: it syncs what it commits, and has memory for what is hot.
AS_IN_PRODUCTION = ["-c", "shared_buffers=512MB", "-c", "max_wal_size=4GB", "-c", "wal_compression=on"]
WITHOUT_DISK = ["-c", "shared_buffers=64MB", "-c", "fsync=off", "-c", "full_page_writes=off"]


def sessions_of(data):
    """Processes that work in this data directory."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == data:
                    found.append(int(entry.name))
            except OSError:  # it has ended, or is none of ours
                continue
    return found


class PostgresServer:
    """One cluster; databases are copied from a migrated template."""

    TEMPLATE = "callgate_template"

    def __init__(self, durable=False, movable_clock=False, max_connections=200):
        """`durable`: it syncs what it commits, as anybody's does; tests go without.
        `movable_clock`: a test may set its clock."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-postgres-", dir="/tmp"))
        if is_root():
            shutil.chown(self.directory, "postgres")
        self.data = self.directory / "data"
        self.socket = self.directory / ".s.PGSQL.5432"
        self.clock = ShiftedClock(self.directory / "clock-offset") if movable_clock else None
        self.process = Process("postgres", [
            BIN / "postgres", "-D", self.data, "-k", self.directory, "-c", "listen_addresses=",
            "-c", f"max_connections={max_connections}",
            *(AS_IN_PRODUCTION if durable else WITHOUT_DISK),
        ], self.directory.with_suffix(".log"), user="postgres",
            env=self.clock and self.clock.environment)

    def start(self):
        if not self.data.exists():
            subprocess.run([*as_user("postgres"), BIN / "initdb", "-D", self.data, "-U", "postgres",
                            "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
                           check=True, capture_output=True, cwd="/")
        self.process.start()
        self.process.wait_until_ready(self.answers)
        return self

    def answers(self):
        return subprocess.run([BIN / "pg_isready", "-q", "-h", self.directory],
                              check=False).returncode == 0

    def url(self, database, user="postgres"):
        return f"postgresql://{user}@/{database}?host={self.directory}&port=5432"

    def execute(self, statement, database="postgres"):
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def rows(self, statement, parameters=None):
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()

    def pids_of(self, role):
        """Of this role's sessions."""
        return [row[0] for row in self.rows("select pid from pg_stat_activity where usename = %s", [role])]

    def sessions(self):
        """All its processes, its own first."""
        return sorted(sessions_of(self.data))

    def make_template(self):
        """A database as `callgate migrate` leaves it, and the role that sidecars log in with."""
        self.execute(f"create database {self.TEMPLATE}")
        subprocess.run([program("callgate"), "migrate"], check=True, capture_output=True,
                       env={**os.environ, "CALLGATE_DATABASE_URL": self.url(self.TEMPLATE)})
        self.execute(f"create role {SIDECAR_ROLE} login in role callgate_sidecar")
        self.execute(f"create role {EDGE_ROLE} login in role callgate_edge")

    def new_database(self):
        name = f"cg_{uuid.uuid4().hex}"
        self.execute(f"create database {name} template {self.TEMPLATE}")
        return name

    def drop_database(self, name):
        self.execute(f"drop database if exists {name} with (force)")

    def halt(self):
        """A fast shutdown: sessions are ended, and it is away until it is started again."""
        self.process.signal(signal.SIGINT)
        self.process.wait(60)

    def shut(self, database):
        """No new sessions, and the present ones ended: to whoever uses it Postgres is away."""
        self.execute(f"alter database {database} allow_connections false")
        self.execute(f"select pg_terminate_backend(pid) from pg_stat_activity"
                     f" where datname = '{database}'")

    def open(self, database):
        self.execute(f"alter database {database} allow_connections true")

    def kill(self):
        """kill -9 of the postmaster; its backends notice and end."""
        self.process.kill()

    def restart(self):
        """kill -9, then again on the same files."""
        self.kill()
        self.start_again()

    def start_again(self, timeout=30):
        """After a kill: a new postmaster is refused while a session of the former one lives."""
        def started():
            if not self.process.is_alive():
                self.process.start()
            return self.answers()
        wait_until(started, timeout, f"postgres is up again\n{self.process.tail()}", every=0.05)

    def copy_data(self):
        """A copy of the whole cluster, as a standby would have it that is no further; ends it
        for that moment."""
        copy = self.directory / f"copy-{uuid.uuid4().hex}"
        self.kill()
        self.wait_until_gone()
        subprocess.run(["cp", "-a", self.data, copy], check=True)
        (copy / "postmaster.pid").unlink(missing_ok=True)
        self.start_again()
        return copy

    def put_data(self, copy):
        """What a dead server will start from; the copy is used up."""
        self.wait_until_gone()
        shutil.rmtree(self.data)
        copy.rename(self.data)

    def start_from(self, copy):
        """Dies, and starts on what copy_data() gave a while ago: what came since is lost."""
        self.kill()
        self.put_data(copy)
        self.start_again()

    def wait_until_gone(self):
        """The last session of a killed server writes no more."""
        assert not self.process.is_alive()
        wait_until(lambda: not sessions_of(self.data), 20, "every session has ended")

    def stop(self):
        # An immediate shutdown: kill -9 would leave its shared memory behind.
        self.process.signal(signal.SIGQUIT)
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        # No statement of ours may crash the server that everything is kept in; nobody asked it to.
        crashes = [line for line in self.process.log.read_text(errors="replace").splitlines()
                   if "terminated by signal 11" in line]
        assert not crashes, f"{crashes}; see {self.process.log}"
        self.process.log.unlink(missing_ok=True)
