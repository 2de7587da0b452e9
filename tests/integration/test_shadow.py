"""Shadow mode: everything decided, nothing refused or cut, and what it would have saved.

SPDX-License-Identifier: Apache-2.0
"""

import json
import subprocess

import pytest

from support.contract import pb
from support.invariants import check_invariants
from support.processes import program
from support.waiting import wait_until
from support.watcher import Watcher

RATE = 600_000
HEADROOM = RATE * 6_000 // 60_000 + 1


@pytest.fixture
def shadow(make_stack):
    stack = make_stack(lifecycle_events="1")
    stack.add_plan("tests-shadow", rate=(RATE, 0, 0, 1_000), shadow=True, calls_max=3,
                   cut_warning_ms=500, cut_repeat_ms=1_000)
    return stack


def report(stack, *arguments):
    answer = subprocess.run([program("callgate"), "shadow", "--json", *arguments],
                            env=stack.environment(), capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_call_without_funds_runs_and_is_reported(shadow):
    client = shadow.client
    company = client.funded(0, plan_id="tests-shadow")
    watcher = Watcher(client, company).begin()
    answer = client.authorize(company, "a", start=True)
    assert (answer.decision, answer.shadow_decision) == (
        pb.DECISION_ALLOWED, pb.DECISION_DENIED_INSUFFICIENT_FUNDS)
    told = watcher.wait_for(1, pb.EVENT_TYPE_CALL_AUTHORIZED)[0]
    assert told.shadow_decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS
    cut = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF)[0]
    assert cut.shadow and cut.repeat == 0
    assert client.get_call(company, "a").shadow_decision == pb.DECISION_DENIED_INSUFFICIENT_FUNDS
    settled = client.settle(company, "a", 60_000, durability=pb.DURABILITY_COMMITTED)
    assert settled.cost_micros == RATE and settled.balance_micros == -RATE
    assert shadow.sql("select denied_calls, denied_funds, denied_micros, cut_calls from"
                      " callgate.shadow_report('-infinity', 'infinity', %s)", [company]) == [
        (1, 1, RATE, 0)]
    assert json.dumps(report(shadow, "--company", company)).count(company) == 1
    check_invariants(shadow)


def test_a_call_that_would_have_been_cut_off_tells_what_came_after(shadow):
    client = shadow.client
    company = client.funded(HEADROOM + RATE // 60, plan_id="tests-shadow")  # one second
    watcher = Watcher(client, company).begin()
    answer = client.authorize(company, "a", start=True, reserve_ms=1)
    assert answer.shadow_decision == pb.DECISION_ALLOWED
    cut = watcher.wait_for(1, pb.EVENT_TYPE_CUT_OFF)[0]
    assert cut.shadow
    talked = cut.exhausts_at_ms - answer.as_of_ms
    wait_until(lambda: client.balance(company).as_of_ms > cut.exhausts_at_ms + 1_500, 10)
    assert len(watcher.of(pb.EVENT_TYPE_CUT_OFF)) == 1, "nobody obeys it, so it is not repeated"
    settled = client.settle(company, "a", 60_000, durability=pb.DURABILITY_COMMITTED)
    saved = settled.cost_micros - -(-talked // 1_000) * RATE // 60
    rows = shadow.sql("select denied_calls, cut_calls, cut_micros, calls, cost_micros from"
                      " callgate.shadow_report('-infinity', 'infinity', %s)", [company])
    assert rows == [(0, 1, saved, 1, RATE)]
    check_invariants(shadow)


def test_what_shadow_mode_would_have_left_alone_is_not_reported(shadow):
    client = shadow.client
    company = client.funded(100 * RATE, plan_id="tests-shadow")
    for n in range(3):
        client.authorize(company, f"c{n}", start=True)
    beyond = client.authorize(company, "beyond", start=True)
    assert beyond.shadow_decision == pb.DECISION_DENIED_CONCURRENCY_LIMIT
    for call in ["c0", "c1", "c2", "beyond"]:
        client.settle(company, call, 6_000, durability=pb.DURABILITY_COMMITTED)
    rows = shadow.sql("select denied_calls, denied_concurrency, denied_funds, cut_calls, calls from"
                      " callgate.shadow_report('-infinity', 'infinity', %s)", [company])
    assert rows == [(1, 1, 0, 0, 4)]
    check_invariants(shadow)
