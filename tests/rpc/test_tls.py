"""TLS with client certificates, on connections that the server accepts itself.

SPDX-License-Identifier: Apache-2.0
"""

import os
import shutil
import socket
import ssl
import subprocess
import threading

import grpc
import pytest

from conftest import COMPANY, Server, authorize, request, wait_until
from support.certificates import Authority, client_credentials
from test_door import OTHER, Code, Credentials, bearer, code_of, send
from test_session import Session

URI = "spiffe://tests.example.org/dialler"


class Tls:
    """An authority, a server's files, and clients of them."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority(folder / "issued")
        self.certificate, self.key = folder / "tls.pem", folder / "tls.key"
        self.clients = folder / "clients.pem"
        self.credentials = Credentials(folder / "credentials")
        self.install(self.authority)
        self.dialler = self.authority.issue("dialler", f"URI:{URI},DNS:dialler.example.org")
        self.crm = self.authority.issue("crm", "DNS:crm.example.org")
        self.stranger = self.authority.issue("stranger", "DNS:stranger.example.org")

    def install(self, authority, clients=None):
        """The server's files, each put in place of the one before."""
        issued = authority.issue_server()
        for source, place in zip((*issued, (clients or authority).pem),
                                 (self.certificate, self.key, self.clients)):
            fresh = place.with_suffix(".new")
            shutil.copy(source, fresh)
            fresh.rename(place)

    def settings(self, **more):
        return {"listen": "tls:127.0.0.1:0", "tls_certificate": self.certificate,
                "tls_key": self.key, "tls_client_authorities": self.clients,
                "credentials_file": self.credentials.path, **more}

    def name(self, name, roles, companies="*"):
        self.credentials.lines.append(f"{name} {roles} {companies}")
        self.credentials.write()


@pytest.fixture
def tls(tmp_path):
    made = Tls(tmp_path)
    made.name(f"uri:{URI}", "gate", COMPANY)
    made.name("dns:crm.example.org", "billing")
    made.credentials.add("admin", "admin")
    return made


@pytest.fixture
def server(start_server, tls):
    return start_server(**tls.settings())


def connect(server, credentials, host="localhost"):
    return grpc.secure_channel(f"{host}:{server.port}", credentials,
                               options=[("grpc.use_local_subchannel_pool", 1)])


def ask(pb, server, credentials, name="Gate/Start", metadata=None, company=COMPANY):
    with connect(server, credentials) as channel:
        return code_of(lambda: send(pb, channel, name, metadata, company))


def test_a_certificate_is_a_credential(pb, server, tls):
    dialler = client_credentials(tls.authority, tls.dialler)
    crm = client_credentials(tls.authority, tls.crm)
    assert ask(pb, server, dialler) == (Code.OK, "")
    assert ask(pb, server, dialler, "Wallets/GetBalance")[0] == Code.PERMISSION_DENIED
    assert ask(pb, server, dialler, company=OTHER)[0] == Code.PERMISSION_DENIED
    assert ask(pb, server, crm, "Wallets/Watch", company=OTHER)[0] == Code.OK
    assert ask(pb, server, crm)[0] == Code.PERMISSION_DENIED
    # A name that a token has is none of a certificate's, and one that is unknown is nobody's.
    code, said = ask(pb, server, client_credentials(tls.authority, tls.stranger))
    assert (code, said) == (Code.UNAUTHENTICATED,
                            "neither a token nor a certificate with a name that is known here")


def test_a_session_that_says_much_is_no_flood(pb, server, tls):
    """What it says cannot be told from what a flood says, but something comes of it."""
    dialler = client_credentials(tls.authority, tls.dialler)
    filler = {"filler": "x" * 3000}
    with connect(server, dialler) as channel:
        session = Session(channel, pb)
        for tag in range(600):
            session.authorize(tag, f"c{tag}", meta=filler)
        assert {answer.tag for answer in session.answers(600)} == set(range(600))
        assert not session.rest()
    assert server.doors()["connections_cut_flood"] == 0


