"""Gate.Session on the real thing: what holds for a call of its own holds on a stream, also while
parts die in the middle of it.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import json
import os
import signal
import subprocess
import time

import grpc
import pytest

from support.client import new_company
from support.contract import pb
from support.invariants import check_invariants
from support.load import companies_of, finish, settled
from support.processes import program
from support.session import Ended, Session, SessionLoad
from support.waiting import wait_until

Code = grpc.StatusCode


@pytest.fixture
def session(client):
    with Session(client) as opened:
        yield opened


def test_operations_on_one_call_take_effect_in_their_order(stack, client, session):
    """Sent in one breath, first use of each wallet included: nothing waits for an answer."""
    companies = [client.funded(10_000_000) for _ in range(20)]
    asked = []
    for number, company in enumerate(companies * 5):
        call = f"c{number}"
        asked.append([session.ask("authorize", company, call), session.ask("start", company, call),
                      session.ask("stop", company, call),
                      session.ask("settle", company, call, duration_ms=61_001),
                      session.ask("settle", company, call, duration_ms=61_001),
                      session.ask("cancel", company, call)])
    for futures in asked:
        answers = [future.result(20) for future in futures]
        assert [answer.status_code for answer in answers] == [0, 0, 0, 0, 0, 9]
        authorized, started, stopped, first, again, cancelled = answers
        assert authorized.authorize.decision == pb.DECISION_ALLOWED
        assert not started.start.replayed and started.start.state == pb.CALL_STATE_METERING
        assert stopped.stop.state == pb.CALL_STATE_STOPPED
        assert not first.settle.replayed and again.settle.replayed
        assert first.settle.ledger_id == again.settle.ledger_id
        assert cancelled.error.reason == pb.ERROR_REASON_WRONG_STATE
        assert cancelled.error.state == pb.CALL_STATE_SETTLED
    check_invariants(stack)


def test_the_last_cent_is_held_once_on_one_stream(stack, client, session):
    rich = client.funded(10_000_000)
    needed = client.authorize(rich, "ask", validate_only=True).required_micros
    poor = client.funded(3 * needed + needed // 2)
    asked = [session.ask("authorize", poor, f"c{n}") for n in range(200)]
    decisions = [future.result(10).authorize.decision for future in asked]
    assert decisions.count(pb.DECISION_ALLOWED) == 3
    assert decisions.count(pb.DECISION_DENIED_INSUFFICIENT_FUNDS) == 197
    assert client.balance(poor).held_micros == 3 * needed
    check_invariants(stack)


def test_a_session_says_what_the_methods_say(stack, client, session):
    """The same requests both ways, on twins: answers and errors differ in nothing but the instant."""
    one, other = client.funded(50_000_000), client.funded(50_000_000)
    for name, fields in [
            ("authorize", {}), ("authorize", {}), ("authorize", {"destination": "+4912345"}), ("start", {}),
            ("cancel", {}), ("settle", {"duration_ms": 61_001}), ("settle", {"duration_ms": 5}),
            ("settle", {"duration_ms": 61_001}), ("stop", {}), ("authorize", {})]:
        said = session.ask(name, other, "c1", **fields).result(10)
        if said.status_code:
            alone = client.fails(name, one, "c1", **fields)
            assert (alone.code.value[0], alone.message) == (said.status_code, said.status_message)
            assert alone.detail.reason == said.error.reason and alone.detail.state == said.error.state
            assert alone.detail.settled.cost_micros == said.error.settled.cost_micros
        else:
            answer, alone = getattr(said, name), getattr(client, name)(one, "c1", **fields)
            for field in answer.DESCRIPTOR.fields_by_name:
                if not field.endswith("_at_ms") and field not in ("as_of_ms", "ledger_id"):
                    assert getattr(answer, field) == getattr(alone, field), (name, field)
    nobody = session.ask("settle", new_company(), "c1", duration_ms=1).result(10)
    assert (nobody.status_code, nobody.error.reason) == (5, pb.ERROR_REASON_NO_WALLET)


def test_a_key_is_one_whatever_way_it_comes(stack, client, session):
    company = client.funded(10_000_000)
    first = session.answer("authorize", company, "c1", start=True)
    assert client.authorize(company, "c1", start=True).replayed and not first.replayed
    charged = client.settle(company, "c1", 61_001)
    again = session.answer("settle", company, "c1", duration_ms=61_001)
    assert again.replayed and again.ledger_id == charged.ledger_id
    with Session(client) as another:
        assert another.answer("settle", company, "c1", duration_ms=61_001).ledger_id == charged.ledger_id


def test_what_is_answered_committed_is_in_the_ledger(stack, client, session):
    company = client.funded(10_000_000_000, plan_id="enterprise")
    asked = []
    for number in range(100):
        session.ask("authorize", company, f"c{number}", start=True)
        asked.append(session.ask("settle", company, f"c{number}", duration_ms=1000,
                                 durability=pb.DURABILITY_COMMITTED))
    for number, future in enumerate(asked):
        answer = future.result(20)
        assert answer.status_code == 0, answer
        assert stack.value("select count(*) from wallet_transactions where entry_id = %s",
                           [answer.settle.ledger_id]) == 1


def test_operations_that_wait_together_share_a_function_call(stack, client, session):
    companies = [client.funded(10_000_000_000, plan_id="enterprise") for _ in range(4)]
    for company in companies:
        session.answer("authorize", company, "first")
    stack.redis.client.config_resetstat()
    # All of them are in the socket before the sidecar reads the first.
    stack.sidecar.process.signal(signal.SIGSTOP)
    asked = [session.ask("authorize", companies[n % 4], f"c{n}") for n in range(200)]
    wait_until(lambda: session.outgoing.empty(), 10, "all is sent")
    time.sleep(0.2)  # what the client's own threads have still to write
    stack.sidecar.process.signal(signal.SIGCONT)
    assert {future.result(20).authorize.decision for future in asked} == {pb.DECISION_ALLOWED}
    stats = stack.redis.client.info("commandstats")
    assert stats["cmdstat_hmget"]["calls"] >= 200  # every decision its own
    assert stats["cmdstat_fcall"]["calls"] < 150
    check_invariants(stack)


def test_the_outage_policy_holds_and_the_stream_outlives_the_store(make_stack):
    stack = make_stack()
    stack.add_plan("open", outage_policy="allow", outage_longest_ms=60_000, outage_calls_max=3)
    denied, admitted = stack.client.funded(10**9), stack.client.funded(10**9, plan_id="open")
    with Session(stack.client) as session:
        for company in (denied, admitted):
            session.answer("authorize", company, "before")
        stack.redis.process.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            asked = {company: [session.ask("authorize", company, f"c{n}") for n in range(5)]
                     for company in (denied, admitted)}
            unavailable = [future.result(5) for future in asked[denied]]
            by_policy = [future.result(5) for future in asked[admitted]]
            took = time.monotonic() - began
        finally:
            stack.redis.process.signal(signal.SIGCONT)
        assert took < 1.0
        assert {answer.status_code for answer in unavailable} == {Code.UNAVAILABLE.value[0]}
        assert [answer.status_code for answer in by_policy].count(0) == 3
        assert all(answer.authorize.degraded for answer in by_policy if answer.status_code == 0)

        def decided():
            answer = session.ask("authorize", denied, "after").result(5)
            return answer.status_code == 0 and answer.authorize.decision == pb.DECISION_ALLOWED

        wait_until(decided, 20, "the store decides again, on the same stream")
        for n, answer in enumerate(by_policy):
            if answer.status_code == 0:
                assert session.answer("settle", admitted, f"c{n}", duration_ms=1000,
                                      resource_type="voice_outbound", destination="+14155550100").cost_micros > 0
    check_invariants(stack, timeout=60)


def test_kill_9_of_the_sidecar_in_the_middle_of_a_session(make_stack):
    stack = make_stack()
    load = SessionLoad(stack.sidecar.address, companies_of(stack.client), 100_000).start()
    for _ in range(3):
        settled(load, 200)
        stack.sidecar.restart()
    settled(load, 200)
    finish(stack, load)
    assert load.sessions >= 4 and load.codes["session UNAVAILABLE"] > 0, load.codes


def test_kill_9_of_redis_in_the_middle_of_a_session(make_stack):
    """The stream lives on: its operations are UNAVAILABLE for as long, and then are not."""
    stack = make_stack(appendfsync="always")
    load = SessionLoad(stack.sidecar.address, companies_of(stack.client), 100_000).start()
    for _ in range(2):
        settled(load, 200)
        stack.redis.restart()
    settled(load, 200)
    finish(stack, load)
    assert load.sessions == 1 and load.codes["UNAVAILABLE"] > 0, load.codes


def test_redis_connections_cut_in_the_middle_of_a_session(make_stack):
    stack = make_stack(sidecars=2)
    companies = companies_of(stack.client)
    loads = [SessionLoad(stack.sidecar.address, companies, 100_000, durability=pb.DURABILITY_COMMITTED).start()]
    for _ in range(5):
        settled(loads[0], 100)
        stack.redis.client.execute_command("client", "kill", "type", "normal", "skipme", "yes")
    settled(loads[0], 100)
    finish(stack, loads[0])


def test_sigterm_answers_what_was_read_and_ends_the_stream(make_stack):
    stack = make_stack()
    company = stack.client.funded(10_000_000_000, plan_id="enterprise")
    session = Session(stack.client)
    asked = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        def flood():
            for number in range(8_000):
                try:
                    asked.append(session.ask("authorize", company, f"c{number}", start=number % 2 == 0))
                except Ended:
                    return
                if number % 200 == 0:
                    time.sleep(0.005)

        flooding = pool.submit(flood)
        wait_until(lambda: len(asked) > 2000 and asked[1000].done(), 20, "it is under way")
        assert stack.sidecar.terminate() == 0
        flooding.result(20)
    session.finish()
    assert session.code is Code.UNAVAILABLE
    answered = [future.result() for future in asked if future.exception(10) is None]
    assert len(answered) > 1000
    codes = {answer.status_code for answer in answered}
    assert codes <= {0, Code.UNAVAILABLE.value[0]}, codes
    stack.sidecar.start()
    # By the same keys: what was answered is a repeat, whatever was not is decided now.
    with Session(stack.client) as second:
        for future in asked[:1000:50] + asked[-20:]:
            number = asked.index(future)
            again = second.answer("authorize", company, f"c{number}", start=number % 2 == 0)
            if future.exception() is None and future.result().status_code == 0:
                first = future.result().authorize
                allowed = first.decision == pb.DECISION_ALLOWED
                assert not allowed or again.replayed
        for number in range(0, len(asked), 20):
            second.ask("settle", company, f"c{number}", duration_ms=1000, resource_type="voice_outbound",
                       destination="+14155550100")
        assert second.finish(60) is Code.OK
    check_invariants(stack, timeout=60)


def test_a_cancelled_session_leaves_what_it_began_to_its_keys(stack, client):
    company = client.funded(10_000_000_000, plan_id="enterprise")
    session = Session(client)
    asked = [session.ask("authorize", company, f"c{number}") for number in range(500)]
    wait_until(lambda: asked[10].done(), 10, "it is under way")
    session.close()
    said = {number: future.result().authorize for number, future in enumerate(asked)
            if future.exception(10) is None}
    assert said
    with Session(client) as second:
        for number in range(500):
            again = second.answer("authorize", company, f"c{number}")
            assert again.decision == pb.DECISION_ALLOWED
            assert again.replayed or number not in said
            assert number not in said or again.held_micros == said[number].held_micros
            assert second.answer("cancel", company, f"c{number}").released_micros > 0
    assert client.balance(company).held_micros == 0
    check_invariants(stack)


@pytest.mark.parametrize("more", [["--in-flight", "400"],  # more than the sidecar reads at once
                                  ["--in-flight", "64", "--rate", "400", "--poisson"]])
def test_the_c_client_on_one_stream(stack, client, more):
    environment = {**os.environ, "CALLGATE_ADDRESS": stack.sidecar.address}
    done = subprocess.run([program("callgate-bench"), "--session", "--op", "cycle", "--count", "1500", "--seconds",
                           "120", "--deadline-ms", "60000", "--companies", "6", "--json", *more],
                          capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads(done.stdout)["parts"]
    for part in (parts["authorize"], parts["settle"]):
        assert (part["count"], part["denied"], part["errors"]) == (1500, 0, {})
    check_invariants(stack, timeout=60)
    assert stack.value("select count(*) from usage_logs") >= 1500
