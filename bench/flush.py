"""What a flushed entry costs Postgres: the processor time of the backend that runs callgate.flush().

A private Postgres, and batches as the sidecar sends them, one after the other from partition to
partition.  Processor time, not a rate: it says the same on a machine with other work, give or take a
twentieth.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import contextlib
import os
import random
import sys
import uuid
from pathlib import Path

from private_stack import add_arguments, conclude

EPOCH, FIRST_AT_MS, STEP_MS, AMOUNT = 1, 1_787_300_000_000, 8, -93_000
TYPES = ("bigint", "bigint", "uuid", "bigint", "text", "bigint", "bigint", "bigint", "text", "text", "text",
         "bigint", "boolean", "jsonb")
FLUSH = "select * from callgate.flush(%b, %b, %b, %b, 0, 0, 0, {}, null, null)".format(
    ", ".join(f"%b::{name}[]" for name in TYPES))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=500, help="entries")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--companies", type=int, default=1000)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--before", default="", help="SQL to run first: what it costs without an index, say")
    parser.add_argument("--durable", action="store_true", help="it syncs what it commits")
    add_arguments(parser)
    return parser.parse_args()


class Books:
    """Wallets as the store has them, and the entries that come of their calls."""

    def __init__(self, options):
        self.companies = [uuid.uuid4() for _ in range(options.companies)]
        self.of = [self.companies[p::options.partitions] for p in range(options.partitions)]
        self.states = {company: (0, 0) for company in self.companies}
        self.last = [0] * options.partitions
        self.random = random.Random(1)

    def entry(self, partition):
        from psycopg.types.json import Jsonb
        company = self.random.choice(self.of[partition])
        version, balance = self.states[company]
        self.states[company] = version, balance = version + 1, balance + AMOUNT
        self.last[partition] = n = self.last[partition] + 1
        at, call = FIRST_AT_MS + n * STEP_MS, str(uuid.uuid4())
        meta = Jsonb({  # in the order in which the sidecar writes them
            "late": False, "basis": "reported", "call_id": call, "entry_id": f"{partition}-{EPOCH}-{n}",
            "billed_ms": 62000, "minimum_ms": 0, "destination": "+447911123456", "duration_ms": 61001,
            "ended_at_ms": at, "increment_ms": 1000, "started_at_ms": at - 61001,
            "authorized_at_ms": at - 63000, "connect_fee_micros": 0, "rate_micros_per_minute": 90000})
        return (EPOCH, n, company, version, "usage", AMOUNT, balance, at, call, "", "voice_outbound", 62000,
                False, meta)


def cpu_us(pid):
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000


def measure(options, connection):
    books = Books(options)
    run = connection.execute
    run("insert into public.companies (id) select unnest(%s::uuid[])", (books.companies,))
    run("insert into public.wallets (company_id) select unnest(%s::uuid[])", (books.companies,))
    run("insert into callgate.cursors (partition, epoch) select generate_series(0, %s), %s",
        (options.partitions - 1, EPOCH))
    if options.before:
        run(options.before)
    spent = counted = 0
    for number in range(options.batches):
        partition = number % options.partitions
        last = books.last[partition]
        columns = list(map(list, zip(*(books.entry(partition) for _ in range(options.batch)))))
        begun = cpu_us(connection.info.backend_pid)
        answer = run(FLUSH, (partition, EPOCH, EPOCH if last else 0, last, *columns)).fetchone()
        if number >= options.batches // 10:  # the first make plans and pages
            spent += cpu_us(connection.info.backend_pid) - begun
            counted += options.batch
        if answer[0] != "done" or answer[4:] != (0, 0):
            raise SystemExit(f"bench: the flush answered {answer}")
    (wal,) = run("select wal_bytes::bigint from pg_stat_wal").fetchone()
    return {"backend_us_per_entry": spent / counted,
            "wal_bytes_per_entry": wal / (options.batch * options.batches)}


def show(figures):
    for name, value in figures.items():
        print(f"{name:24} {value:10.1f}")


def main():
    options = arguments()
    if options.build:
        os.environ["CALLGATE_RELEASE_BUILD"] = str(options.build.resolve())
    import psycopg
    from support.postgres_server import PostgresServer
    from support.processes import release_directory
    os.environ["CALLGATE_TEST_BUILD"] = str(release_directory())
    with contextlib.ExitStack() as ending:
        postgres = PostgresServer(durable=options.durable)
        ending.callback(postgres.stop)
        postgres.start()
        postgres.make_template()
        connection = ending.enter_context(
            psycopg.connect(postgres.url(postgres.new_database()), autocommit=True))
        figures = measure(options, connection)
    return conclude(options, figures, show, [])


if __name__ == "__main__":
    sys.exit(main())
