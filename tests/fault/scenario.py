"""How every fault test begins and ends.

SPDX-License-Identifier: Apache-2.0
"""

import os
import subprocess

import psycopg

from support.client import Client
from support.history import check_history
from support.invariants import check_invariants
from support.processes import program
from support.traffic import Traffic
from support.waiting import wait_until


def begin(stack, seed, **settings):
    """Traffic that is under way."""
    traffic = Traffic(stack, seed, **settings).start()
    traffic.wait_for(50)
    return traffic


def finish(stack, traffic, may_lose_tail=False, duplicates_max=0, more=""):
    """The traffic ends; every key is sent again; then history, ledger and store agree."""
    traffic.halt()
    heal(stack)
    clients = [Client(sidecar.address) for sidecar in stack.sidecars]
    try:
        traffic.history.resolve(clients)
    finally:
        for client in clients:
            client.close()
    check_invariants(stack, timeout=60)
    verdict = check_history(stack, traffic.history, traffic.companies,
                            may_lose_tail=may_lose_tail, duplicates_max=duplicates_max)
    assert not stack.client.live_calls(), "calls that were settled or cancelled still run"
    audit(stack)
    print(f"seed {traffic.seed}: {more}{verdict}")
    return verdict


def heal(stack):
    """Everything that a scenario may have left broken works again."""
    for proxy in stack.proxies:
        proxy.heal()
    wait_until(lambda: answers(stack), 30, "Postgres answers the test")
    for sidecar in stack.sidecars:
        if not sidecar.process.is_alive():
            sidecar.launch()
    for sidecar in stack.sidecars:
        sidecar.wait_until_serving(60)


def answers(stack):
    """The test's own connection may be one of those that were killed."""
    try:
        return stack.value("select true")
    except psycopg.OperationalError:
        return False


def audit(stack):
    """The operator's own proof of the same, where this build has it."""
    known = subprocess.run([program("callgate"), "help"], check=True, capture_output=True, text=True).stdout
    if any(line.split()[:1] == ["audit"] for line in known.splitlines()):
        done = subprocess.run([program("callgate"), "audit"], check=False, capture_output=True,
                              text=True, env={**os.environ, **stack.environment()})
        assert done.returncode == 0, f"audit: {done.stdout}{done.stderr}"