def test_a_token_counts_before_the_certificate(pb, server, tls):
    stranger = client_credentials(tls.authority, tls.stranger)
    dialler = client_credentials(tls.authority, tls.dialler)
    admin = tls.credentials["admin"]
    assert ask(pb, server, stranger, "Wallets/Credit", admin)[0] == Code.OK
    assert ask(pb, server, dialler, "Gate/Start", admin)[0] == Code.PERMISSION_DENIED
    assert ask(pb, server, dialler, "Gate/Start", bearer("x" * 40))[0] == Code.UNAUTHENTICATED


def test_who_has_no_certificate_of_the_authority_is_not_even_heard(pb, server, tls, tmp_path):
    other = Authority(tmp_path / "other", "other")
    # The same name, by somebody else.
    forged = other.issue("dialler", f"URI:{URI}")
    trusting = grpc.ssl_channel_credentials(
        tls.authority.pem.read_bytes(), forged[1].read_bytes(), forged[0].read_bytes())
    for credentials in (client_credentials(tls.authority), trusting):
        assert ask(pb, server, credentials)[0] == Code.UNAVAILABLE
        assert ask(pb, server, credentials, metadata=tls.credentials["admin"])[0] == Code.UNAVAILABLE
    with grpc.insecure_channel(f"localhost:{server.port}") as channel:
        assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.UNAVAILABLE
    server.term()
    assert server.wait() == (0, 0)


def test_a_client_that_trusts_another_authority_turns_away(pb, server, tls, tmp_path):
    other = Authority(tmp_path / "other", "other")
    assert ask(pb, server, client_credentials(other, tls.dialler))[0] == Code.UNAVAILABLE


def test_roles_of_the_door_are_for_every_certificate(pb, start_server, tls):
    server = start_server(**tls.settings(listen="tls:127.0.0.1:0=billing"))
    stranger = client_credentials(tls.authority, tls.stranger)
    assert ask(pb, server, stranger, "Wallets/GetBalance")[0] == Code.OK
    assert ask(pb, server, stranger)[0] == Code.PERMISSION_DENIED
    assert ask(pb, server, client_credentials(tls.authority, tls.dialler))[0] == Code.OK


def test_a_routable_address_is_served_with_tls(pb, start_server, tls):
    server = start_server(**tls.settings(listen="tls:0.0.0.0:0"))
    assert ask(pb, server, client_credentials(tls.authority, tls.dialler))[0] == Code.OK
    six = start_server(**tls.settings(listen="tls:[::1]:0"))
    with grpc.secure_channel(
            f"[::1]:{six.port}", client_credentials(tls.authority, tls.dialler),
            options=[("grpc.ssl_target_name_override", "localhost")]) as channel:
        assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.OK


def peer_serial(server, tls):
    """The serial number of what the server shows."""
    context = ssl.create_default_context(cafile=tls.authority.pem)
    context.load_cert_chain(*tls.dialler)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("localhost", server.port), 5) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            return secure.getpeercert()["serialNumber"]


@pytest.mark.parametrize("by", ["signal", "itself"])
def test_certificates_are_rotated_while_calls_go_on(pb, server, tls, by):
    dialler = client_credentials(tls.authority, tls.dialler)
    stop = threading.Event()
    failed = []

    def call_on():
        while not stop.is_set():
            code, said = ask(pb, server, dialler)
            if code != Code.OK:
                failed.append((code, said))

    caller = threading.Thread(target=call_on)
    caller.start()
    try:
        before = peer_serial(server, tls)
        with connect(server, dialler) as channel:
            assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.OK
            tls.install(tls.authority)
            if by == "signal":
                server.reload()
            wait_until(lambda: peer_serial(server, tls) != before)
            assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.OK
    finally:
        stop.set()
        caller.join()
    # Between the new certificate and the new key a handshake finds files that do not fit: the old
    # ones serve it.
    assert not failed


def test_an_authority_that_is_taken_away_lets_nobody_in(pb, server, tls, tmp_path):
    dialler = client_credentials(tls.authority, tls.dialler)
    assert ask(pb, server, dialler)[0] == Code.OK
    other = Authority(tmp_path / "other", "other")
    tls.install(tls.authority, clients=other)
    server.reload()
    assert ask(pb, server, dialler)[0] == Code.UNAVAILABLE
    theirs = other.issue("dialler", f"URI:{URI}")
    assert ask(pb, server, grpc.ssl_channel_credentials(
        tls.authority.pem.read_bytes(), theirs[1].read_bytes(), theirs[0].read_bytes()))[0] == Code.OK


