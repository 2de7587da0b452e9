"""Redis, Postgres and sidecars as one test needs them.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import pathlib
import shutil
import tempfile

import psycopg

from support.client import Client, new_company
from support.postgres_server import SIDECAR_ROLE
from support.processes import Process, program
from support.proxy import Proxy
from support.redis_server import RedisServer
from support.waiting import wait_until


class Sidecar:
    """One callgated; `executable`: another program that is one."""

    def __init__(self, stack, number, directory, settings, executable="callgated"):
        self.socket = stack.directory / f"callgated-{number}.sock"
        self.address = f"unix:{self.socket}"
        flags = []
        for name, value in settings.items():
            flags += [f"--{name.replace('_', '-')}", str(value).replace("{socket}", str(self.socket))]
        self.process = Process(f"callgated-{number}", [
            program(executable, directory), "--listen", self.address,
            "--redis-url", stack.redis_url, "--database-url", stack.sidecar_url, *flags,
        ], stack.directory / f"callgated-{number}.log")
        self.client = Client(self.address)

    def start(self, timeout=30):
        self.launch()
        self.wait_until_serving(timeout)
        return self

    def launch(self):
        """Started, not waited for."""
        self.process.start()

    def wait_until_serving(self, timeout=30):
        self.process.wait_until_ready(self.client.is_serving, timeout)

    def kill(self):
        self.process.kill()

    def restart(self):
        self.kill()
        self.start()

    def terminate(self, timeout=30):
        return self.process.terminate(timeout)


class Stack:
    def __init__(self, postgres, sidecars=1, directory=None, appendfsync="everysec",
                 movable_clock=False, proxied=False, hides_restarts=False, redis=None,
                 **settings):
        """`settings` become flags of every sidecar; `directory`: of another build; `proxied`: sidecars,
        not the tests, reach both servers through redis_proxy (see Proxy for `hides_restarts`)
        and postgres_proxy; `redis`: what stands in place of a server of the stack's own, not
        started yet."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-stack-", dir="/tmp"))
        self.postgres = postgres
        self.redis = redis or RedisServer(appendfsync, movable_clock)
        self.redis_url = self.redis.url
        self.database = postgres.new_database()
        self.url = postgres.url(self.database)
        self.sidecar_url = postgres.url(self.database, SIDECAR_ROLE)
        self.proxies = []
        if proxied:
            self.proxies = [Proxy(self.redis.socket, hides_restarts), Proxy(postgres.socket)]
            self.redis_proxy, self.postgres_proxy = self.proxies
            self.redis_url = f"redis://127.0.0.1:{self.redis_proxy.port}"
            self.sidecar_url = (f"postgresql://{SIDECAR_ROLE}@127.0.0.1:{self.postgres_proxy.port}"
                                f"/{self.database}?sslmode=disable&gssencmode=disable")
        self.connection = None
        self.build = directory
        # A clock that a test moves by hours is meant to.
        self.settings = {"clock_skew_max_ms": 0, **settings} if movable_clock else settings
        self.sidecars = []
        self.first_count = sidecars
        self.before_stop = []  # what a test wants to be called

    def start(self):
        self.redis.start()
        for _ in range(self.first_count):
            self.add_sidecar()
        return self

    def add_sidecar(self, directory=None, executable="callgated", **settings):
        sidecar = Sidecar(self, len(self.sidecars) + 1, directory or self.build,
                          {**self.settings, **settings}, executable)
        self.sidecars.append(sidecar)
        return sidecar.start()

    @property
    def sidecar(self):
        return self.sidecars[0]

    @property
    def client(self):
        return self.sidecars[0].client

    def sql(self, statement, parameters=None):
        """Rows, as the owner; each statement its own transaction."""
        if self.connection is None or self.connection.closed:
            self.connection = psycopg.connect(self.url, autocommit=True)
        cursor = self.connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def value(self, statement, parameters=None):
        return self.sql(statement, parameters)[0][0]

    def add_plan(self, plan, rates_of="starter", rate=None, **columns):
        """A plan of the test's own: with another one's rates, or with one of its own for +1
        (per minute, connect fee, minimum, increment); answers when it is in force."""
        names = "".join(f", {name}" for name in columns)
        self.sql(f"insert into callgate.plans (plan_id{names})"
                 f" values (%s{', %s' * len(columns)})", [plan, *columns.values()])
        if rate is None:
            self.sql("insert into callgate.rates select %s, currency, resource_type, prefix,"
                     " rate_micros_per_minute, connect_fee_micros, minimum_ms, increment_ms"
                     " from callgate.rates where plan_id = %s", [plan, rates_of])
        else:
            self.sql("insert into callgate.rates values (%s, 'usd', 'voice_outbound', '+1',"
                     " %s, %s, %s, %s)", [plan, *rate])
        company = new_company()
        self.client.create_wallet(company, plan_id=plan)
        for sidecar in self.sidecars:
            wait_until(lambda s=sidecar: s.client.authorize(
                company, "", validate_only=True).HasField("price"), 5, f"{plan} is in force")

    @contextlib.contextmanager
    def postgres_away(self):
        """No new sessions, and the present ones ended: to this stack Postgres is away."""
        self.postgres.execute(f"alter database {self.database} allow_connections false")
        try:
            if self.connection is not None:
                self.connection.close()
            self.postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity"
                                  f" where datname = '{self.database}'")
            yield
        finally:
            self.postgres.execute(f"alter database {self.database} allow_connections true")

    def environment(self):
        """What the operator's command reads."""
        return {"CALLGATE_ADDRESS": self.sidecar.address, "CALLGATE_REDIS_URL": self.redis.url,
                "CALLGATE_DATABASE_URL": self.url}

    def ledger_balance(self, company):
        """In micros."""
        return self.value("select callgate.to_micros(balance, currency) from wallets"
                          " where company_id = %s", [company])

    def wait_until_flushed(self, *companies, timeout=20):
        """Until the ledger has everything that the store says was posted."""
        for company in companies:
            wait_until(lambda: self.client.balance(company).posted_micros
                       == self.ledger_balance(company),
                       timeout, f"the entries of {company} are in the ledger")

    def take_postgres(self, server):
        """Another server has this one's place, with the same databases; sidecars reach it through
        their proxy."""
        self.postgres = server
        self.postgres_proxy.upstream = server.socket
        self.postgres_proxy.reset_all()
        if self.connection is not None:
            self.connection.close()
        self.url = server.url(self.database)

    def stop_sidecars(self):
        """SIGTERM, in order."""
        for sidecar in self.sidecars:
            if sidecar.process.is_alive():
                sidecar.terminate()
        if self.connection is not None:
            self.connection.close()

    def logs(self):
        parts = []
        for sidecar in self.sidecars:
            parts.append(f"--- {sidecar.process.name}\n{sidecar.process.tail(80)}")
        parts.append(f"--- redis\n{self.redis.process.tail(20)}")
        return "\n".join(parts)

    def complaints(self):
        """What a sanitizer or an assertion of ours said, with what follows it."""
        words = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                 "ThreadSanitizer", "assertion", "Assertion")
        found = []
        for sidecar in self.sidecars:
            lines = sidecar.process.text().splitlines()
            at = next((n for n, line in enumerate(lines) if any(w in line for w in words)), None)
            if at is not None:
                found.append("\n".join([sidecar.process.name, *lines[at:at + 40]]))
        return found

    def stop(self):
        """Ends everything; answers what the sidecars complained about on their way out."""
        for end in self.before_stop:
            end()
        for sidecar in self.sidecars:
            sidecar.client.close()
            if sidecar.process.is_alive():
                try:
                    sidecar.process.terminate()
                except AssertionError:
                    sidecar.process.kill()
        complaints = self.complaints()
        if self.connection is not None:
            self.connection.close()
        for proxy in self.proxies:
            proxy.close()
        self.redis.stop()
        if self.postgres.process.is_alive():
            self.postgres.drop_database(self.database)
        shutil.rmtree(self.directory, ignore_errors=True)
        return complaints
