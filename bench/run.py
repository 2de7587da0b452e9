"""A running stack beside its two floors, in the same run.

Each round measures, one after the other and so under the same conditions:

  the bare RPC            the same generator and request against bare_server: gRPC and nothing else
  the health check        a call to callgated itself that touches no store
  the bare function call  the authorize function straight against a Redis of its own
  authorize               through callgated

The figures are the medians of the rounds; beside them stand the least and the greatest.  Then
settles at a fixed rate, with probes that wait until they are in the ledger: how far the
flush lags behind.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import redis

ROOT = Path(__file__).resolve().parent.parent
COMPANIES = 64
PIPELINE = 256


def arguments():
    parser = argparse.ArgumentParser(
        description="Measures the stack of $CALLGATE_ADDRESS beside its floors.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--settles", type=int, default=5000, help="per second, for the flush's lag")
    parser.add_argument("--settle-seconds", type=float, default=8.0)
    parser.add_argument("--pin", choices=["none", "cross", "same"], default="cross",
                        help="cross: what calls one another runs on two cores, callgated and "
                             "bare_server on the first, generator and Redis on the second; "
                             "same: all on one; none: as the kernel likes (default cross)")
    parser.add_argument("--bin", type=Path, default=ROOT / "build" /
                        os.environ.get("CALLGATE_DEV_PRESET", "release") / "bin")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    return parser.parse_args()


class Cores:
    """Which core a part runs on; what was running before gets its old cores back."""

    def __init__(self, mode):
        cores = sorted(os.sched_getaffinity(0))
        self.mode = mode if len(cores) > 1 else "none"
        self.server = {cores[0]}
        self.client = {cores[0]} if mode == "same" else {cores[-1]}
        self.before = {}

    def of(self, side):
        return None if self.mode == "none" else getattr(self, side)

    def pin_running(self, pid, side):
        if self.of(side) is None:
            return
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                self.before[int(task.name)] = os.sched_getaffinity(int(task.name))
                os.sched_setaffinity(int(task.name), self.of(side))

    def restore(self):
        for task, cores in self.before.items():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, cores)

    def start(self, side, command, **more):
        cores = self.of(side)
        pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        return subprocess.Popen(command, preexec_fn=pin, **more)

    def run(self, side, command):
        process = self.start(side, command, stdout=subprocess.PIPE, text=True)
        output, _ = process.communicate(timeout=300)
        if process.returncode not in (0, 1) or not output:
            raise SystemExit(f"bench: {' '.join(map(str, command))}: exit {process.returncode}")
        answer = json.loads(output)
        for name, part in answer["parts"].items():
            if part["errors"] or part["denied"]:
                print(f"bench: {name}: errors {part['errors']}, denied {part['denied']}",
                      file=sys.stderr)
        return answer


def peer_pid(address):
    """Whoever listens on a unix socket."""
    if not address.startswith("unix:"):
        return None
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(address[len("unix:"):])
        return struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


@contextlib.contextmanager
def ending(process):
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def private_redis(cores, directory, like):
    """One that keeps its writes as the stack's does, for the bare function call."""
    path = directory / "floor.sock"
    settings = []
    for name in ("appendonly", "appendfsync"):
        settings += [f"--{name}", like.config_get(name)[name]]
    command = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", directory, "--save", ""]
    with ending(cores.start("client", command + settings, stdout=subprocess.DEVNULL)):
        server = redis.Redis(unix_socket_path=str(path))

        def answers():
            with contextlib.suppress(redis.exceptions.ConnectionError):
                return server.ping()
            return False

        if not wait_until(answers, 10):
            raise SystemExit("bench: the floor's Redis does not start")
        yield server, path


