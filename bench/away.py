"""Postgres away for minutes while calls go on: what they notice, and how long the ledger takes after.

A private stack with a Postgres that syncs what it commits.  Whole calls are begun at a fixed rate
(Authorize with start, then Settle; --rate of each) before, while Postgres is stopped, and after its
return.  Reported for each of the three: Authorize's and Settle's percentiles, from when each call was
due; the lag; then how long the ledger took to catch up under the same load, whether everything was
booked in order, and whether anything is missing.  With --stop-load the load ends at Postgres's return,
and the ledger has the machine to itself: its own greatest rate.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from private_stack import add_arguments, conclude, private_stack, say

CAUGHT_UP_SECONDS = 1  # of load: the lag that the flush may have at any time
PHASES = ("before", "away", "after")

# Within a partition, batches are committed one after the other, each by one transaction.
DISORDER = """
    with entry as (
      select company_id, version, xmin::text::bigint as transaction,
             string_to_array(entry_id, '-')::bigint[] as id from wallet_transactions
    ), beside as (
      select transaction, version,
             lag(transaction) over (partition by id[1] order by id) as transaction_before,
             lag(version) over (partition by company_id order by id) as version_before
        from entry
    )
    select count(*) from beside
     where transaction < transaction_before or version <> coalesce(version_before, 0) + 1
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--for", type=float, default=300, dest="away", help="seconds; default 300")
    parser.add_argument("--rate", type=int, default=2000, help="calls per second; default 2000")
    parser.add_argument("--beside", type=float, default=30, help="seconds measured before")
    parser.add_argument("--companies", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--stop-load", action="store_true", help="when Postgres returns")
    parser.add_argument("--catch-up", type=float, default=120, help="given up after so long")
    add_arguments(parser)
    return parser.parse_args()


class Generator:
    """callgate-bench, and what it prints for each part."""

    def __init__(self, options, stack):
        from support.processes import program
        self.log = stack.directory / "generator.jsonl"
        self.out = open(self.log, "wb")
        self.child = subprocess.Popen([
            program("callgate-bench", stack.build), "--op", "cycle", "--address",
            stack.sidecar.address, "--rate", str(options.rate), "--companies",
            str(options.companies), "--in-flight", str(options.in_flight), "--seconds", "3600",
            "--deadline-ms", "5000", "--json", "--parts"], stdout=self.out, stderr=self.out)

    def parts(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def next_part(self):
        """Ends what is being counted; a moment later it is printed."""
        from support.waiting import wait_until
        known = len(self.parts())
        self.child.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(self.parts()) > known, 30, "the generator prints a part")
        return self.parts()[-1]

    def end(self):
        self.child.kill()
        self.child.wait()
        self.out.close()


class Away:
    def __init__(self, options, stack):
        from support.waiting import wait_until
        self.options, self.stack, self.postgres = options, stack, stack.postgres
        self.wait_until = wait_until
        self.figures = {}

    def written(self):
        """The last id of each partition's stream: the library counts them, so they are a length."""
        redis, ends = self.stack.redis.client, {}
        for number in range(16):
            end = redis.xinfo_stream(b"cg:{p%d}:ledger" % number)["last-generated-id"]
            ends[number] = tuple(map(int, end.decode().split("-")))
        return ends

    def waiting(self):
        """Entries that the ledger does not have; both are asked in this order, so never too few
        by more than what is written meanwhile."""
        ends = self.written()
        rows = self.stack.sql("select partition, last_epoch, last_n from callgate.cursors")
        cursors = {partition: (epoch, n) for partition, epoch, n in rows}
        return sum(self.between(cursors[number], end) for number, end in ends.items())

    @staticmethod
    def between(cursor, end):
        if cursor[0] == end[0]:
            return max(end[1] - cursor[1], 0)
        return end[1] + 1 if end[0] else 0

    def memory(self):
        return self.stack.redis.client.info("memory")["used_memory"]

    def rewrites(self):
        """Of the append-only file, so far."""
        return self.stack.redis.client.info("persistence")["aof_rewrites"]

    def cpu_seconds(self):
        """Processor time so far, by part; Postgres is all its processes that live now."""
        def of(pid):
            with contextlib.suppress(OSError):
                return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
            return 0
        pids = {"postgres": self.postgres.sessions(), "sidecar": [self.stack.sidecar.process.pid],
                "redis": [self.stack.redis.process.pid]}
        return {name: sum(map(of, of_part)) / os.sysconf("SC_CLK_TCK") for name, of_part in pids.items()}

    def note(self, phase, part):
        for name in ("authorize", "settle"):
            of = part["parts"][name]
            for percentile, value in of["latency_us"].items():
                self.figures[f"{phase}_{name}_{percentile.replace('.', '')}_ms"] = value / 1000
            self.figures[f"{phase}_{name}_per_second"] = of["rate_per_second"]
            self.figures[f"{phase}_{name}_errors"] = sum(of["errors"].values()) + of["denied"]
            if of["errors"] or of["denied"]:
                say(f"{phase}: {name}: {of['errors']}, {of['denied']} denied")
            self.figures["settled"] = self.figures.get("settled", 0) + (
                of["count"] if name == "settle" else 0)

    def before(self, generator):
        say(f"{self.options.rate} calls per second for {self.options.beside:g} s")
        self.wait_until(lambda: sum(n for _, n in self.written().values()) > self.options.rate * 3,
                        120, "the load has begun")
        self.figures["warm_up"] = generator.next_part()["parts"]["settle"]["count"]
        time.sleep(self.options.beside)  # the measurement itself
        self.figures["before_waiting"] = self.waiting()
        self.note("before", generator.next_part())

    def away(self, generator):
        say(f"Postgres is stopped for {self.options.away:g} s")
        bytes_before, written_before = self.memory(), self.written()
        rewrites_before = self.rewrites()
        self.stack.connection.close()
        begun = time.monotonic()
        self.postgres.halt()
        time.sleep(max(self.options.away - (time.monotonic() - begun), 0))  # the measurement
        self.note("away", generator.next_part())
        entries = sum(self.between(written_before[n], end) for n, end in self.written().items())
        self.figures["away_entries"] = entries
        self.figures["away_bytes_per_entry"] = (self.memory() - bytes_before) / max(entries, 1)
        self.figures["away_redis_mb"] = self.memory() / 1e6
        self.figures["away_rewrites"] = self.rewrites() - rewrites_before

    def back(self, generator):
        say("Postgres is back")
        started = time.monotonic()
        self.postgres.start()
        returned = time.monotonic()
        self.figures["return_seconds"] = returned - started
        if self.options.stop_load:
            self.note("after", generator.next_part())
            generator.end()
            returned = time.monotonic()
        self.figures["return_waiting"] = most = self.waiting()
        rate = 0 if self.options.stop_load else self.options.rate
        few = rate * CAUGHT_UP_SECONDS
        cpu = self.cpu_seconds()

        def caught_up():
            waiting = self.waiting()
            say(f"  {time.monotonic() - returned:5.1f} s: {waiting} entries wait")
            return waiting <= few

        with contextlib.suppress(AssertionError):
            self.wait_until(caught_up, self.options.catch_up, "it catches up", every=0.25)
        self.figures["drained_seconds"] = time.monotonic() - returned
        self.figures["drained_waiting"] = self.waiting()
        # What came meanwhile went in as well.
        drained = most - self.figures["drained_waiting"] + rate * self.figures["drained_seconds"]
        self.figures["drained_per_second"] = drained / self.figures["drained_seconds"]
        for name, seconds in self.cpu_seconds().items():
            self.figures[f"drained_{name}_us_per_entry"] = (seconds - cpu[name]) * 1e6 / drained
        if not self.options.stop_load:
            self.note("after", generator.next_part())

    def compare(self, generator):
        """Whether what was settled is booked, once and in order."""
        generator.end()
        # What was under way when it was ended may be settled or not.
        self.wait_until(lambda: self.waiting() == 0, self.options.catch_up, "all is flushed")
        self.figures["booked"] = self.stack.value("select count(*) from usage_logs")
        written = sum(self.between((end[0], -1), end) for end in self.written().values() if end[0])
        self.figures["missing"] = written - self.stack.value("select count(*) from wallet_transactions")
        self.figures["unbooked"] = max(
            self.figures["settled"] + self.figures["warm_up"] - self.figures["booked"], 0)
        self.figures["out_of_order"] = self.stack.value(DISORDER)
        self.figures["quarantined"] = self.stack.value("select count(*) from callgate.quarantine")
        log = self.stack.sidecar.process.text().splitlines()
        self.figures["log_lines"] = len(log)

    def restart_store(self):
        """What its append-only file, as long as it has become, costs whoever waits for its start."""
        redis = self.stack.redis
        self.figures["store_file_mb"] = redis.client.info("persistence")["aof_current_size"] / 1e6
        begun = time.monotonic()
        redis.restart()
        self.figures["store_load_seconds"] = time.monotonic() - begun

    def run(self):
        generator = Generator(self.options, self.stack)
        try:
            self.before(generator)
            self.away(generator)
            self.back(generator)
            self.compare(generator)
            self.restart_store()
        finally:
            generator.end()
        return self.figures


def targets(figures):
    """What the figures are to come to: name, value, target."""
    return [
        ("Authorize p99 while Postgres is away, ms", figures["away_authorize_p99_ms"], 2),
        ("seconds until the ledger has caught up", figures["drained_seconds"], 60),
        ("requests that failed or were denied meanwhile", sum(
            figures[f"{phase}_{name}_errors"] for phase in PHASES for name in ("authorize", "settle")), 0),
        ("entries out of order", figures["out_of_order"], 0),
        ("entries missing in the ledger", figures["missing"] + figures["unbooked"], 0),
    ]


def show(figures):
    print(f"{'ms':18}" + "".join(f"{phase:>12}" for phase in PHASES))
    for name in ("authorize", "settle"):
        for percentile in ("p50", "p99", "p999", "max"):
            print(f"{name + ' ' + percentile:18}" + "".join(
                f"{figures[f'{phase}_{name}_{percentile}_ms']:12.2f}" for phase in PHASES))
    print()
    for name, value in figures.items():
        if not name.startswith(tuple(f"{phase}_{what}_" for phase in PHASES
                                     for what in ("authorize", "settle"))):
            print(f"{name:26} {value:16,.1f}")


def main():
    options = arguments()
    with private_stack(options, durable=True) as stack:
        figures = Away(options, stack).run()
    return conclude(options, figures, show, targets(figures))


if __name__ == "__main__":
    sys.exit(main())
