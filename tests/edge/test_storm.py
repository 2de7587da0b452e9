"""Many calls, webhooks lost, doubled and out of order, every part killed: each ended call charged exactly once.

`CALLGATE_TEST_LONG=1`: ten thousand.  `CG_SEED` replays what is random.

SPDX-License-Identifier: Apache-2.0
"""

import os
import random
import subprocess
import threading
import time

from support.invariants import check_invariants
from support.processes import program
from support.vapi import Faults
from support.waiting import wait_until

COUNT = 10_000 if os.environ.get("CALLGATE_TEST_LONG") else 400
SEED = int(os.environ.get("CG_SEED") or random.randrange(1 << 30))
THREADS = 12


class Callers:
    """Each dials, talks for a while that the times will say, and hangs up; who is refused dials again."""

    def __init__(self, world, numbers, count, chance):
        self.world, self.numbers, self.left, self.chance = world, numbers, count, chance
        self.lock = threading.Lock()
        self.talked = {}  # call id -> (number, ms)
        self.refused = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while True:
            with self.lock:
                if self.left == 0:
                    return
                self.left -= 1
                number = self.chance.choice(self.numbers)
                talk_ms = self.chance.randrange(1, 90_000)
            while not self.call(number, talk_ms):
                time.sleep(0.2)

    def call(self, number, talk_ms):
        call = self.world.vapi.dial_in(number)
        if call.status == "ended":
            with self.lock:
                self.refused.append(call.id)
            return False
        wait_until(lambda: call.status == "in-progress", 10)
        self.world.vapi.hang_up(call.id, talk_ms=talk_ms)
        with self.lock:
            self.talked[call.id] = (number, talk_ms)
        return True

    def are_done(self):
        return not any(thread.is_alive() for thread in self.threads)


def kill_parts(world, callers, chance):
    """One part after the other, each up again before the next."""
    killed = 0
    while not callers.are_done():
        time.sleep(chance.uniform(0.3, 1.0))
        part = chance.choice(["edge", "sidecar", "redis", "postgres"])
        if part == "edge":
            world.edge.kill()
            world.edge.start()
        elif part == "sidecar":
            world.stack.sidecar.restart()
        elif part == "redis":
            world.stack.redis.restart()
        else:
            world.stack.postgres.restart()
            world.stack.connection = None
        killed += 1
    return killed


def test_each_ended_call_is_charged_exactly_once(make_world):
    print(f"CG_SEED={SEED}")
    chance = random.Random(SEED)
    world = make_world(
        stack={"appendfsync": "always"}, sweep_ms=3000, log_level="warn",
        vapi={"faults": Faults(seed=SEED, duplicated=0.05, reordered=0.05, lost=0.02, late_ms=1500),
              "retries": 10, "backoff_s": 0.2})
    world.stack.add_plan("storm", calls_max=1000)
    companies = [world.client.funded(10_000_000_000, plan_id="storm") for _ in range(20)]
    numbers = {}
    for i, company in enumerate(companies):
        numbers[f"pn-{i}"] = company
        world.vapi.add_phone_number(f"pn-{i}", f"+155501002{i:02d}")
        world.stack.sql("insert into callgate.edge_numbers (phone_number_id, number, company_id, assistant_id)"
                        " values (%s, %s, %s, 'a')", [f"pn-{i}", f"+155501002{i:02d}", company])
    wait_until(lambda: world.vapi.dial_in("pn-19").status != "ended", 10, every=0.2)

    callers = Callers(world, list(numbers), COUNT, chance)
    killed = kill_parts(world, callers, chance)
    with world.vapi.lock:
        for call in list(world.vapi.calls.values()):
            if call.status != "ended":
                world.vapi.hang_up(call.id, talk_ms=1000)
    # Reconciliation has what was lost: a call of which nothing is known is looked at past its time.
    wait_until(lambda: world.stack.sql("update callgate.edge_calls set look_at = least(look_at, now() + interval"
                                       " '2 s') where state in ('admitted', 'running')") == [], 10)

    def uncharged():
        rows = world.stack.sql("select meta ->> 'call_id', count(*) from usage_logs group by 1")
        assert all(count == 1 for _, count in rows), [row for row in rows if row[1] != 1]
        return set(callers.talked) - {row[0] for row in rows}

    try:
        wait_until(lambda: not uncharged(), 60 + COUNT / 50, every=0.5)
    except AssertionError:
        missing = sorted(uncharged())
        raise AssertionError(f"seed {SEED}: {len(missing)} of {len(callers.talked)} not charged, as "
                             f"{[(world.row(c), world.vapi.call(c).deliveries) for c in missing[:3]]}\n"
                             f"{world.edge.process.tail(20)}") from None
    durations = dict(world.stack.sql(
        "select meta ->> 'call_id', (meta ->> 'duration_ms')::bigint from usage_logs"))
    assert {call: durations[call] for call in callers.talked} == {
        call: talk_ms for call, (_, talk_ms) in callers.talked.items()}, f"seed {SEED}"
    assert all(durations.get(call, 0) == 0 for call in callers.refused), "who was refused pays nothing"
    wait_until(lambda: all(not list(world.client.live_calls(company)) for company in companies), 60, every=0.5)
    world.stack.wait_until_flushed(*companies)
    check_invariants(world.stack)
    audit = subprocess.run([program("callgate"), "audit"], capture_output=True, text=True, check=False,
                           env={**os.environ, **world.stack.environment()})
    assert audit.returncode == 0, audit.stdout + audit.stderr
    print(f"{len(callers.talked)} calls, {len(callers.refused)} refused, {killed} kills, seed {SEED}")