@contextlib.contextmanager
def bare_server(options, cores, directory):
    path = directory / "bare.sock"
    process = cores.start("server", [options.bin / "bare_server", f"unix:{path}"],
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with ending(process):
        if not wait_until(path.exists, 10):
            raise SystemExit("bench: bare_server does not start")
        yield f"unix:{path}"


class Bench:
    def __init__(self, options, cores, bare, floor):
        self.options, self.cores = options, cores
        self.bare = bare
        self.floor, self.floor_path = floor
        self.samples = {}

    def note(self, name, value):
        self.samples.setdefault(name, []).append(value)

    def load(self, op, in_flight, *more):
        return self.cores.run("client", [
            self.options.bin / "callgate-bench", "--op", op, "--in-flight", str(in_flight),
            "--seconds", str(self.options.seconds), "--companies", str(COMPANIES), "--json", *more])

    def store(self, in_flight):
        # The floor's client stands where callgated stands for the stack's Redis.
        answer = self.cores.run("server", [
            self.options.bin / "callgate-bench-store", self.floor_path, str(in_flight),
            str(COMPANIES), str(self.options.seconds)])
        self.floor.flushall()
        return answer["parts"]["authorize"]

    def round(self):
        bare = ["--bare", "--address", self.bare]
        one = self.load("authorize", 1, *bare)["parts"]["authorize"]
        self.note("bare_rpc_p50_us", one["latency_us"]["p50"])
        self.note("bare_fcall_p50_us", self.store(1)["latency_us"]["p50"])
        one = self.load("authorize", 1)["parts"]["authorize"]
        for name, label in (("p50", "p50"), ("p99", "p99"), ("p99.9", "p999"), ("max", "max")):
            self.note(f"authorize_{label}_us", one["latency_us"][name])
        self.note("health_p50_us", self.load("health", 1)["parts"]["health"]["latency_us"]["p50"])

        many = self.load("authorize", 64, *bare)
        self.note("bare_rpc_per_second", many["parts"]["authorize"]["rate_per_second"])
        self.note("generator_us_per_op", many["client_cpu_us_per_op"])
        many = self.load("authorize", 64)["parts"]["authorize"]
        self.note("authorize_per_second", many["rate_per_second"])
        self.note("health_per_second",
                  self.load("health", 64)["parts"]["health"]["rate_per_second"])
        self.note("bare_fcall_per_second", self.store(PIPELINE)["rate_per_second"])

    def settle(self, database):
        """Settles at the wanted rate, of calls authorized before, while a few others wait
        until theirs are in the ledger."""
        options = self.options
        before = logged(database)
        program = options.bin / "callgate-bench"
        load = self.cores.start("client", [
            program, "--op", "settle", "--rate", str(options.settles), "--in-flight", "256",
            "--companies", str(COMPANIES), "--seconds", str(options.settle_seconds),
            "--count", str(int(options.settles * options.settle_seconds)), "--json"],
            stdout=subprocess.PIPE, text=True)
        if not wait_until(lambda: logged(database) > before, 120):
            raise SystemExit("bench: no settle reaches the ledger")
        probed = self.cores.run("client", [
            program, "--op", "cycle", "--committed", "--rate", "20", "--in-flight", "64",
            "--companies", "16", "--deadline-ms", "20000", "--json",
            "--seconds", str(max(options.settle_seconds - 2, 1))])
        load = json.loads(load.communicate(timeout=120)[0])
        ended = time.monotonic()
        # The warm-up before settles is cancelled; that of a cycle was settled as well.
        expected = (load["parts"]["settle"]["count"] + probed["parts"]["settle"]["count"] +
                    probed["warm_up_count"])
        all_there = wait_until(lambda: logged(database) - before >= expected, 60)
        drained = time.monotonic() - ended
        found = logged(database) - before
        settles = load["parts"]["settle"]
        lag = probed["parts"]["settle"]["latency_us"]
        self.note("settles_per_second", settles["rate_per_second"])
        self.note("settle_p50_us", settles["latency_us"]["p50"])
        self.note("settle_p99_us", settles["latency_us"]["p99"])
        self.note("flush_lag_p50_ms", lag["p50"] / 1000)
        self.note("flush_lag_max_ms", lag["max"] / 1000)
        self.note("flush_drained_ms", drained * 1000 if all_there else float("inf"))
        self.note("settles_missing_in_ledger", expected - found)


def logged(database):
    return database.execute("select count(*) from public.usage_logs").fetchone()[0]


def targets(median):
    """What the figures are to come to: name, value, target, whether it is met."""
    def line(name, value, sign, target):
        return name, value, f"{sign} {target:g}", value <= target if sign == "<=" else value >= target

    floor = median["bare_rpc_p50_us"] + median["bare_fcall_p50_us"]
    lines = [
        line("authorize p50 / (bare RPC p50 + bare function call p50)",
             median["authorize_p50_us"] / floor, "<=", 1.4),
        line("authorize p99, us", median["authorize_p99_us"], "<=", 1000),
        line("authorize rate / bare RPC rate, 64 in flight",
             median["authorize_per_second"] / median["bare_rpc_per_second"], ">=", 0.28),
        line("authorize function alone, pipelined, per second",
             median["bare_fcall_per_second"], ">=", 100000),
    ]
    if "flush_lag_max_ms" in median:
        lines += [
            line("settles per second that were kept up", median["settles_per_second"], ">=", 4950),
            line("flush lag, ms, greatest", median["flush_lag_max_ms"], "<=", 1000),
            line("settles missing in the ledger", abs(median["settles_missing_in_ledger"]), "<=", 0),
        ]
    return lines


def show(samples, median, lines, options):
    print(f"medians of {options.rounds} rounds of {options.seconds:g} s, pinned: {options.pin}; "
          f"load average {os.getloadavg()[0]:.2f}\n")
    print(f"{'':28} {'median':>12} {'least':>12} {'greatest':>12}")
    for name, values in samples.items():
        print(f"{name:28} {median[name]:12.1f} {min(values):12.1f} {max(values):12.1f}")
    print()
    for name, value, target, met in lines:
        print(f"{'met   ' if met else 'MISSED'}  {value:12.2f}  {target:>10}  {name}")


def main():
    options = arguments()
    for name in ("CALLGATE_ADDRESS", "CALLGATE_REDIS_URL", "CALLGATE_DATABASE_URL"):
        if not os.environ.get(name):
            raise SystemExit(f"bench: {name} is not set: ./dev up, then eval \"$(./dev env)\"")
    stack_redis = redis.Redis.from_url(os.environ["CALLGATE_REDIS_URL"])
    cores = Cores(options.pin)
    with contextlib.ExitStack() as stack:
        stack.callback(cores.restore)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cg-bench-")))
        database = stack.enter_context(
            psycopg.connect(os.environ["CALLGATE_DATABASE_URL"], autocommit=True))
        sidecar = peer_pid(os.environ["CALLGATE_ADDRESS"])
        if sidecar:
            cores.pin_running(sidecar, "server")
            cores.pin_running(stack_redis.info("server")["process_id"], "client")
        bench = Bench(options, cores,
                      stack.enter_context(bare_server(options, cores, directory)),
                      stack.enter_context(private_redis(cores, directory, stack_redis)))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            bench.round()
        if options.settle_seconds > 0:
            print("settles", file=sys.stderr)
            cores.restore()
            cores.mode = "none"
            bench.settle(database)
    median = {name: statistics.median(values) for name, values in bench.samples.items()}
    lines = targets(median)
    if options.json:
        print(json.dumps({"median": median, "samples": bench.samples, "targets": [
            {"name": name, "value": value, "target": target, "met": met}
            for name, value, target, met in lines]}))
    else:
        show(bench.samples, median, lines, options)
    return 1 if options.check and not all(met for *_, met in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
