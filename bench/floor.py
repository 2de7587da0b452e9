"""What a decision costs, beside what it is made of, and beside what else one could do.

A stack of its own, of a release build: a Redis that keeps its writes (everysec), a Postgres that
syncs what it commits, one sidecar.  Each round measures, one after the other and so under the same
conditions:

  the bare RPC            the generator and the request against bare_server: gRPC and nothing else
  the bare function call  the authorize function straight against a Redis of its own
  authorize               through callgated: one in flight, 64, and at random times (Poisson) 20 000/s;
                          one in flight also at a sidecar that spins on a core of its own
  sessions                the same on one stream: as many as it takes, and half as many at random times
  settle, flush           settles, and how fast the ledger catches up on what waits for it
  SQL holds               one statement per call in Postgres: a hot wallet, a thousand; 1 and 64 clients

then once: a sidecar that starts on 100 000 wallets with 100 000 calls.  The figures are the medians
of the rounds; --json prints them as one object on one line.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from private_stack import ROOT, add_arguments, private_stack, say

COMPANIES = 64
PIPELINE = 256  # functions on their way, straight against Redis
WINDOW = 256  # operations on a stream
IN_FLIGHT = 64
OPEN_RATE, OPEN_IN_FLIGHT = 20_000, 512  # below --streams-max, which refuses
SETTLES, LAG_SECONDS = 5000, 8  # per second, for the flush's lag
OFFERED = (1000, 2000, 5000, 10_000, 15_000, 20_000, 25_000, 30_000, 40_000)  # per second, for the plot


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; default 1")
    parser.add_argument("--flush-entries", type=int, default=40_000, help="that wait; default 40000")
    parser.add_argument("--start-wallets", type=int, default=100_000, help="0: leave the start out")
    parser.add_argument("--save", action="store_true",
                        help="also keep figures and a plot of latency by offered load in bench/results")
    add_arguments(parser)
    return parser.parse_args()


@contextlib.contextmanager
def pinned(pid, cores):
    """All threads that it has now, on these cores; what they start meanwhile too."""
    def pin(to):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task), to)
    before = os.sched_getaffinity(pid)
    pin(cores)
    try:
        yield
    finally:
        pin(before)


class Floor:
    def __init__(self, options, stack, bare_address, floor_redis):
        from support.processes import program
        self.options, self.stack, self.bare, self.floor = options, stack, bare_address, floor_redis
        self.bin = Path(program("callgate-bench", stack.build)).parent
        self.samples = {}

    def note(self, name, value):
        self.samples.setdefault(name, []).append(value)

    def median(self):
        return {name: statistics.median(values) for name, values in self.samples.items()}

    def run(self, command):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
        if done.returncode not in (0, 1) or not done.stdout:
            raise SystemExit(f"floor: {' '.join(map(str, command))}: {done.returncode} {done.stderr}")
        answer = json.loads(done.stdout)
        for name, part in answer["parts"].items():
            if part["errors"] or part["denied"]:
                say(f"floor: {' '.join(map(str, command[1:]))}: {name}: {part['errors']}, {part['denied']} denied")
        return answer

    def load(self, op, in_flight, *more, address=None, companies=COMPANIES):
        return self.run([self.bin / "callgate-bench", "--op", op, "--in-flight", in_flight,
                         "--address", address or self.stack.sidecar.address, "--seconds",
                         self.options.seconds, "--companies", companies, "--json", *more])

    def authorize(self, in_flight, *more, **others):
        return self.load("authorize", in_flight, *more, **others)["parts"]["authorize"]

    def with_cpu(self, kind, in_flight, *more, **others):
        """Of authorizes; and what each process used for one, where both cores are full."""
        pids = {"redis": self.stack.redis.process.pid, "callgated": self.stack.sidecar.process.pid}
        of = [flag for pid in pids.values() for flag in ("--cpu-of", pid)]
        answer = self.load("authorize", in_flight, *of, *more, **others)
        for name, pid in pids.items():
            self.note(f"cpu {kind} {name}", answer["cpu_us_per_op_of"][str(pid)])
        self.note(f"cpu {kind} generator", answer["client_cpu_us_per_op"])
        return answer["parts"]["authorize"]

    def floors(self):
        self.note("bare_rpc_p50_us", self.authorize(1, "--bare", address=self.bare)["latency_us"]["p50"])
        self.note("bare_rpc_rps", self.authorize(IN_FLIGHT, "--bare", address=self.bare)["rate_per_second"])
        for name, in_flight in (("bare_fcall_p50_us", 1), ("bare_fcall_rps", PIPELINE)):
            part = self.run([self.bin / "callgate-bench-store", self.floor.socket, in_flight, COMPANIES,
                             self.options.seconds])["parts"]["authorize"]
            self.floor.client.flushall()
            self.note(name, part["latency_us"]["p50"] if in_flight == 1 else part["rate_per_second"])

    def unary(self):
        one = self.authorize(1)["latency_us"]
        for percentile, label in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999")):
            self.note(f"authorize_{label}_us", one[percentile])
        self.note("authorize_rps", self.with_cpu("authorize", IN_FLIGHT)["rate_per_second"])
        self.note("open_loop_20k_p99_us", self.authorize(
            OPEN_IN_FLIGHT, "--rate", OPEN_RATE, "--poisson")["latency_us"]["p99"])
        for name, companies in (("hot", 1), ("thousand", 1000)):
            self.note(f"authorize_{name}_rps", self.authorize(
                IN_FLIGHT, companies=companies)["rate_per_second"])

    def spinning(self):
        """One in flight at a sidecar that never sleeps and has a core to itself, as it is meant."""
        spinner = self.stack.add_sidecar(grpc_wait="spin")
        try:
            with pinned(spinner.process.pid, {0}), pinned(self.stack.redis.process.pid, {1}), pinned(
                    self.stack.sidecar.process.pid, {1}), pinned(os.getpid(), {1}):
                self.note("authorize_spin_p50_us", self.authorize(
                    1, address=spinner.address)["latency_us"]["p50"])
        finally:
            spinner.terminate()
            self.stack.sidecars.remove(spinner)

    def session(self):
        rate = self.with_cpu("session", WINDOW, "--session", companies=1000)["rate_per_second"]
        self.note("session_rps", rate)
        half = self.authorize(OPEN_IN_FLIGHT, "--session", "--poisson", "--rate", int(rate / 2), companies=1000)
        self.note("session_half_load_p99_us", half["latency_us"]["p99"])

    def booked(self):
        return self.stack.value("select count(*) from usage_logs")

    def settle(self):
        """Settles as fast as they go; the ledger's cursors are held meanwhile, then let go."""
        import psycopg
        from support.waiting import wait_until
        count, before = self.options.flush_entries, self.booked()
        load = subprocess.Popen(list(map(str, [
            self.bin / "callgate-bench", "--op", "settle", "--in-flight", IN_FLIGHT, "--address",
            self.stack.sidecar.address, "--companies", 1000, "--count", count, "--seconds", 600,
            "--json"])), stdout=subprocess.PIPE, text=True)
        wait_until(lambda: self.booked() > before or load.poll() is not None, 300, "settles are booked")
        with psycopg.connect(self.stack.url) as holding:
            holding.execute("select partition from callgate.cursors for update")
            answer = json.loads(load.communicate(timeout=600)[0])
            there = self.booked()
            begun = time.monotonic()
        # The connection has committed: nothing is held any more.
        settled = answer["parts"]["settle"]
        wait_until(lambda: self.booked() - before >= settled["count"], 120, "all is booked", every=0.01)
        if self.booked() > there:
            self.note("flush_rows_per_s", (self.booked() - there) / (time.monotonic() - begun))
        self.note("settle_rps", settled["rate_per_second"])

    def lag(self):
        """Settles at a rate that has to be kept up, while a few others wait until theirs are in the
        ledger: how far the flush lags behind; and whether all of them came there."""
        from support.waiting import wait_until
        command = [self.bin / "callgate-bench", "--address", self.stack.sidecar.address, "--json"]
        before = self.booked()
        load = subprocess.Popen(list(map(str, [
            *command, "--op", "settle", "--rate", SETTLES, "--in-flight", WINDOW, "--companies", COMPANIES,
            "--seconds", LAG_SECONDS, "--count", SETTLES * LAG_SECONDS])), stdout=subprocess.PIPE, text=True)
        wait_until(lambda: self.booked() > before, 120, "settles are booked")
        probes = self.run([*command, "--op", "cycle", "--committed", "--rate", 20, "--in-flight", 64,
                           "--companies", 16, "--deadline-ms", 20_000, "--seconds", LAG_SECONDS - 2])
        settles = json.loads(load.communicate(timeout=120)[0])["parts"]["settle"]
        # The warm-up before settles is cancelled; that of a cycle was settled as well.
        expected = settles["count"] + probes["parts"]["settle"]["count"] + probes["warm_up_count"]
        wait_until(lambda: self.booked() - before >= expected, 60, "all is booked")
        return {"settles_kept_up_rps": settles["rate_per_second"],
                "flush_lag_max_ms": probes["parts"]["settle"]["latency_us"]["max"] / 1000,
                "settles_missing": abs(expected - (self.booked() - before))}

    def sql(self, holds):
        for wallets, name in ((1, "hot"), (1000, "thousand")):
            for clients in (1, IN_FLIGHT):
                self.note(f"sql_{name}_{clients}_rps", holds.rate(wallets, clients, self.options.seconds))

    def curve(self):
        """Latency by offered load, one round: what the plot shows."""
        points = []
        for rate in OFFERED:
            part = self.authorize(OPEN_IN_FLIGHT, "--rate", rate, "--poisson")
            points.append({"offered": rate, "served": part["rate_per_second"], **part["latency_us"]})
        return points


