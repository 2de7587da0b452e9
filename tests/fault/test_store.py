"""The store forgets, lies, stops and comes back: what was promised is in the ledger, once.

SPDX-License-Identifier: Apache-2.0
"""

import os
import random
import signal
import time

import grpc

from scenario import answers, audit, begin, finish
from support.client import new_company, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.redis_server import RedisServer
from support.waiting import wait_until

# Entries wait in the store for so long that a lost tail takes some that the ledger has not.
SLOW_FLUSH = {"flush_interval_ms": 150}


def test_flushall_under_load(make_stack, seed):
    stack = make_stack(sidecars=2, partitions=4, **SLOW_FLUSH)
    traffic = begin(stack, seed)
    for _ in range(3):
        traffic.wait_for(100)
        stack.redis.client.flushall()
    traffic.wait_for(100)
    finish(stack, traffic, may_lose_tail=True)


def test_a_restart_from_an_older_append_only_file(make_stack, seed):
    stack = make_stack(sidecars=2, partitions=4, **SLOW_FLUSH)
    traffic = begin(stack, seed)
    for more in (20, 300):  # a short tail, then a long one
        copy = stack.redis.copy_files()
        traffic.wait_for(more)
        stack.redis.kill()
        stack.redis.put_files(copy)
        stack.redis.start()
        traffic.wait_for(100)
    finish(stack, traffic, may_lose_tail=True)


def test_the_append_only_file_lost_its_last_bytes(make_stack, seed):
    """In the middle of a transaction or of a number, again and again, and no operator comes."""
    stack = make_stack(sidecars=2, partitions=4, **SLOW_FLUSH)
    traffic = begin(stack, seed)
    dice = random.Random(seed)
    for most in (200, 3000, 30000):
        traffic.wait_for(100)
        wait_until(stack.redis.is_rewritten, 20, "the file before is not written to any more")
        stack.redis.kill()
        tail = stack.redis.tail_file()
        os.truncate(tail, max(0, tail.stat().st_size - dice.randrange(1, most)))
        stack.redis.start()
        traffic.wait_for(50)
    finish(stack, traffic, may_lose_tail=True)


class Torn:
    """A stack whose store is dead, with a file that ends in the middle of a settle: its entry is
    there, what it does to the wallet is not."""

    def __init__(self, make_stack, **settings):
        self.stack = make_stack(partitions=1, redis=RedisServer("always", **settings))
        self.client, self.redis = self.stack.client, self.stack.redis
        self.company = self.client.funded(100_000_000)
        for call in ("torn", "next"):
            self.client.authorize(self.company, call, start=True)
        wait_until(self.redis.is_rewritten, 30)
        self.client.settle(self.company, "torn", 60_000)
        # A server that dies at once: nothing else is written behind the settle than what goes by itself.
        self.redis.kill()
        tail = self.redis.tail_file()
        data = tail.read_bytes()
        entry = data.rindex(b"XADD")
        os.truncate(tail, data.index(b"HSET", entry) + len("HSET"))

    def begin_again(self):
        self.redis.start()
        return self

    def settle(self, call):
        return until_answered(lambda: self.client.settle(self.company, call, 60_000, timeout=5), timeout=30)

    def check(self):
        """Both calls are charged once, both stores agree, and nothing was set aside."""
        answers = [self.settle(call) for call in ("torn", "next")]
        check_invariants(self.stack, timeout=60)
        audit(self.stack)
        rows = dict(self.stack.sql("select reference_id, entry_id from wallet_transactions where type = 'usage'"))
        assert rows == {call: answer.ledger_id for call, answer in zip(("torn", "next"), answers)}
        assert not self.stack.sql("select * from callgate.quarantine")


def test_half_a_function_in_a_torn_file_is_never_executed(make_stack):
    """Redis 7.0 leaves the begun transaction in its file, where the second start executes it: unless
    the sidecar that met the first one had another file written."""
    torn = Torn(make_stack).begin_again()
    torn.settle("next")
    wait_until(torn.redis.is_rewritten, 20)
    torn.redis.restart()
    torn.check()


