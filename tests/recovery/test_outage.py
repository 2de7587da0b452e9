"""The store hangs, dies and comes back: who is answered what, how soon, and what it costs.

Everyone is answered within 250 ms, by the plan's outage policy.  A call that was admitted so
is settled late, once.  What was answered UNAVAILABLE does not begin afterwards.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import contextlib
import dataclasses
import signal
import threading
import time

import grpc
import pytest

from support.client import Client, new_company, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.processes import release_directory
from support.waiting import wait_until

PROMISE_S = 0.250
# What this process and the machine add to an answer: 16 threads here, and other work beside.
# Answers that took longer than the promise are counted, and may be few.
SLACK_S = 0.150

COMPANIES = 4  # of each policy
PRICED = {"resource_type": "voice_outbound", "destination": "+14155550100"}


@dataclasses.dataclass
class Asked:
    """One Authorize, and what became of it."""
    company: str
    call: str
    began: float
    took: float = 0.0
    ended_ms: float = 0.0
    code: str = "OK"
    answer: object = None


class Pulse:
    """Authorizes calls of these companies all the time, without repeating any; at a few in turn."""

    def __init__(self, addresses, companies, workers=8, every_s=0.01):
        self.addresses, self.companies, self.every_s = addresses, companies, every_s
        self.asked, self.trouble, self.halted = [], [], threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(workers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        """Also where the test has failed: else it would never end."""
        self.halted.set()
        for thread in self.threads:
            thread.join(30)
        assert kind or not self.trouble, self.trouble[:3]

    def _work(self, worker):
        clients = [Client(address) for address in self.addresses]
        try:
            number = 0
            while not self.halted.is_set():
                company = self.companies[(worker + number) % len(self.companies)]
                asked = Asked(company, f"w{worker}-{number}", time.monotonic())
                try:
                    asked.answer = clients[number % len(clients)].authorize(
                        company, asked.call, start=number % 3 == 0, timeout=5)
                except grpc.RpcError as error:
                    asked.code = error.code().name
                asked.took = time.monotonic() - asked.began
                asked.ended_ms = time.time() * 1000
                self.asked.append(asked)
                number += 1
                self.halted.wait(self.every_s)
        except Exception as error:  # reported at the end, in the test's own thread
            self.trouble.append(repr(error))
        finally:
            for client in clients:
                client.close()


@contextlib.contextmanager
def hung(stack):
    """Redis does nothing, and refuses nothing."""
    stack.redis.process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.redis.process.signal(signal.SIGCONT)


@contextlib.contextmanager
def ledger_away(stack):
    """No new sessions, and the present ones ended: to this stack Postgres is away."""
    stack.postgres.execute(f"alter database {stack.database} allow_connections false")
    try:
        stack.connection.close()
        stack.postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity"
                               f" where datname = '{stack.database}'")
        yield
    finally:
        stack.postgres.execute(f"alter database {stack.database} allow_connections true")


def serves_again(stack):
    for sidecar in stack.sidecars:
        wait_until(sidecar.client.is_serving, 30, f"{sidecar.process.name} serves")


def add_plans(stack):
    """A plan of either policy; both without any other limit that matters."""
    limits = {"calls_max": 1_000_000, "credit_unlimited": True}
    stack.add_plan("open", outage_policy="allow", outage_longest_ms=90_000,
                   outage_calls_max=1000, **limits)
    stack.add_plan("closed", **limits)


def companies_of(stack, plan):
    """Known to the store, and their terms to every sidecar."""
    found = [stack.client.funded(1_000_000_000, plan_id=plan) for _ in range(COMPANIES)]
    for sidecar in stack.sidecars:
        for company in found:
            until_answered(lambda s=sidecar, c=company: s.client.authorize(
                c, "", validate_only=True))
    return found


def print_times(what, asked):
    took = sorted(each.took for each in asked)
    late = sum(each > PROMISE_S for each in took)
    print(f"\n{what}: {len(took)} authorizes, median {took[len(took) // 2] * 1000:.1f} ms, "
          f"p99 {took[len(took) * 99 // 100] * 1000:.1f} ms, max {took[-1] * 1000:.1f} ms, "
          f"{late} above {PROMISE_S * 1000:.0f} ms", flush=True)
    return took


def settle_all(stack, asked, durability=pb.DURABILITY_COMMITTED):
    """Each through both sidecars: charged the first time, and the same the second.  Answers
    whether degraded ones were late: both, where some of them were held after all."""
    def settle(numbered):
        number, each = numbered
        sidecars = stack.sidecars[number % 2:] + stack.sidecars[:number % 2]
        duration = 1000 * (number % 60)
        answers = [until_answered(lambda c=sidecar.client: c.settle(
            each.company, each.call, duration, durability=durability, **PRICED))
            for sidecar in sidecars]
        assert [answer.replayed for answer in answers] == [False] + [True] * (len(answers) - 1), each
        assert len({answer.ledger_id for answer in answers}) == 1, each
        was_degraded = each.answer is not None and each.answer.degraded
        return answers[0].late if was_degraded else None

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return {late for late in pool.map(settle, enumerate(asked)) if late is not None}


def check_what_happened(stack, asked, back_ms):
    """Nobody was answered UNAVAILABLE and began afterwards; who was not degraded is held."""
    live = {}
    for call in stack.client.live_calls():
        assert call.call_id not in live, f"{call.call_id} is held twice"
        live[call.call_id] = call
    for each in asked:
        call = live.get(each.call)
        if each.code != "OK":
            assert each.code == "UNAVAILABLE", each
            assert call is None or call.authorized_at_ms <= min(each.ended_ms + 5, back_ms), each
        elif each.answer.degraded:
            assert each.answer.decision == pb.DECISION_ALLOWED, each
            assert each.answer.held_micros == 0 and each.answer.state == 0, each
            assert call is None or call.authorized_at_ms <= back_ms, each
        else:
            assert call is not None, f"{each} was admitted, and is lost"
    return live


@pytest.mark.parametrize("hangs_s", [1.5, 6.0], ids=["hung", "hung_until_the_connection_is_dropped"])
def test_a_store_that_hangs_under_load(make_stack, hangs_s):
    stack = make_stack(sidecars=2, directory=release_directory())
    add_plans(stack)
    opens, closed = companies_of(stack, "open"), companies_of(stack, "closed")
    with Pulse([sidecar.address for sidecar in stack.sidecars], opens + closed) as pulse:
        time.sleep(0.5)  # load as it is before
        began = time.monotonic()
        with hung(stack):
            wait_until(lambda: not stack.client.is_serving(), 2, "it says that it does not serve")
            time.sleep(hangs_s)
            ended = time.monotonic()
            back_ms = time.time() * 1000
        serves_again(stack)
        time.sleep(0.5)  # and after
    asked = pulse.asked

    away = [each for each in asked if began + 0.3 < each.began < ended - 0.3]
    took = print_times(f"hung for {hangs_s} s", [each for each in asked if began < each.began < ended])
    waited = [each for each in took if each > 0.1]  # sorted: the middle one kept the promise
    assert waited and waited[len(waited) // 2] <= PROMISE_S, waited
    assert took[-1] <= PROMISE_S + SLACK_S, took[-10:]
    assert len(away) > 100
    for each in away:
        if each.company in opens:
            assert each.code == "OK" and each.answer.degraded, each
            assert each.answer.max_duration_ms == 90_000, each
        else:
            assert each.code == "UNAVAILABLE", each
    # Only those that were under way when it hung waited; the others were answered at once.
    assert sorted(each.took for each in away)[len(away) // 2] < 0.05

    live = check_what_happened(stack, asked, back_ms)
    charged = [each for each in asked if each.code == "OK" or each.call in live]
    late = settle_all(stack, charged)
    assert late, "no degraded call was settled: the test shows nothing"
    assert True in late
    check_invariants(stack, timeout=60)
    count = stack.value("select count(*) from usage_logs")
    assert count == len(charged)


def test_a_store_that_dies_and_comes_back(make_stack):
    """With appendfsync always, so that what was acknowledged is there again."""
    stack = make_stack(sidecars=2, appendfsync="always", directory=release_directory())
    add_plans(stack)
    opens, closed = companies_of(stack, "open"), companies_of(stack, "closed")
    with Pulse([sidecar.address for sidecar in stack.sidecars], opens + closed) as pulse:
        time.sleep(0.5)  # load as it is before
        killed = time.monotonic()
        stack.redis.kill()
        time.sleep(1.5)
        restarted = time.monotonic()
        stack.redis.start()
        serves_again(stack)
        time.sleep(0.5)  # and after
    asked = pulse.asked

    took = print_times("dead for 1.5 s", [each for each in asked if each.began > killed])
    assert took[-1] <= PROMISE_S + SLACK_S, took[-10:]
    away = [each for each in asked if killed + 0.3 < each.began < restarted - 0.3]
    assert len(away) > 100
    assert {each.code for each in away if each.company in closed} == {"UNAVAILABLE"}
    assert all(each.code == "OK" and each.answer.degraded for each in away if each.company in opens)
    after = [each for each in asked[-20:] if each.code == "OK"]
    assert after and not any(each.answer.degraded for each in after[-5:])

    live = {call.call_id for call in stack.client.live_calls()}
    for each in asked:
        if each.code == "OK" and not each.answer.degraded:
            assert each.call in live, f"{each} was admitted, and is lost"
    charged = [each for each in asked if each.code == "OK" or each.call in live]
    assert True in settle_all(stack, charged)
    check_invariants(stack, timeout=60)
    assert stack.value("select count(*) from usage_logs") == len(charged)


def answered_within(ask):
    """The answer or the failure, which came in time."""
    began = time.monotonic()
    answer = ask()
    took = time.monotonic() - began
    assert took < PROMISE_S + SLACK_S, took
    return answer


@pytest.fixture
def few(make_stack):
    """Two sidecars, and a company whose plan admits two calls by policy, of 20 s at most."""
    stack = make_stack(sidecars=2)
    stack.add_plan("few", outage_policy="allow", outage_longest_ms=30_000, longest_call_ms=20_000,
                   default_reserve_ms=10_000, outage_calls_max=2)
    company = stack.client.funded(1_000_000_000, plan_id="few")
    for sidecar in stack.sidecars:
        until_answered(lambda s=sidecar: s.client.authorize(company, "", validate_only=True))
    return stack, company


def test_the_cap_holds_per_company_and_sidecar(few):
    stack, company = few
    first, second = (sidecar.client for sidecar in stack.sidecars)
    with hung(stack):
        for client, calls in [(first, ("a", "b")), (second, ("c", "d"))]:
            for call in calls:
                answer = answered_within(lambda: client.authorize(company, call, start=True))
                assert answer.decision == pb.DECISION_ALLOWED and answer.degraded
                assert answer.state == pb.CALL_STATE_UNSPECIFIED and not answer.replayed
                assert answer.max_duration_ms == 20_000  # the plan's longest call
                assert answer.price.rate_micros_per_minute > 0
                assert (answer.held_micros, answer.expires_at_ms, answer.as_of_ms) == (0, 0, 0)
            failure = answered_within(lambda: client.fails("authorize", company, f"x-{calls[0]}"))
            assert failure.code == grpc.StatusCode.UNAVAILABLE
            assert failure.reason == pb.ERROR_REASON_STORE_UNAVAILABLE
            again = answered_within(lambda: client.authorize(company, calls[0]))
            assert again.replayed and again.degraded and again.max_duration_ms == 20_000
            other = first.fails("authorize", company, "a", destination="+14155550199")
            assert other.code == grpc.StatusCode.ALREADY_EXISTS
        for method, fields in [("start", {}), ("stop", {}), ("cancel", {}),
                               ("settle", {"duration_ms": 1000, **PRICED})]:
            failure = answered_within(lambda: first.fails(method, company, "a", **fields))
            assert failure.code == grpc.StatusCode.UNAVAILABLE, method
        # It is over, whatever its Settle was answered: another one finds room.
        assert first.authorize(company, "e").degraded
        assert first.fails("authorize", company, "f").code == grpc.StatusCode.UNAVAILABLE
    serves_again(stack)
    calls = [Asked(company, call, 0, answer=pb.AuthorizeResponse(degraded=True))
             for call in ("a", "b", "c", "d", "e")]
    assert until_answered(lambda: first.fails("start", company, "c")).code \
        == grpc.StatusCode.NOT_FOUND
    live = {call.call_id for call in first.live_calls(company)}
    assert settle_all(stack, calls) >= ({True} if len(live) < 5 else set())
    check_invariants(stack)
    assert stack.value("select count(*) from usage_logs where company_id = %s", [company]) == 5


def test_a_degraded_call_that_is_authorized_again_is_held(few):
    stack, company = few
    client = stack.client
    with hung(stack):
        wait_until(lambda: not client.is_serving(), 5, "the sidecar says that it does not serve")
        for call in ("a", "b"):
            assert client.authorize(company, call).degraded
    serves_again(stack)
    answer = until_answered(lambda: client.authorize(company, "a", start=True))
    assert not answer.degraded and answer.state == pb.CALL_STATE_METERING
    adopted = until_answered(lambda: client.adopt(company, "b", answer.as_of_ms - 1000))
    assert adopted.state == pb.CALL_STATE_METERING
    for call in ("a", "b"):
        assert not client.settle(company, call, 1000).late
    with hung(stack):
        # Neither counts any more.
        wait_until(lambda: not client.is_serving(), 5, "the sidecar says that it does not serve")
        for call in ("c", "d"):
            assert client.authorize(company, call).degraded
    serves_again(stack)
    check_invariants(stack)


def test_what_cached_terms_can_tell_is_told(make_stack):
    stack = make_stack()
    client = stack.client
    add_plans(stack)
    stack.add_plan("shadowed", shadow=True, longest_call_ms=50_000, default_reserve_ms=10_000)
    opened, frozen = (client.funded(1_000_000, plan_id="open") for _ in range(2))
    closed, shadowed = (client.funded(1_000_000, plan_id=plan) for plan in ("closed", "shadowed"))
    client.update_wallet(frozen, frozen=True)
    for company in (opened, frozen, closed, shadowed):
        until_answered(lambda c=company: client.authorize(c, "", validate_only=True))
    wait_until(lambda: client.authorize(frozen, "", validate_only=True).decision
               == pb.DECISION_DENIED_SUSPENDED, 5, "it is frozen")
    unknown = new_company()  # there, and no sidecar has ever been asked about it
    stack.sql("select callgate.wallet_create(%s, 'usd', 'open')", [unknown])

    def ask(company, call="x", **fields):
        return answered_within(lambda: client.authorize(company, call, **fields))

    with ledger_away(stack):
        with hung(stack):
            assert ask(opened).decision == pb.DECISION_ALLOWED
            assert ask(opened, "", validate_only=True).decision == pb.DECISION_ALLOWED
            assert ask(frozen).decision == pb.DECISION_DENIED_SUSPENDED
            unpriced = ask(opened, "y", resource_type="fax")
            assert unpriced.decision == pb.DECISION_DENIED_NO_PRICE
            assert not unpriced.HasField("price") and unpriced.degraded
            shadow = ask(shadowed)
            assert (shadow.decision, shadow.degraded) == (pb.DECISION_ALLOWED, True)
            assert shadow.max_duration_ms == 50_000
            for company in (closed, unknown):
                failure = answered_within(lambda c=company: client.fails("authorize", c, "x"))
                assert failure.code == grpc.StatusCode.UNAVAILABLE, failure
            credit = client.fails("credit", opened, 1, timeout=1)
            assert credit.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    serves_again(stack)
    assert "calls admitted by outage policy" in stack.sidecar.process.text()
    until_answered(lambda: client.balance(unknown))  # the ledger is there again, too
    check_invariants(stack)


def test_a_store_that_came_back_and_cannot_be_recovered_is_away(make_stack):
    """It answers, and nothing is served before the ledger is there again."""
    stack = make_stack(appendfsync="always")
    client = stack.client
    add_plans(stack)
    opened, closed = (companies_of(stack, plan)[0] for plan in ("open", "closed"))
    with ledger_away(stack):
        stack.redis.restart()
        wait_until(lambda: client.fails("authorize", closed, "x").reason
                   == pb.ERROR_REASON_RECOVERING, 10, "the store is there, and not served")
        wait_until(lambda: not client.is_serving(), 5, "it says that it does not serve")
        answer = answered_within(lambda: client.authorize(opened, "x", start=True))
        assert answer.degraded and answer.decision == pb.DECISION_ALLOWED
    serves_again(stack)
    settled = until_answered(lambda: client.settle(opened, "x", 30_000, **PRICED))
    assert settled.late and settled.cost_micros > 0
    check_invariants(stack)


def test_nothing_begins_after_it_was_answered_unavailable(make_stack):
    """Also of a sidecar's very first operation, when no answer has told it the store's clock."""
    stack = make_stack()
    company = stack.client.funded(1_000_000_000)
    held = stack.client.authorize(company, "held")
    assert held.decision == pb.DECISION_ALLOWED
    stack.sidecar.restart()
    client = stack.client
    with hung(stack):
        for n, method in enumerate(["authorize", "authorize", "start"]):
            fields = {"start": n == 1} if method == "authorize" else {}
            failure = answered_within(lambda: client.fails(
                method, company, "held" if method == "start" else f"c{n}", **fields))
            assert failure.code == grpc.StatusCode.UNAVAILABLE
    serves_again(stack)
    (call,) = until_answered(lambda: client.live_calls(company))
    assert (call.call_id, call.state) == ("held", pb.CALL_STATE_AUTHORIZED)
    check_invariants(stack)


def test_a_caller_in_a_hurry_is_answered_before_his_deadline(few):
    """A caller who gives less time than the store has sees the answer, and not his own deadline."""
    stack, company = few
    client = stack.client
    with hung(stack):
        answers = []
        for n in range(2):
            with contextlib.suppress(grpc.RpcError):
                answers.append(client.authorize(company, f"hurried-{n}", timeout=0.15))
        failure = client.fails("start", company, "hurried-0", timeout=0.15)
    assert [answer.degraded for answer in answers] == [True, True]
    assert failure.code == grpc.StatusCode.UNAVAILABLE
    serves_again(stack)
    check_invariants(stack)