def test_a_name_that_is_taken_away_ends_calls_on_old_connections(pb, server, tls):
    with connect(server, client_credentials(tls.authority, tls.dialler)) as channel:
        assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.OK
        tls.credentials.lines = [line for line in tls.credentials.lines if URI not in line]
        tls.credentials.write()
        server.reload()
        assert code_of(lambda: send(pb, channel, "Gate/Start"))[0] == Code.UNAUTHENTICATED


def break_pair(tls):
    shutil.copy(tls.authority.issue("other", "DNS:localhost")[1], tls.key)


@pytest.mark.parametrize("spoil, complaint", [
    (lambda tls: tls.certificate.write_text("nothing"), "the certificate is no PEM"),
    (lambda tls: tls.key.write_text("nothing"), "the key is no PEM"),
    (break_pair, "the key is not the certificate's"),
    (lambda tls: tls.clients.write_text(""), "the authorities are no PEM"),
    (lambda tls: tls.clients.unlink(), "No such file"),
])
def test_files_that_cannot_be_used_are_refused_and_change_nothing_later(
        pb, server, tls, spoil, complaint):
    spoil(tls)
    before = server.doors()["reloads_failed"]
    server.reload()
    wait_until(lambda: server.doors()["reloads_failed"] > before)
    assert complaint in server.stderr()
    assert ask(pb, server, client_credentials(tls.authority, tls.dialler))[0] == Code.OK

    refused = Server(**tls.settings())
    assert refused.process.wait(10) == 1
    assert complaint in refused.stderr()
    refused.folder.cleanup()


def test_descriptors_that_run_out_come_back(pb, server, tls):
    """gRPC's own listener would never accept again."""
    pid = server.process.pid
    taken = len(os.listdir(f"/proc/{pid}/fd"))
    subprocess.run(["prlimit", f"--nofile={taken + 5}", f"--pid={pid}"], check=True)
    peers = [socket.create_connection(("localhost", server.port), 5) for _ in range(60)]
    wait_until(lambda: "connections are not accepted" in server.stderr())
    assert server.doors()["accept_pauses"] > 0
    for peer in peers:
        peer.close()
    with connect(server, client_credentials(tls.authority, tls.dialler)) as channel:
        answer = authorize(channel, pb)(request(pb), timeout=20, wait_for_ready=True)
        assert answer.decision == pb.DECISION_ALLOWED


def test_who_connects_and_says_nothing_is_let_go(pb, start_server, tls):
    server = start_server(**tls.settings(connections_max=20))
    peers = [socket.create_connection(("localhost", server.port), 5) for _ in range(40)]
    wait_until(lambda: server.doors()["connections_refused_full"] == 20)
    assert server.doors()["connections_open"] == 20
    # Each of them has the time of a handshake: 5 s.
    wait_until(lambda: server.doors()["connections_open"] == 0, timeout=15)
    assert ask(pb, server, client_credentials(tls.authority, tls.dialler))[0] == Code.OK
    for peer in peers:
        peer.close()


def test_tls_and_a_socket_side_by_side_close_in_order(pb, tmp_path, start_server, tls):
    path = f"unix:{tmp_path}/gate.sock"
    server = start_server(**tls.settings(listen=f"{path}=gate,tls:127.0.0.1:0"))
    dialler = client_credentials(tls.authority, tls.dialler)
    with grpc.insecure_channel(path) as near, connect(server, dialler) as far:
        futures = [authorize(channel, pb).future(request(pb, call_id=f"slow-500-{n}"), timeout=10)
                   for n in range(20) for channel in (near, far)]
        authorize(near, pb)(request(pb), timeout=5)
        authorize(far, pb)(request(pb), timeout=5)
        server.term()
        assert all(future.result().decision == pb.DECISION_ALLOWED for future in futures)
    submitted, answered = server.wait()
    assert submitted == answered == 42
