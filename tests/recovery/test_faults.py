"""Parts die in the middle of load: nothing is lost, nothing happens twice.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import signal
import threading
import time

import grpc
import pytest

from support.client import Client, new_company, new_reference, until_answered
from support.contract import pb
from support.invariants import check_invariants
from support.load import Load, companies_of, finish, settled
from support.stack import Sidecar



def test_kill_9_of_the_only_sidecar_in_the_middle_of_load(make_stack):
    stack = make_stack()
    load = Load([stack.sidecar.address], companies_of(stack.client), 100_000).start()
    for _ in range(3):
        settled(load, 100)
        stack.sidecar.restart()
    settled(load, 100)
    finish(stack, load)
    assert load.codes["UNAVAILABLE"] > 0, "the kill was not felt: the test shows nothing"


def test_kill_9_of_one_of_two_sidecars_with_committed_settles(make_stack):
    stack = make_stack(sidecars=2)
    load = Load([sidecar.address for sidecar in stack.sidecars], companies_of(stack.client),
                100_000, durability=pb.DURABILITY_COMMITTED).start()
    for sidecar in stack.sidecars:
        settled(load, 50)
        sidecar.restart()
    settled(load, 50)
    finish(stack, load)


def test_kill_9_of_postgres_sessions_in_the_middle_of_load(make_stack):
    stack = make_stack()
    load = Load([stack.sidecar.address], companies_of(stack.client), 100_000).start()
    for _ in range(5):
        settled(load, 60)
        stack.sql("select pg_terminate_backend(pid) from pg_stat_activity"
                  " where datname = current_database() and pid <> pg_backend_pid()")
    settled(load, 60)
    finish(stack, load)


def test_redis_connections_cut_in_the_middle_of_load(make_stack):
    stack = make_stack()
    load = Load([stack.sidecar.address], companies_of(stack.client), 100_000).start()
    for _ in range(5):
        settled(load, 60)
        stack.redis.client.execute_command("client", "kill", "type", "normal", "skipme", "yes")
    settled(load, 60)
    finish(stack, load)


def test_a_redis_that_is_restarted_is_recovered(make_stack):
    """With appendfsync always, what was acknowledged is in the file: everysec may lose a tail
    to kill -9 wherever the disk is slow for a moment."""
    stack = make_stack(appendfsync="always")
    load = Load([stack.sidecar.address], companies_of(stack.client), 100_000).start()
    settled(load, 100)
    stack.redis.restart()
    settled(load, 100)
    finish(stack, load)


def test_sigterm_under_load_answers_everything(make_stack):
    stack = make_stack()
    company = stack.client.funded(10_000_000_000, plan_id="enterprise")
    clients = [Client(stack.sidecar.address) for _ in range(4)]
    codes, enough = [], threading.Event()

    def drive(client, worker):
        for number in range(100_000):
            began = time.monotonic()
            try:
                answer = client.authorize(company, f"w{worker}-{number}", timeout=20)
                assert answer.decision in (pb.DECISION_ALLOWED,
                                           pb.DECISION_DENIED_CONCURRENCY_LIMIT)
                codes.append(("OK", time.monotonic() - began))
            except grpc.RpcError as error:
                codes.append((error.code().name, time.monotonic() - began))
                return
            if number > 20:
                enough.set()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        driven = [pool.submit(drive, clients[n % 4], n) for n in range(16)]
        assert enough.wait(30)
        assert stack.sidecar.terminate() == 0
        for each in driven:
            each.result()
    assert {code for code, _ in codes} == {"OK", "UNAVAILABLE"}
    assert max(took for _, took in codes) < 10, "a request was left hanging"
    for client in clients:
        client.close()
    stack.sidecar.start()
    answered = sum(code == "OK" for code, _ in codes)
    # Each answered one is there; of the unanswered at most those in flight.
    assert answered <= stack.client.balance(company).active_calls <= answered + 16
    check_invariants(stack)


def test_sigterm_flushes_what_was_accepted(make_stack):
    stack = make_stack(flush_interval_ms=1000)
    company = stack.client.funded(10_000_000)
    stack.client.authorize(company, "c")
    accepted = stack.client.settle(company, "c", 60_000)
    assert stack.sidecar.terminate() == 0
    assert stack.value("select count(*) from wallet_transactions where entry_id = %s",
                       [accepted.ledger_id]) == 1
    stack.sidecar.start()
    check_invariants(stack)


def test_postgres_away_gating_goes_on_and_the_ledger_catches_up(postgres, make_stack):
    stack = make_stack()
    client = stack.client
    company = client.funded(100_000_000)
    unloaded = client.funded(0)
    client.authorize(company, "before")
    stack.wait_until_flushed(company)
    # No new sessions, and the present ones ended: to this stack Postgres is away.
    postgres.execute(f"alter database {stack.database} allow_connections false")
    try:
        stack.connection.close()
        postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity"
                         f" where datname = '{stack.database}'")
        for n in range(5):
            assert client.authorize(company, f"c{n}", start=True).decision == pb.DECISION_ALLOWED
            assert client.settle(company, f"c{n}", 60_000).cost_micros == 100_000
        assert client.settle(company, "before", 60_000).cost_micros == 100_000
        for method, args, fields in [
                ("settle", (company, "unknown", 1000), {"resource_type": "voice_outbound"}),
                ("settle", (company, "c0", 60_000), {"durability": pb.DURABILITY_COMMITTED}),
                ("credit", (unloaded, 1_000_000, new_reference()), {}),
                ("charge", (company, 1_000, new_reference()), {})]:
            failure = client.fails(method, *args, **fields)
            assert failure.code == grpc.StatusCode.UNAVAILABLE, (method, failure)
            assert failure.reason == pb.ERROR_REASON_LEDGER_UNAVAILABLE, (method, failure)
    finally:
        postgres.execute(f"alter database {stack.database} allow_connections true")
    stack.wait_until_flushed(company, timeout=30)
    assert stack.value("select count(*) from usage_logs where company_id = %s", [company]) == 6
    check_invariants(stack)


def test_sidecars_that_start_together_on_a_fresh_store_agree(make_stack):
    """Each wants to take every partition into use; whoever loses the race must not be stuck."""
    stack = make_stack(sidecars=0)
    stack.sidecars = [Sidecar(stack, n, None, {}) for n in (1, 2, 3)]
    for sidecar in stack.sidecars:
        sidecar.launch()
    for sidecar in stack.sidecars:
        sidecar.wait_until_serving()
    for number in range(48):  # over all partitions, as good as
        client = stack.sidecars[number % 3].client
        company = new_company()
        client.create_wallet(company)
        reference = new_reference()
        until_answered(lambda: client.credit(company, 1_000_000, reference, timeout=5,
                                             durability=pb.DURABILITY_COMMITTED), timeout=5)
    check_invariants(stack)


def test_a_second_sidecar_on_the_same_socket_is_refused(make_stack):
    stack = make_stack()
    twin = Sidecar(stack, 1, None, {})
    twin.process.log = stack.directory / "twin.log"
    twin.launch()
    assert twin.process.wait(20) != 0
    assert stack.client.is_serving()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_sidecar_ends_orderly(make_stack, number):
    stack = make_stack()
    stack.sidecar.process.signal(number)
    assert stack.sidecar.process.wait(20) == 0
    assert not stack.sidecar.socket.exists()
