"""What a user would do instead of callgate: one SQL statement per call, driven by pgbench.

SPDX-License-Identifier: Apache-2.0
"""

import re
import subprocess

HOLD_MICROS = 122_001


class SqlHolds:
    """The same hold as a user would have it without callgate: funds and concurrency are checked, the
    hold is noted, in one prepared statement that is its own transaction."""

    def __init__(self, postgres):
        self.postgres, self.database = postgres, "sql_holds"
        self.script = postgres.directory / "hold.sql"
        postgres.execute(f"create database {self.database}")
        for statement in ("""create table wallets (company_id integer primary key, posted bigint not null,
                             held bigint not null default 0, calls integer not null default 0,
                             calls_max integer not null) with (fillfactor = 50)""",
                          """create table holds (company_id integer not null, call_id text not null,
                             amount bigint not null, authorized_at timestamptz not null default now(),
                             primary key (company_id, call_id))""",
                          """insert into wallets select n, 1000000000000000, 0, 0, 2000000000
                             from generate_series(1, 1000) n"""):
            postgres.execute(statement, self.database)
        self.script.write_text(
            "\\set company random(1, :wallets)\n\\set call random(1, 9000000000000000000)\n"
            f"with held as (update wallets set held = held + {HOLD_MICROS}, calls = calls + 1"
            f" where company_id = :company and posted - held >= {HOLD_MICROS} and calls < calls_max"
            " returning company_id)"
            " insert into holds (company_id, call_id, amount)"
            f" select company_id, (:call)::text, {HOLD_MICROS} from held on conflict do nothing;\n")
        self.script.chmod(0o644)

    def rate(self, wallets, clients, seconds):
        from support.postgres_server import BIN
        done = subprocess.run([
            BIN / "pgbench", "-n", "-M", "prepared", "-f", self.script, "-D", f"wallets={wallets}", "-c",
            str(clients), "-j", "1", "-T", str(max(1, round(seconds))), "-h", self.postgres.directory, "-U",
            "postgres", self.database], capture_output=True, text=True, check=True, timeout=120)
        self.postgres.execute("truncate holds", self.database)
        return float(re.search(r"tps = ([\d.]+)", done.stdout)[1])