def test_a_store_that_dies_while_its_torn_file_is_rewritten(make_stack):
    """Redis takes the half away, and refuses to start once; whoever starts it does so again."""
    torn = Torn(make_stack, rdb_key_save_delay=0)
    at = torn.redis.process.command.index("--rdb-key-save-delay") + 1
    torn.redis.process.command[at] = "3000000"  # each key of the new file takes so many microseconds
    torn.begin_again()
    torn.settle("next")
    assert torn.redis.client.info("persistence")["aof_rewrite_in_progress"]
    torn.redis.kill()
    torn.redis.process.command[at] = "0"
    torn.redis.process.start()
    wait_until(lambda: not torn.redis.process.is_alive(), 20)
    assert "the truncated file is not the last file" in torn.redis.process.text()
    torn.begin_again()
    torn.check()


def trimmed_count(stack):
    """Entries that are in the ledger and no longer in the store's streams."""
    streams = stack.redis.client.keys("cg:{p*}:ledger")
    return (stack.value("select count(*) from wallet_transactions")
            - sum(stack.redis.client.xlen(stream) for stream in streams))


def test_a_restore_of_a_snapshot_so_old_that_its_entries_were_trimmed(make_stack, seed):
    """As one that is an hour old: what it holds was flushed and trimmed long ago, and much more
    has happened since.  The margin is taken away instead of waited for."""
    stack = make_stack(sidecars=2, partitions=4, trim_margin_ms=0)
    traffic = begin(stack, seed)
    stack.redis.client.save()
    dump = (stack.redis.directory / "dump.rdb").rename(stack.redis.directory / "old.rdb")
    count = stack.value("select count(*) from wallet_transactions")
    traffic.wait_for(300)
    wait_until(lambda: trimmed_count(stack) > count, 30, "what the snapshot holds was trimmed")
    stack.redis.kill()
    stack.redis.start_from_rdb(dump)
    traffic.wait_for(100)
    finish(stack, traffic, may_lose_tail=True)


def fail_over(stack, to):
    """As a proxy in front of a replicated store does: connections end, the next ones go there."""
    to.promote()
    stack.redis_proxy.upstream = to.socket
    stack.redis_proxy.reset_all()
    stack.redis = to


def test_a_lagging_replica_is_promoted_and_the_old_master_later(make_stack, seed):
    master, replica = RedisServer(listens=True), RedisServer(listens=True).start()
    try:
        stack = make_stack(sidecars=2, partitions=4, proxied=True, redis=master, **SLOW_FLUSH)
        traffic = begin(stack, seed)
        for old, new in ((master, replica), (replica, master)):
            new.follow(old)
            new.process.signal(signal.SIGSTOP)  # from here on it lags
            traffic.wait_for(100)
            if old is master:
                old.kill()
            new.process.signal(signal.SIGCONT)
            if old is not master:  # a tail that was sent may not arrive any more
                new.client.execute_command("replicaof", "no", "one")
            fail_over(stack, new)
            traffic.wait_for(100)
            if not old.process.is_alive():
                old.start()
        finish(stack, traffic, may_lose_tail=True)
    finally:
        for server in (master, replica):
            server.stop()


def test_a_master_that_was_demoted_and_promoted_again_keeps_its_run_id(make_stack, seed):
    """It has forgotten what it had acknowledged all the same."""
    master, replica = RedisServer(listens=True), RedisServer(listens=True).start()
    try:
        stack = make_stack(sidecars=2, partitions=4, proxied=True, redis=master, **SLOW_FLUSH)
        traffic = begin(stack, seed)
        run_id = master.client.info("server")["run_id"]
        replica.follow(master)
        replica.promote()  # nobody is told: the master goes on with a history of its own
        traffic.wait_for(100)
        master.follow(replica)
        master.promote()
        traffic.wait_for(100)
        assert master.client.info("server")["run_id"] == run_id
        finish(stack, traffic, may_lose_tail=True)
    finally:
        for server in (master, replica):
            server.stop()


def test_restarts_that_a_proxy_hides(make_stack, seed):
    """No connection of a sidecar ends; what was pending the proxy answers with an error."""
    stack = make_stack(sidecars=2, partitions=4, proxied=True, hides_restarts=True,
                       appendfsync="always")
    links = stack.redis_proxy.links.copy()
    traffic = begin(stack, seed, unknown_codes=(grpc.StatusCode.INTERNAL,))
    for older in (False, True):
        copy = stack.redis.copy_files()
        traffic.wait_for(100)
        stack.redis.kill()
        if older:
            stack.redis.put_files(copy)
        stack.redis.start()
        traffic.wait_for(100)
    assert stack.redis_proxy.hidden >= 2
    # One that waited too long for an answer may have connected anew; most have not.
    assert links & stack.redis_proxy.links, "every connection has ended: nothing was hidden"
    finish(stack, traffic, may_lose_tail=True)