def records(redis):
    """Every wallet's record as it stands."""
    keys, found = sorted(redis.scan_iter(match="cg:*:w:*", count=5000)), {}
    for begin in range(0, len(keys), 1000):
        pipe = redis.pipeline(transaction=False)
        for key in keys[begin:begin + 1000]:
            pipe.hget(key, "")
        found.update(zip(keys[begin:], pipe.execute()))
    return found


def start(floor, wallets):
    """How long a sidecar takes until it serves, on that many wallets with a call each."""
    say(f"start on {wallets} wallets")
    floor.run([floor.bin / "callgate-bench", "--op", "authorize", "--keep", "--address",
               floor.stack.sidecar.address, "--count", wallets, "--companies", wallets, "--in-flight", 256,
               "--seconds", 3600, "--deadline-ms", 20_000, "--json"])
    floor.stack.sidecar.terminate()
    before = records(floor.stack.redis.client)
    begun = time.monotonic()
    floor.stack.sidecar.launch()
    while not floor.stack.client.is_serving():
        time.sleep(0.002)
    serving = time.monotonic() - begun
    after = records(floor.stack.redis.client)
    return {"start_wallets": len(before), "start_ms": serving * 1000,
            "start_balances_changed": sum(after.get(key) != text for key, text in before.items())}


