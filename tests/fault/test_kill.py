"""Rounds of kill -9: sidecars, Redis, Postgres and its sessions, alone and in pairs, under load.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import os
import random
import signal
import time

import psycopg
import pytest

from scenario import answers, begin, finish
from support.waiting import wait_until

VICTIMS = ("sidecar-1", "sidecar-2", "redis", "postgres", "session")

# A sidecar that has recovered a partition five times within a minute takes that for two stores on
# one ledger, and refuses: before it comes to that, it dies with the store.
STORE_KILLS_MAX, MINUTE = 4, 60.0


def schedule(seed, rounds):
    """Of each round what dies: (victim, seconds until it does, seconds that it is gone)."""
    dice = random.Random(seed)
    for _ in range(rounds):
        count = 2 if dice.random() < 0.4 else 1
        yield [(victim, dice.uniform(0, 0.8), dice.choice((0, dice.uniform(0, 0.7))))
               for victim in dice.sample(VICTIMS, count)]


class Killer:
    """All of it in the test's own thread: a server is ended with the thread that has started it."""

    def __init__(self, stack):
        self.stack = stack
        self.store_kills = []

    def with_company(self, deaths):
        """The deaths of a round, and where the store has died too often the sidecars' too."""
        store = [death for death in deaths if death[0] == "redis"]
        now = time.monotonic()
        self.store_kills = [at for at in self.store_kills if now - at < MINUTE]
        if not store or len(self.store_kills) < STORE_KILLS_MAX:
            return deaths
        self.store_kills.clear()
        others = [death for death in deaths if not death[0].startswith("sidecar")]
        return [*others, *(("sidecar-" + which, *store[0][1:]) for which in "12")]

    def round(self, deaths):
        """Each death and each return at its own moment, so that pairs overlap in every order."""
        events = []
        for victim, after, gone in deaths:
            events.append((after, self.kill, victim))
            if victim != "session":
                events.append((after + gone, self.launch, victim))
        began = time.monotonic()
        for at, act, victim in sorted(events, key=lambda event: event[0]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            act(victim)
        self.stack.postgres.start_again()
        self.stack.redis.process.wait_until_ready(self.stack.redis.answers)

    def process(self, victim):
        if victim.startswith("sidecar"):
            return self.stack.sidecars[int(victim[-1]) - 1].process
        return getattr(self.stack, victim).process

    def kill(self, victim):
        if victim == "session":
            self.kill_session()
            return
        process = self.process(victim)
        assert process.is_alive(), f"{victim} died by itself\n{process.tail()}"
        if victim == "redis":
            self.store_kills.append(time.monotonic())
        process.kill()

    def launch(self, victim):
        """Postgres refuses to while a session of before lives: round() sees to it."""
        self.process(victim).start()

    def kill_session(self):
        """kill -9 of one of the sidecars' sessions: Postgres ends all of them and recovers."""
        with contextlib.suppress(psycopg.OperationalError, ProcessLookupError), psycopg.connect(
                self.stack.url, autocommit=True) as connection:
            found = connection.execute(
                "select pid from pg_stat_activity where datname = current_database()"
                " and usename = 'callgated' order by random() limit 1").fetchone()
            if found:
                os.kill(found[0], signal.SIGKILL)


@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_rounds_of_kills(make_stack, seed, is_long, appendfsync):
    """`always` loses nothing that was acknowledged; `everysec` may lose a tail where the disk is
    slow for a moment, so that what was only ACCEPTED may have to be asked for again."""
    rounds = 100 if is_long else 7
    stack = make_stack(sidecars=2, partitions=4, appendfsync=appendfsync)
    killer = Killer(stack)
    traffic = begin(stack, seed)
    for number, deaths in enumerate(schedule(seed, rounds)):
        deaths = killer.with_company(deaths)
        print(f"round {number}: " + ", ".join(
            f"{victim} after {after:.3f} s for {gone:.3f} s" for victim, after, gone in deaths))
        killer.round(deaths)
        traffic.wait_for(40, timeout=60)
    wait_until(lambda: answers(stack), 30, "Postgres answers")
    finish(stack, traffic, may_lose_tail=appendfsync == "everysec", more=f"{rounds} rounds, ")
