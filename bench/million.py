"""A million calls that are talking, and what they cost while nothing happens.

Fills a private stack with METERING calls and then measures: callgated's resident memory,
Redis's memory per call (what the same wallets took without calls subtracted), the CPU of
both over a quiet while, and how late a watcher hears CUT_OFF of wallets among them that run
out at known times.  Starts its own Redis, Postgres and sidecar, and ends them.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from private_stack import add_arguments, conclude, private_stack, say

PLAN = "million"
DESTINATION = "+14155550100"
RATE = 60_000  # micros per minute: one each millisecond
HERTZ = os.sysconf("SC_CLK_TCK")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--wallets", type=int, default=10_000)
    parser.add_argument("--idle-seconds", type=float, default=30)
    parser.add_argument("--dry", type=int, default=200, help="wallets that run out")
    parser.add_argument("--dry-seconds", type=float, default=20, help="over how long they do")
    add_arguments(parser)
    return parser.parse_args()


def cpu_seconds(pid):
    # Behind the name, which may hold spaces: utime and stime are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


def resident_bytes(pid, name="VmRSS"):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"million: /proc/{pid}/status has no {name}")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Million:
    def __init__(self, options, stack):
        from support.contract import pb
        from support.waiting import wait_until
        self.options, self.stack, self.pb, self.wait_until = options, stack, pb, wait_until
        self.figures = {}

    def used_memory(self):
        """Once Redis does nothing in the background that would pass for memory or CPU."""
        redis = self.stack.redis.client

        def is_quiet():
            doing = redis.info("persistence")
            return not doing["aof_rewrite_in_progress"] and not doing["rdb_bgsave_in_progress"]

        self.wait_until(is_quiet, 120, "Redis has rewritten its file")
        return redis.info("memory")["used_memory"]

    def load(self, count, wallets):
        from support.processes import program
        done = subprocess.run([
            program("callgate-bench", self.stack.build), "--op", "authorize", "--keep",
            "--address", self.stack.sidecar.address, "--plan", PLAN, "--count", str(count),
            "--companies", str(wallets), "--in-flight", "256", "--seconds", "1200",
            "--deadline-ms", "10000", "--json"], capture_output=True, text=True, timeout=1500)
        answer = json.loads(done.stdout) if done.stdout else {}
        errors = answer["parts"]["authorize"]["errors"] if answer else {}
        # While Redis forks to rewrite its file it may answer nobody in time: such a call may
        # be there or not, and what is there is counted in the store.
        if not answer or set(errors) - {"unavailable"} or sum(errors.values()) > count / 100:
            raise SystemExit(f"million: filling: {done.stdout}{done.stderr}")
        return answer

    def records(self):
        """Wallets and calls by the store's own count: a wallet is a hash of its record, in
        two fields, and its calls."""
        redis = self.stack.redis.client
        keys = list(redis.scan_iter(match="cg:*:w:*", count=5000))
        fields = 0
        for begin in range(0, len(keys), 1000):
            pipe = redis.pipeline(transaction=False)
            for key in keys[begin:begin + 1000]:
                pipe.hlen(key)
            fields += sum(pipe.execute())
        return len(keys), fields - 2 * len(keys)

    def add_plan(self):
        """One rate, for every destination."""
        self.stack.add_plan(PLAN, rate=(RATE, 0, 0, 1), calls_max=1_000_000,
                            longest_call_ms=86_400_000, cut_warning_ms=0)
        self.stack.sql("update callgate.rates set prefix = '' where plan_id = %s", [PLAN])
        company = self.stack.client.funded(0, plan_id=PLAN)
        self.wait_until(lambda: self.stack.client.authorize(
            company, "", destination="+447700900123", validate_only=True).HasField("price"),
            5, "the plan covers every destination")

    def fill(self):
        options = self.options
        self.add_plan()
        pid = self.stack.sidecar.process.pid
        self.figures["rss_empty_bytes"] = resident_bytes(pid)
        begun = time.monotonic()
        say(f"{options.wallets} wallets, {options.calls} calls")
        before, _ = self.records()
        bytes_before = self.used_memory()
        answer = self.load(options.calls, options.wallets)
        part = answer["parts"]["authorize"]
        wallets, calls = self.records()
        self.figures |= {
            "calls": calls,
            "wallets": wallets - before,
            "fill_seconds": time.monotonic() - begun,
            "fill_per_second": part["rate_per_second"],
            "fill_denied": part["denied"],
            "fill_unavailable": part["errors"].get("unavailable", 0),
        }
        used = self.used_memory()
        self.figures["redis_bytes"] = used - bytes_before
        self.figures["rss_bytes"] = resident_bytes(pid)
        self.figures["rss_peak_bytes"] = resident_bytes(pid, "VmHWM")

    def wallets_alone(self):
        """What a wallet takes that has no calls: measured on a tenth as many, made afterwards."""
        from support.processes import program
        count = max(self.options.wallets // 10, 1)
        before = self.used_memory()
        done = subprocess.run([
            program("callgate-bench", self.stack.build), "--op", "balance", "--address",
            self.stack.sidecar.address, "--companies", str(count), "--count", str(count),
            "--plan", PLAN, "--json"], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise SystemExit(f"million: wallets: {done.stdout}{done.stderr}")
        return (self.used_memory() - before) / count

    def idle(self):
        say(f"nothing for {self.options.idle_seconds:g} s")
        pids = {"callgated": self.stack.sidecar.process.pid,
                "redis": self.stack.redis.process.pid}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        begun = time.monotonic()
        time.sleep(self.options.idle_seconds)  # the measurement itself
        passed = time.monotonic() - begun
        for name, pid in pids.items():
            share = (cpu_seconds(pid) - before[name]) / passed
            self.figures[f"idle_{name}_percent"] = 100 * share

    def watch(self, heard, live):
        with contextlib.suppress(Exception):  # it is cancelled in the end
            for answer in self.stream:
                came_ms = time.time() * 1000
                live.set()
                if answer.HasField("event") and answer.event.repeat == 0:
                    heard.setdefault(answer.event.company_id,
                                     came_ms - answer.event.exhausts_at_ms)

    def cut_offs(self):
        options, client, pb = self.options, self.stack.client, self.pb
        say(f"{options.dry} wallets run out within {options.dry_seconds:g} s")
        heard, live = {}, threading.Event()
        self.stream = client.wallets.Watch(pb.WatchRequest(types=[pb.EVENT_TYPE_CUT_OFF]))
        watcher = threading.Thread(target=self.watch, args=(heard, live), daemon=True)
        watcher.start()
        if not live.wait(20):
            raise SystemExit("million: the watch does not begin")
        probe = client.funded(10**9, plan_id=PLAN)
        headroom = client.authorize(probe, "", destination=DESTINATION, reserve_ms=1,
                                    validate_only=True).required_micros
        end_at_ms = time.time() * 1000 + 10_000
        companies = []
        for number in range(options.dry):
            due_ms = end_at_ms + number * options.dry_seconds * 1000 / options.dry
            left_ms = max(int(due_ms - time.time() * 1000), 1)
            company = client.funded(headroom + left_ms, plan_id=PLAN)
            answer = client.authorize(company, "dry", destination=DESTINATION, reserve_ms=1,
                                      start=True)
            if answer.decision != pb.DECISION_ALLOWED:
                raise SystemExit(f"million: a wallet with {left_ms} ms is denied: {answer}")
            companies.append(company)
        with contextlib.suppress(AssertionError):
            self.wait_until(lambda: len(heard) >= options.dry, options.dry_seconds + 30, "all")
        self.stream.cancel()
        watcher.join(10)
        late = [heard[company] for company in companies if company in heard]
        self.figures["cut_off_unheard"] = options.dry - len(late)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1)):
            self.figures[f"cut_off_{name}_ms"] = percentile(late, share) if late else float("inf")

    def run(self):
        self.fill()
        self.figures["redis_wallet_bytes"] = self.wallets_alone()
        calls = max(self.figures["calls"], 1)
        alone = self.figures["redis_wallet_bytes"] * self.figures["wallets"]
        self.figures["redis_bytes_per_call"] = (self.figures["redis_bytes"] - alone) / calls
        self.idle()
        self.cut_offs()
        return self.figures


def targets(figures):
    """What the figures are to come to: name, value, target."""
    return [
        ("callgated's resident memory, MB", figures["rss_bytes"] / 1e6, 100),
        ("Redis, bytes per call", figures["redis_bytes_per_call"], 350),
        ("idle CPU of both, % of a core",
         figures["idle_callgated_percent"] + figures["idle_redis_percent"], 5),
        ("CUT_OFF after T*, p99, ms", figures["cut_off_p99_ms"], 150),
        ("CUT_OFFs that were never heard", figures["cut_off_unheard"], 0),
    ]


def show(figures):
    for name, value in figures.items():
        print(f"{name:26} {value:18,.1f}")


def main():
    options = arguments()
    with private_stack(options) as stack:
        figures = Million(options, stack).run()
    return conclude(options, figures, show, targets(figures))


if __name__ == "__main__":
    sys.exit(main())