def test_redis_restarted_while_postgres_is_away(make_stack, seed):
    """An outage of both: nothing is answered from a history that nobody could confirm."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    traffic.wait_for(100)
    stack.postgres.kill()
    traffic.wait_for(30)  # the gate goes on
    stack.redis.restart()
    wait_until(lambda: "store connection lost" in stack.sidecars[1].process.text(), 10)
    for sidecar in stack.sidecars:
        failure = sidecar.client.fails("authorize", traffic.companies[0], "unconfirmed", timeout=1)
        assert failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    before = traffic.ok_count()
    time.sleep(1)  # long enough for a sidecar to serve what it should not
    assert traffic.ok_count() == before
    stack.postgres.start_again()
    traffic.wait_for(100)
    finish(stack, traffic)


def test_the_store_stops_and_goes_on(make_stack, seed):
    """Longer than any answer is waited for, and shorter."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    for seconds in (0.1, 0.6, 2.5):
        stack.redis.process.signal(signal.SIGSTOP)
        time.sleep(seconds)
        stack.redis.process.signal(signal.SIGCONT)
        traffic.wait_for(100)
    finish(stack, traffic)


def epochs(stack):
    return dict(stack.sql("select partition, epoch from callgate.cursors"))


def test_a_sidecar_that_slept_while_another_recovered(make_stack, seed):
    """It wakes with an old epoch, batches half flushed and answers half given."""
    stack = make_stack(sidecars=2, partitions=4, **SLOW_FLUSH)
    traffic = begin(stack, seed, workers=12, timeout=0.7)
    for sleeper in stack.sidecars:
        traffic.wait_for(100)
        sleeper.process.signal(signal.SIGSTOP)
        before = epochs(stack)
        copy = stack.redis.copy_files()
        stack.redis.kill()
        stack.redis.put_files(copy)
        stack.redis.start()
        wait_until(lambda: all(now > before[partition] for partition, now in epochs(stack).items()),
                   30, "the other one has recovered every partition")
        traffic.wait_for(40, timeout=60)
        recovered = epochs(stack)
        sleeper.process.signal(signal.SIGCONT)
        traffic.wait_for(100)
        assert epochs(stack) == recovered, "it began a recovery that nothing called for"
    finish(stack, traffic, may_lose_tail=True)


def test_the_clock_of_the_store_jumps(make_stack, seed):
    """By little it goes on; by an hour it may refuse until the clock is back: nothing is lost."""
    stack = make_stack(sidecars=2, partitions=4, movable_clock=True, appendfsync="always")
    traffic = begin(stack, seed)
    for ms in (1500, -1500, -1500, 1500):
        stack.redis.set_clock_ahead(ms)
        traffic.wait_for(60)
    for ms in (3_600_000, -3_600_000):
        stack.redis.set_clock_ahead(ms)
        time.sleep(1)
        stack.redis.set_clock_ahead(-ms)
        traffic.wait_for(60)
    finish(stack, traffic)


def test_committed_and_credited_is_there_after_everything_is_gone(make_stack):
    """Without any repeat: what was answered COMMITTED, and every credit, needs no caller."""
    stack = make_stack(sidecars=1, partitions=1)
    company = new_company()
    stack.client.create_wallet(company, plan_id="enterprise")
    said = {}
    for number in range(10):
        stack.client.authorize(company, f"c{number}", start=True)
        answer = stack.client.settle(company, f"c{number}", 60_000, durability=pb.DURABILITY_COMMITTED)
        said["usage", f"c{number}"] = -answer.cost_micros
        stack.client.credit(company, 1000 + number, f"p{number}", durability=pb.DURABILITY_ACCEPTED)
        said["top_up", f"p{number}"] = 1000 + number
    stack.redis.client.flushall()

    def booked():
        return {row[:2]: row[2] for row in stack.sql(
            "select type, reference_id, callgate.to_micros(amount, 'usd') from wallet_transactions")}

    wait_until(lambda: booked() == said, 30, lambda: f"{booked()} is {said}")
    assert answers(stack)
