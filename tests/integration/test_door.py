"""A whole stack behind its doors: tokens, companies and TLS, with every client there is.

SPDX-License-Identifier: Apache-2.0
"""

import os
import signal
import subprocess
import sys
import threading

import grpc
import pytest

from support.certificates import Authority, client_credentials
from support.client import Client, new_company
from support.contract import pb
from support.invariants import check_invariants
from support.processes import ROOT, build_directory
from support.redis_server import free_port
from support.waiting import wait_until
from test_readme import blocks, environment

Code = grpc.StatusCode
PLENTY = 1_000_000_000


def callgate(*words, **environment):
    return subprocess.run([build_directory() / "bin" / "callgate", *words], capture_output=True,
                          text=True, timeout=60, check=False,
                          env={"PATH": os.environ["PATH"], **environment})


class Door:
    """A stack that is reached by its operator without a token, and by others with one."""

    def __init__(self, make_stack, folder, **settings):
        self.folder = folder
        self.file = folder / "credentials"
        self.tokens = {}
        self.file.touch(mode=0o600)
        self.token("operator", "gate,billing,admin")
        self.authority = Authority(folder / "issued")
        certificate, key = self.authority.issue_server()
        # No name: c-ares, which looks names up for the C core, leaves ten bytes behind.
        self.tls_address = f"127.0.0.1:{free_port()}"
        self.stack = make_stack(
            listen="unix:{socket},unix:{socket}.admin=*,tls:" + self.tls_address,
            credentials_file=self.file, tls_cert_file=certificate, tls_key_file=key,
            tls_client_ca_file=self.authority.pem, **settings)
        self.operator = Client(f"{self.stack.sidecar.address}.admin")
        self.stack.sidecar.client.close()
        self.stack.sidecar.client = self.operator  # who looks for invariants

    def token(self, name, roles, companies=None):
        """By the command, as an operator does it."""
        path = self.folder / f"{name}.token"
        bound = ["--companies", companies] if companies else []
        done = callgate("token", str(path), "--roles", roles, "--name", name, *bound)
        assert done.returncode == 0, done.stderr
        assert path.stat().st_mode & 0o777 == 0o600
        with open(self.file, "a", encoding="ascii") as file:
            file.write(done.stdout)
        self.tokens[name] = path.read_text().strip()
        return self.tokens[name]

    def revoke(self, name):
        lines = self.file.read_text().splitlines()
        fresh = self.file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text("".join(f"{line}\n" for line in lines if not line.endswith(f" {name}")))
        fresh.rename(self.file)

    def reload(self):
        log = self.stack.sidecar.process
        before = log.text().count("msg=\"credentials were taken over\"")
        log.signal(signal.SIGHUP)
        wait_until(lambda: log.text().count("msg=\"credentials were taken over\"") > before)

    def client(self, name):
        return Client(self.stack.sidecar.address, token=self.tokens[name])


@pytest.fixture
def door(make_stack, tmp_path):
    return Door(make_stack, tmp_path)


def calls_of(client):
    """Every RPC of the contract, as a function of a company and a call of its own."""
    return {
        "authorize": lambda company, call: client.authorize(company, call),
        "start": lambda company, call: client.start(company, call),
        "stop": lambda company, call: client.stop(company, call),
        "settle": lambda company, call: client.settle(company, call, 1),
        "cancel": lambda company, call: client.cancel(company, call),
        "adopt": lambda company, call: client.adopt(company, call, 1),
        "create_wallet": lambda company, call: client.create_wallet(company),
        "get_wallet": lambda company, call: client.get_wallet(company),
        "update_wallet": lambda company, call: client.update_wallet(company, frozen=True),
        "balance": lambda company, call: client.balance(company),
        "get_call": lambda company, call: client.get_call(company, call),
        "list_page": lambda company, call: client.list_page(company),
        "credit": lambda company, call: client.credit(company, 5),
        "charge": lambda company, call: client.charge(company, 5),
        "watch": lambda company, call: next(
            client.wallets.Watch(pb.WatchRequest(company_id=company), timeout=5)),
    }


