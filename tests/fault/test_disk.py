"""Disks that are slow, full or broken, under Redis.  Those under Postgres are in test_ledger.py.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import time

import pytest
import redis

from scenario import begin, finish
from support.strace import Injection
from support.waiting import wait_until


def test_kill_9_while_the_disk_is_slow(make_stack, seed):
    """everysec: what was acknowledged meanwhile is not in the file.  Seconds of it are gone."""
    stack = make_stack(sidecars=2, partitions=4)
    traffic = begin(stack, seed)
    with Injection(stack.redis.process.pid, "fdatasync", "delay_enter=4000000"):
        traffic.wait_for(150)
        time.sleep(1.2)  # until a background fsync hangs
        before = stack.redis.tail_file().stat().st_size
        traffic.wait_for(100)
        assert stack.redis.tail_file().stat().st_size == before, "nothing is postponed"
        stack.redis.kill()
    stack.redis.start()
    traffic.wait_for(50)
    finish(stack, traffic, may_lose_tail=True)


def test_always_on_a_slow_disk_loses_nothing(make_stack, seed):
    """Answers take longer than the sidecar waits for some of them."""
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    with Injection(stack.redis.process.pid, "fdatasync", "delay_enter=200000"):
        traffic.wait_for(30, timeout=60)
        stack.redis.kill()
    stack.redis.start()
    traffic.wait_for(50)
    finish(stack, traffic)


def stderr_of(stack):
    return stack.redis.process.text()


def test_the_disk_is_full_and_has_room_again(make_stack, seed):
    """everysec: Redis keeps what it acknowledged and refuses the next writes (MISCONF)."""
    stack = make_stack(sidecars=2, partitions=4)
    traffic = begin(stack, seed)
    with Injection(stack.redis.process.pid, "write", "error=ENOSPC", stack.redis.tail_file()):
        wait_until(lambda: "Error writing to the AOF file" in stderr_of(stack), 20)
        before = traffic.ok_count()
        time.sleep(0.5)
        assert traffic.history.counts["unknown"] > 0 and traffic.ok_count() - before < 500
    wait_until(lambda: "AOF write error looks solved" in stderr_of(stack), 20)
    traffic.wait_for(100)
    finish(stack, traffic)


@pytest.mark.long
def test_the_disk_is_full_and_the_store_is_killed(make_stack, seed):
    """What it kept in memory alone is gone."""
    stack = make_stack(sidecars=2, partitions=4, flush_interval_ms=150)
    traffic = begin(stack, seed)
    with Injection(stack.redis.process.pid, "write", "error=ENOSPC", stack.redis.tail_file()):
        wait_until(lambda: "Error writing to the AOF file" in stderr_of(stack), 20)
        stack.redis.kill()
    stack.redis.start()
    traffic.wait_for(100)
    finish(stack, traffic, may_lose_tail=True)


@pytest.mark.parametrize("call, fault, words", [
    ("write", "error=ENOSPC", "Can't recover from AOF write error"),
    ("fdatasync", "error=EIO", "Can't persist AOF for fsync error"),
], ids=["full", "broken"])
def test_always_ends_redis_where_its_disk_fails(make_stack, seed, call, fault, words):
    stack = make_stack(sidecars=2, partitions=4, appendfsync="always")
    traffic = begin(stack, seed)
    path = stack.redis.tail_file() if call == "write" else None
    with contextlib.suppress(AssertionError, RuntimeError), Injection(
            stack.redis.process.pid, call, fault, path):
        wait_until(lambda: not stack.redis.process.is_alive(), 20)
    assert not stack.redis.process.is_alive() and words in stderr_of(stack)
    stack.redis.start()
    traffic.wait_for(100)
    finish(stack, traffic)


def test_everysec_and_a_disk_whose_fsync_fails(make_stack, seed):
    """Redis notices within a second or two and refuses writes from then on; that an fsync would
    succeed again it does not find out by itself (7.0): an operator restarts it."""
    stack = make_stack(sidecars=2, partitions=4)
    traffic = begin(stack, seed)
    with Injection(stack.redis.process.pid, "fdatasync", "error=EIO"):
        wait_until(lambda: "Fail to fsync the AOF file" in stderr_of(stack), 20)
        wait_until(lambda: stack.redis.client.info("persistence")["aof_last_write_status"] == "err", 20)
    time.sleep(2)  # as long as Redis takes to try an fsync again, were there one
    with pytest.raises(redis.exceptions.ResponseError, match="MISCONF"):
        stack.redis.client.set("anything", 1)
    stack.redis.restart()
    traffic.wait_for(100)
    finish(stack, traffic, may_lose_tail=True)