def ratios(f):
    of = {
        "authorize_p50": f["authorize_p50_us"] / (f["bare_rpc_p50_us"] + f["bare_fcall_p50_us"]),
        "authorize_spin_p50": f["authorize_spin_p50_us"] / (f["bare_rpc_p50_us"] + f["bare_fcall_p50_us"]),
        "authorize_rps_to_bare_rpc": f["authorize_rps"] / f["bare_rpc_rps"],
        "session_rps_to_bare_fcall": f["session_rps"] / f["bare_fcall_rps"],
    }
    for name in ("hot", "thousand"):
        of[f"authorize_to_sql_{name}"] = f[f"authorize_{name}_rps"] / f[f"sql_{name}_{IN_FLIGHT}_rps"]
    of["session_to_sql_thousand"] = f["session_rps"] / f[f"sql_thousand_{IN_FLIGHT}_rps"]
    return of


# Figure or ratio, its target.
TARGETS = [
    ("authorize_p50", "<=", 1.15), ("authorize_spin_p50", "<=", 0.85),
    ("authorize_p99_us", "<", 200), ("authorize_p999_us", "<", 500),
    ("open_loop_20k_p99_us", "<", 1000), ("bare_fcall_rps", ">=", 120_000), ("authorize_rps", ">=", 48_000),
    ("authorize_rps_to_bare_rpc", ">=", 0.38), ("session_rps", ">=", 115_000),
    ("session_rps_to_bare_fcall", ">=", 1.3), ("session_half_load_p99_us", "<", 2000),
    ("authorize_to_sql_hot", ">=", 12), ("authorize_to_sql_thousand", ">=", 1.6),
    ("flush_rows_per_s", ">=", 50_000), ("start_ms", "<", 1000), ("start_balances_changed", "<", 1),
]