def failure(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_a_reseller_reaches_his_companies_and_no_others(door):
    mine, theirs = (door.operator.funded(PLENTY) for _ in range(2))
    for company in (mine, theirs):
        door.operator.authorize(company, "live", start=True)
    before = door.operator.balance(theirs).posted_micros
    door.token("reseller", "gate,billing,admin", mine)
    door.reload()
    with door.client("reseller") as client:
        for name, call in calls_of(client).items():
            error = failure(lambda c=call: c(theirs, "live"))
            assert error.code() == Code.PERMISSION_DENIED, name
            assert theirs not in error.details()
        assert client.authorize(mine, "new").decision == pb.DECISION_ALLOWED
        assert client.settle(mine, "live", 1_000).state == pb.CALL_STATE_SETTLED
        assert client.credit(mine, 5).ledger_id
    # Nothing of theirs was touched by any of it.
    assert not door.operator.get_wallet(theirs).wallet.frozen
    assert door.operator.balance(theirs).posted_micros == before
    assert door.operator.get_call(theirs, "live").state == pb.CALL_STATE_METERING
    door.operator.settle(theirs, "live", 1_000)
    door.operator.cancel(mine, "new")
    check_invariants(door.stack)


def test_pages_and_tokens_of_a_bound_credential_tell_of_its_companies_alone(door):
    mine = sorted(door.operator.funded(PLENTY) for _ in range(3))
    theirs = sorted(door.operator.funded(PLENTY) for _ in range(6))
    for company in mine + theirs:
        for n in range(2):
            door.operator.authorize(company, f"c{n}")
    door.token("reseller", "billing", ",".join(mine))
    door.reload()
    with door.client("reseller") as client:
        for page_size in (1, 2, 5, 0):
            calls, token = [], ""
            while True:
                page = client.list_page("", page_size=page_size, page_token=token)
                calls += [(call.company_id, call.call_id) for call in page.calls]
                token = page.next_page_token
                assert not any(company in token for company in theirs)
                if not token:
                    break
            assert sorted(calls) == [(company, f"c{n}") for company in mine for n in range(2)]
        # Tokens that were answered to somebody else, or made up: one that points into a company
        # of others is none.
        token = ""
        for _ in range(18):
            page = door.operator.list_page("", page_size=1, page_token=token)
            token = page.next_page_token
            if token and any(company in token for company in theirs):
                assert failure(lambda t=token: client.list_page("", page_token=t)).code() == \
                    Code.INVALID_ARGUMENT
            elif token:
                assert {call.company_id for call in client.list_page("", page_token=token).calls} \
                    <= set(mine)
    for company in mine + theirs:
        for n in range(2):
            door.operator.cancel(company, f"c{n}")


def events(stream, count):
    """The next events' companies, and the last token."""
    seen, token = [], ""
    for answer in stream:
        token = answer.resume_token or token
        if answer.HasField("event"):
            seen.append(answer.event.company_id)
        if len(seen) == count and token:
            return seen, token
    raise AssertionError("the watch ended")


def test_a_bound_watch_resumes_with_any_token_and_sees_its_companies_alone(door):
    mine, theirs = door.operator.funded(PLENTY), door.operator.funded(PLENTY)
    door.token("reseller", "billing", mine)
    door.reload()
    with door.client("reseller") as client:
        types = [pb.EVENT_TYPE_CHARGED]
        everything = door.operator.wallets.Watch(pb.WatchRequest(types=types), timeout=60)
        token = next(answer.resume_token for answer in everything if answer.resume_token)
        bound = client.wallets.Watch(pb.WatchRequest(types=types), timeout=60)
        next(bound)
        for n in range(10):
            door.operator.charge(theirs if n % 2 else mine, 1)
        assert events(everything, 10)[0].count(theirs) == 5
        assert events(bound, 5)[0] == [mine] * 5
        bound.cancel()
        # Somebody else's token is a position: from there on he sees what is his.
        resumed = client.wallets.Watch(
            pb.WatchRequest(types=types, resume_token=token), timeout=60)
        assert events(resumed, 5)[0] == [mine] * 5
        door.operator.charge(theirs, 1)
        door.operator.charge(mine, 1)
        assert events(resumed, 1)[0] == [mine]
        resumed.cancel()
        # A watch of one company that is not his, with a token of it.
        other = door.operator.wallets.Watch(pb.WatchRequest(company_id=theirs), timeout=60)
        token = next(answer.resume_token for answer in other if answer.resume_token)
        other.cancel()
        error = failure(lambda: next(client.wallets.Watch(
            pb.WatchRequest(company_id=theirs, resume_token=token), timeout=10)))
        assert error.code() == Code.PERMISSION_DENIED
        everything.cancel()


def test_reloads_under_load_fail_nobody_but_the_revoked(door):
    company = door.operator.funded(PLENTY)
    for name in ("one", "two"):
        door.token(name, "gate")
    door.reload()
    stop = threading.Event()
    failed, count = [], [0]

    def work(number):
        with door.client("two") as client:
            n = 0
            while not stop.is_set():
                call = f"w{number}-{n}"
                try:
                    client.authorize(company, call)
                    client.cancel(company, call)
                    count[0] += 1
                except grpc.RpcError as error:
                    if error.code() in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
                        failed.append((error.code(), error.details()))
                n += 1

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    try:
        with door.client("one") as client:
            for _ in range(20):
                door.reload()
                client.authorize(company, "", validate_only=True)
            door.revoke("one")
            door.reload()
            assert client.fails("authorize", company, "x").code == Code.UNAUTHENTICATED
            # What cannot be read leaves everybody where he was.
            door.file.write_text("sha256:nonsense\n")
            door.stack.sidecar.process.signal(signal.SIGHUP)
            wait_until(lambda: "credentials were not taken over" in door.stack.sidecar.process.text())
            assert client.fails("authorize", company, "x").code == Code.UNAUTHENTICATED
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not failed and count[0] > 0
    check_invariants(door.stack)


def test_the_command_comes_in_by_token_and_by_tls(door):
    company = door.operator.funded(PLENTY)
    door.token("clerk", "billing", company)
    with open(door.file, "a", encoding="ascii") as file:
        file.write("dns:desk.example.org admin * desk\n")
    door.reload()
    socket_only = {"CALLGATE_ADDRESS": door.stack.sidecar.address}
    certificate, key = door.authority.issue("desk", "DNS:desk.example.org")
    tls = {"CALLGATE_ADDRESS": door.tls_address, "CALLGATE_CA_FILE": str(door.authority.pem),
           "CALLGATE_CLIENT_CERT_FILE": str(certificate), "CALLGATE_CLIENT_KEY_FILE": str(key)}
    balance = ["balance", "--company", company]
    credit = ["credit", "--company", company, "--amount-micros", "7", "--type", "top_up",
              "--reference", f"pay-{company}"]
    clerk = str(door.folder / "clerk.token")
    # A handshake may be under way when the command gives up: gRPC's own memory, gone with the process.
    gives_up = {"ASAN_OPTIONS": "detect_leaks=0"}

    for words, environment, code in (
            (balance, socket_only, 5),
            ([*balance, "--token-file", clerk], socket_only, 0),
            (balance, {**socket_only, "CALLGATE_TOKEN_FILE": clerk}, 0),
            (balance, {**socket_only, "CALLGATE_TOKEN": door.tokens["clerk"]}, 0),
            (balance, {**socket_only, "CALLGATE_TOKEN": "x" * 32}, 5),
            ([*credit, "--token-file", clerk], socket_only, 5),
            (["balance", "--company", new_company(), "--token-file", clerk], socket_only, 5),
            (credit, tls, 0),
            ([*balance, "--token-file", clerk], tls, 0),
            ([*credit, "--token-file", clerk], tls, 5),
            ([*balance, "--timeout-ms", "700"], {**tls, **gives_up, "CALLGATE_SERVER_NAME": "elsewhere"}, 4),
            ([*balance, "--timeout-ms", "700"],
             {**gives_up, **{name: tls[name] for name in ("CALLGATE_ADDRESS", "CALLGATE_CA_FILE")}}, 4),
            ([*balance, "--token-file", "/nowhere"], socket_only, 2),
            (balance, {**tls, "CALLGATE_CA_FILE": ""}, 2),
            (["token", clerk, "--roles", "gate"], {}, 2)):
        done = callgate(*words, **environment)
        assert done.returncode == code, (words, environment, done.stdout, done.stderr)
        assert "x" * 32 not in done.stderr and door.tokens["clerk"] not in done.stderr


def test_the_official_client_over_tls_with_a_token(door):
    company = door.operator.funded(PLENTY)
    door.token("dialler", "gate,billing", company)
    door.reload()
    pair = door.authority.issue("host", "DNS:host.example.org")
    with Client(door.tls_address, credentials=client_credentials(door.authority, pair),
                token=door.tokens["dialler"]) as client:
        watch = client.wallets.Watch(pb.WatchRequest(), timeout=60)
        next(watch)
        assert client.authorize(company, "c1", start=True).decision == pb.DECISION_ALLOWED
        settled = client.settle(company, "c1", 61_001, durability=pb.DURABILITY_COMMITTED)
        assert settled.cost_micros > 0
        told = next(answer.event for answer in watch if answer.HasField("event"))
        assert (told.company_id, told.call_id, told.type) == (
            company, "c1", pb.EVENT_TYPE_CALL_SETTLED)
        watch.cancel()
    with Client(door.tls_address, credentials=client_credentials(door.authority, pair)) as client:
        assert client.fails("balance", company).code == Code.UNAUTHENTICATED
    check_invariants(door.stack)


def test_one_company_that_dials_wildly_is_held_back(door, make_stack, tmp_path):
    company, other = door.operator.funded(PLENTY), door.operator.funded(PLENTY)
    assert all(door.operator.authorize(company, "", validate_only=True) for _ in range(50))
    stack = make_stack(authorizes_per_second=2, authorizes_burst=3)
    for one in (company, other):
        stack.client.create_wallet(one)
    failures = [stack.client.fails("authorize", company, "", validate_only=True)
                for n in range(10) if n >= 3 or not stack.client.authorize(
                    company, "", validate_only=True)]
    assert {f.code for f in failures} == {Code.RESOURCE_EXHAUSTED}
    assert all(0 < f.detail.retry_after_ms <= 500 for f in failures)
    assert stack.client.authorize(other, "", validate_only=True)


EXAMPLES = {
    "python": lambda: ([sys.executable, "-c", blocks("python")[-1]], "call-over-tls"),
    "node": lambda: (["node", "-e", blocks("js")[-1]], "call-from-node"),
}


@pytest.mark.parametrize("client", EXAMPLES)
def test_the_examples_of_the_readme(door, client):
    """Over TLS and with a token that the command has made: authorized, settled, and watched."""
    (script,) = [block for block in blocks("sh") if "callgate token" in block]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=door.folder,
                          env=environment(door.stack), capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    door.reload()
    company = "0b1c0a4e-6c43-4c4e-9d0a-0d7a3f5b1c11"
    door.operator.create_wallet(company)
    door.operator.credit(company, PLENTY)
    certificate, key = door.authority.issue("host", "DNS:host.example.org")
    example, call = EXAMPLES[client]()
    files = {"CALLGATE_CA_FILE": door.authority.pem, "CALLGATE_CLIENT_KEY_FILE": key,
             "CALLGATE_CLIENT_CERT_FILE": certificate,
             "CALLGATE_TOKEN_FILE": door.folder / "reseller.token"}
    done = subprocess.run(
        example, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        env={**environment(door.stack), **{name: str(path) for name, path in files.items()},
             "NODE_PATH": str(ROOT / "build" / "node" / "node_modules"),
             "CALLGATE_ADDRESS": door.tls_address, "COMPANY": company})
    assert done.returncode == 0, done.stderr
    told, cost = done.stdout.split()
    assert told == call
    settled = door.operator.get_call(company, call)
    assert settled.state == pb.CALL_STATE_SETTLED and settled.cost_micros == int(cost) > 0
    assert door.stack.sql("select meta->>'call_id' from usage_logs where company_id = %s",
                          [company]) == [(call,)]
    check_invariants(door.stack)


@pytest.mark.parametrize("listen, complaint", [
    ("0.0.0.0:50051", "plaintext TCP is for loopback"), ("[::]:50051=*", "plaintext TCP"),
    ("127.0.0.1:0", "nobody could call"), ("tls:0.0.0.0:0", "needs a certificate"),
])
def test_an_open_address_is_refused_at_start(stack, listen, complaint):
    done = subprocess.run(
        [build_directory() / "bin" / "callgated", "--listen", listen, "--redis-url",
         stack.redis.url, "--database-url", stack.sidecar_url],
        capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and complaint in done.stderr