def judged(figures):
    known = {**figures, **figures["ratios"]}
    for name, sign, target in TARGETS:
        if name in known:
            value = known[name]
            met = value <= target if sign == "<=" else value < target if sign == "<" else value >= target
            yield name, value, f"{sign} {target:g}", met


def show(figures, samples, options):
    print(f"medians of {options.rounds} rounds of {options.seconds:g} s; two cores or what there is: "
          f"{len(os.sched_getaffinity(0))}; load average {os.getloadavg()[0]:.2f}\n")
    print(f"{'':28} {'median':>12} {'least':>12} {'greatest':>12}")
    for name, values in samples.items():
        print(f"{name:28} {statistics.median(values):12.1f} {min(values):12.1f} {max(values):12.1f}")
    for name, value in figures.items():
        if name not in samples and not isinstance(value, dict):
            print(f"{name:28} {value:12.1f}")
    print()
    for name, value in figures["ratios"].items():
        print(f"{name:28} {value:12.2f}")
    print()
    for name, value, target, met in judged(figures):
        print(f"{'met   ' if met else 'MISSED'}  {value:12.2f}  {target:>10}  {name}")


def save(figures, samples, curve, build):
    from floor_plot import draw
    version = subprocess.run([build / "bin/callgated", "--version"], capture_output=True, text=True,
                             check=True).stdout.split()[-1]
    to = ROOT / "bench/results"
    to.mkdir(exist_ok=True)
    (to / f"{version}.json").write_text(json.dumps(
        {"figures": figures, "samples": samples, "offered": curve}, indent=1) + "\n")
    (to / f"{version}.svg").write_text(draw(curve, f"callgate {version}: Authorize by offered load (Poisson)"))


def bare_server(stack, ending):
    """Its socket; it serves for as long as its input is open."""
    from support.processes import program
    from support.waiting import wait_until
    path = stack.directory / "bare.sock"
    child = subprocess.Popen([program("bare_server", stack.build), f"unix:{path}"], stdin=subprocess.PIPE)
    ending.callback(child.wait)
    ending.callback(child.stdin.close)
    wait_until(path.exists, 10, "bare_server listens")
    return path


def measure(options, stack, ending):
    from support.redis_server import RedisServer
    floor_redis = RedisServer("everysec").start()
    ending.callback(floor_redis.stop)
    # Nothing ends an authorized call here: a hot wallet has tens of thousands.
    stack.sql("update callgate.plans set calls_max = 1000000 where plan_id = 'enterprise'")
    path = bare_server(stack, ending)
    from floor_sql import SqlHolds
    floor, holds = Floor(options, stack, f"unix:{path}", floor_redis), SqlHolds(stack.postgres)
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for measurement in (floor.floors, floor.unary, floor.spinning, floor.session, floor.settle,
                            lambda: floor.sql(holds)):
            measurement()
    curve = floor.curve() if options.save else []
    figures = {name: round(value, 2) for name, value in floor.median().items() if not name.startswith("cpu ")}
    for kind, name in (("authorize", "cpu_us_per_authorize"), ("session", "cpu_us_per_session_authorize")):
        figures[name] = {part[len(f"cpu {kind} "):]: round(value, 2)
                         for part, value in floor.median().items() if part.startswith(f"cpu {kind} ")}
    figures |= floor.lag()
    if options.start_wallets:
        figures |= start(floor, options.start_wallets)
    figures["ratios"] = {name: round(value, 3) for name, value in ratios(figures).items()}
    return figures, floor.samples, curve


def main():
    options = arguments()
    with contextlib.ExitStack() as ending:
        stack = ending.enter_context(private_stack(options, durable=True))
        build = stack.build
        figures, samples, curve = measure(options, stack, ending)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures, samples, options)
    if options.save:
        save(figures, samples, curve, build)
    return 1 if options.check and not all(met for *_, met in judged(figures)) else 0


if __name__ == "__main__":
    sys.exit(main())
