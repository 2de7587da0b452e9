"""Peers that mean harm, or behave as if they did: each is answered or closed in a defined way,
which is counted; the sidecar's memory stays bounded; and the honest notice nothing.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import gzip
import os
import random
import resource
import struct
import time

import grpc
import pytest

from conftest import LIMITS, SECONDS, STREAMS_MAX, attackers
from support.client import Client
from support.contract import pb
from support.http2 import (
    ACK_OF_SETTINGS, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, PING, PREFACE,
    RST_STREAM, SETTINGS, WIDEST, WIDEST_WINDOW, WINDOW_UPDATE, connect, frame, header,
    headers_again, is_closed, message, request, request_headers, send, settings)
from support.waiting import wait_until

Code = grpc.StatusCode
STALLED_S, GREETING_S = 5, 5
PLENTY = 1_000_000_000


def authorize_message(company, call=""):
    return pb.AuthorizeRequest(company_id=company, call_id=call, resource_type="voice_outbound",
                               destination="+14155550100").SerializeToString()


def in_vain(fort):
    """Connections of which nothing came: cut while they went on, or ended by themselves."""
    return fort.limit("connection_flood") + fort.ended("unused")


def test_connections_by_the_hundred(fort, siege):
    def come_and_stay(keep):
        until = time.monotonic() + SECONDS
        with contextlib.ExitStack() as guests:
            for _ in range(600):  # more than all that may be
                if (guest := connect(keep.socket)) is not None:
                    guests.enter_context(guest)
            time.sleep(max(0, until - time.monotonic()))  # they stay; nothing else is waited for

    before = fort.limit("connections")
    siege.lay(*attackers(b""), come_and_stay)
    assert fort.limit("connections") > before + 100


def test_streams_and_no_acknowledgement(fort, siege):
    """More calls than it was told it may, by a client that never says that it has heard; some in
    as few bytes as can be, of which a socket holds ten times as many."""
    headers, again = request_headers(), headers_again(6)
    flood = b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, headers) for n in range(20_000))
    small = frame(HEADERS, END_HEADERS, 1, request_headers(index=True)) + b"".join(
        frame(HEADERS, END_HEADERS, 2 * n + 3, again) for n in range(20_000))
    before, banned = fort.limit("connection_flood"), fort.limit("banned")
    siege.lay(*attackers(HELLO + flood, 2), *attackers(HELLO + small))
    assert fort.limit("connection_flood") >= before + 3
    assert fort.limit("banned") > banned


def test_answers_that_nobody_reads(fort, siege):
    """More calls than it may have, whole ones, with a valid token: what it has beyond that is
    refused, and once it has outrun even that it is cut."""
    names = ["connection_in_flight", "connection_flood", "unread_answers"]

    def hits():
        scrape = fort.scrape()
        return sum(scrape[f'callgate_limits_hit_total{{limit="{name}"}}'] for name in names)

    company = fort.client.funded(PLENTY)
    headers = request_headers(token=fort.operator)
    flood = b"".join(request(2 * n + 1, authorize_message(company), headers) for n in range(20_000))
    before = hits()
    siege.lay(*attackers(PREFACE + settings(initial_window_size=WIDEST) + WIDEST_WINDOW
                         + ACK_OF_SETTINGS + flood, 3))
    assert hits() >= before + 3 * STREAMS_MAX


def test_requests_that_are_reset_at_once(fort, siege):
    headers = request_headers()
    flood = b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, headers)
                     + frame(RST_STREAM, 0, 2 * n + 1, struct.pack(">I", 8)) for n in range(20_000))
    before = fort.limit("connection_flood")
    siege.lay(*attackers(HELLO + flood, 2))
    assert fort.limit("connection_flood") >= before + 2


def test_watches_that_nobody_reads(fort, siege):
    company = fort.client.funded(PLENTY)
    ask = pb.WatchRequest(company_id=company).SerializeToString()
    watch = request(1, ask, request_headers("/callgate.v1.Wallets/Watch", fort.operator))

    def come_and_stay(keep):
        with contextlib.ExitStack() as peers:
            for _ in range(LIMITS["watchers_max"] + 20):
                peer = peers.enter_context(connect(keep.socket, receive_bytes=4096))
                assert send(peer, PREFACE + settings(initial_window_size=WIDEST) + WIDEST_WINDOW
                            + ACK_OF_SETTINGS + watch)
            wait_until(lambda: keep.scrape()["callgate_watchers"] == LIMITS["watchers_max"])
            meta = {"filler": "x" * 3_000}
            for n in range(60):
                call = f"{keep.sidecar.process.name}-{n}"
                keep.client.authorize(company, call, meta=meta, start=True)
                keep.client.settle(company, call, 1)

    before = fort.limit("watchers")
    siege.lay(come_and_stay)
    assert fort.limit("watchers") >= before + 20
    wait_until(lambda: fort.scrape()["callgate_watchers"] == 0, 20)


def test_messages_that_inflate(fort, siege):
    bomb = gzip.compress(b"\0" * 60_000_000)
    headers = request_headers(token=fort.operator, more=[("grpc-encoding", "gzip")])
    flood = b""
    for n in range(STREAMS_MAX - 4):
        content = message(bomb, compressed=True)
        flood += frame(HEADERS, END_HEADERS, 2 * n + 1, headers)
        flood += b"".join(
            frame(DATA, END_STREAM if at + 16_384 >= len(content) else 0, 2 * n + 1,
                  content[at:at + 16_384]) for at in range(0, len(content), 16_384))
    before = fort.turned_away("compressed")
    siege.lay(*attackers(HELLO + ACK_OF_SETTINGS + flood, 2, reads=True))
    assert fort.turned_away("compressed") > before


def test_headers_without_end(fort, siege):
    """A block that goes on and on; one that is large; one that is small and refers to large ones."""
    filler = header("x", "y" * 16_000)
    endless = frame(HEADERS, 0, 1, request_headers()) + b"".join(
        frame(CONTINUATION, 0, 1, filler[:16_384]) for _ in range(200))
    large = b"".join(
        frame(HEADERS, 0, 2 * n + 1, request_headers(more=[("a", "b" * 3_000)]))
        + frame(CONTINUATION, END_HEADERS, 2 * n + 1, header("c", "d" * 12_000)) for n in range(60))
    table = request_headers() + header("k", "v" * 3_900, index=True)
    references = b"".join(
        frame(HEADERS, END_HEADERS, 2 * n + 3, request_headers() + b"\xbe" * 4_000)
        for n in range(50))
    bomb = frame(HEADERS, END_HEADERS, 1, table) + references
    before = fort.ended("unused")
    siege.lay(*attackers(HELLO + endless), *attackers(HELLO + large), *attackers(HELLO + bomb))
    assert fort.ended("unused") > before


def test_calls_whose_message_never_comes(fort, siege):
    """Headers and nothing, and half a message, on as many connections as there may be."""
    headers = request_headers(token=fort.operator)
    calls = b"".join(
        frame(HEADERS, END_HEADERS, 2 * n + 1, headers)
        + (frame(DATA, 0, 2 * n + 1, message(b"half", length=60_000)) if n % 2 else b"")
        for n in range(STREAMS_MAX - 4))

    def come_and_stay(keep):
        stalled = keep.limit("stalled_calls")
        with contextlib.ExitStack() as peers:
            for _ in range(150):
                peer = peers.enter_context(connect(keep.socket))
                assert send(peer, HELLO + ACK_OF_SETTINGS + calls)
            # Each has its five seconds from when its connection came in, of which some wait.
            wait_until(lambda: keep.limit("stalled_calls") >= stalled + 150 * (STREAMS_MAX - 4),
                       3 * STALLED_S)

    before = fort.limit("stalled_calls")
    siege.lay(come_and_stay)
    assert fort.limit("stalled_calls") >= before + 150 * (STREAMS_MAX - 4)


def test_greetings_by_the_byte(fort, siege):
    """Connections that say a little now and then, and never all that a client says first."""
    def trickle(keep):
        before = keep.ended("silent")
        with contextlib.ExitStack() as peers:
            guests = [peers.enter_context(connect(keep.socket)) for _ in range(150)]
            begun = time.monotonic()
            for at in range(len(PREFACE) - 1):
                for guest in guests:
                    send(guest, PREFACE[at:at + 1])
                time.sleep(0.1)
            # Each has its five seconds, and no more.
            for guest in guests:
                assert is_closed(guest, GREETING_S + 5)
            assert time.monotonic() - begun < GREETING_S + 5
            wait_until(lambda: keep.ended("silent") >= before + 150)

    siege.lay(trickle)


def test_frames_that_ask_for_an_answer_each(fort, siege):
    pings = frame(PING, 0, 0, b"12345678") * 20_000
    acknowledged = frame(SETTINGS, 0, 0) * 20_000
    resets = b"".join(frame(RST_STREAM, 0, 2 * n + 1, b"\0\0\0\0") for n in range(20_000))
    before = in_vain(fort)
    siege.lay(*attackers(HELLO + pings), *attackers(HELLO + acknowledged),
              *attackers(HELLO + resets))
    assert in_vain(fort) > before


def test_frames_that_ask_for_nothing(fort, siege):
    """Which are therefore not seen here, and which no window ends."""
    updates = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 50_000
    unknown = frame(0xee, 0, 0) * 50_000
    empty = frame(HEADERS, END_HEADERS, 1, request_headers()) + frame(DATA, 0, 1) * 50_000
    before = in_vain(fort)
    siege.lay(*attackers(HELLO + updates), *attackers(HELLO + unknown),
              *attackers(HELLO + empty))
    assert in_vain(fort) > before


def test_rubbish(fort, siege):
    """What a client says, with bytes changed, added and left out at random."""
    seed = int(os.environ.get("CG_SEED", random.SystemRandom().getrandbits(32)))
    print(f"CG_SEED={seed}")
    dice = random.Random(seed)
    company = fort.client.funded(PLENTY)
    good = HELLO + ACK_OF_SETTINGS + b"".join(
        request(2 * n + 1, authorize_message(company), request_headers(token=fort.operator))
        for n in range(8))

    def throw(keep):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            bad = bytearray(good)
            for _ in range(dice.randrange(1, 20)):
                at = dice.randrange(len(bad))
                kind = dice.randrange(3)
                if kind == 0:
                    bad[at] = dice.randrange(256)
                elif kind == 1:
                    del bad[at:at + dice.randrange(1, 30)]
                else:
                    bad[at:at] = dice.randbytes(dice.randrange(1, 30))
            peer = connect(keep.socket)
            if peer is not None:
                with peer:
                    send(peer, bytes(bad))

    before = fort.turned_away("rubbish")
    siege.lay(throw)
    assert fort.turned_away("rubbish") > before


def test_descriptors_run_out(fort, siege):
    """Connections wait, and come in when there are descriptors again; what is open goes on."""
    def crowd(keep):
        soft, hard = resource.prlimit(keep.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(keep.pid, resource.RLIMIT_NOFILE, (keep.descriptors() + 20, hard))
        try:
            with contextlib.ExitStack() as guests:
                for _ in range(100):
                    guest = connect(keep.socket, timeout=0.2)
                    if guest is not None:
                        guests.enter_context(guest)
                wait_until(lambda: "not accepted" in keep.sidecar.process.text())
                time.sleep(SECONDS)  # what is tested is that nothing else happens
        finally:
            resource.prlimit(keep.pid, resource.RLIMIT_NOFILE, (soft, hard))
        with Client(keep.address, token=keep.operator) as late:
            wait_until(late.is_serving, 10)

    siege.lay(crowd)
    assert fort.scrape()["callgate_accept_pauses_total"] > 0


@pytest.mark.parametrize("token", ["none", "wrong"])
def test_who_has_no_valid_token(fort, siege, token):
    company = fort.client.funded(PLENTY)
    wrong = None if token == "none" else fort.operator[:-1] + ("A" if fort.operator[-1] != "A" else "B")
    flood = b"".join(request(2 * n + 1, authorize_message(company, f"c{n}"),
                             request_headers(token=wrong)) for n in range(STREAMS_MAX))
    before = fort.turned_away("unauthenticated")
    siege.lay(*attackers(HELLO + ACK_OF_SETTINGS + flood, 2, reads=True))
    assert fort.turned_away("unauthenticated") > before + STREAMS_MAX
    assert fort.client.balance(company).posted_micros == PLENTY
    assert not fort.client.list_page(company).calls


def test_another_companys_ids(fort, siege):
    """Every method, by a token that is for one company, on another's wallet and call."""
    mine, other = fort.client.funded(PLENTY), fort.client.funded(PLENTY)
    token = fort.token("reseller", "gate,billing,admin", mine)
    fort.reload()
    fort.decoy.reload()
    fort.client.authorize(other, "theirs", start=True)
    before = fort.turned_away("permission")
    asked = {}

    def pry(keep):
        asked[keep] = 0
        with Client(keep.address, token=token) as client:
            call = f"mine-{keep.sidecar.process.name}"
            assert client.authorize(mine, call, start=True).decision == pb.DECISION_ALLOWED
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                for name, arguments in [
                        ("authorize", ["x"]), ("start", ["theirs"]), ("stop", ["theirs"]),
                        ("settle", ["theirs", 1]), ("cancel", ["theirs"]), ("adopt", ["x", 1]),
                        ("get_wallet", []), ("balance", []), ("get_call", ["theirs"]),
                        ("credit", [5]), ("charge", [5]), ("create_wallet", [])]:
                    with pytest.raises(grpc.RpcError) as caught:
                        getattr(client, name)(other, *arguments)
                    assert caught.value.code() == Code.PERMISSION_DENIED, name
                    assert other not in caught.value.details()
                    asked[keep] += 1
            client.settle(mine, call, 1)

    siege.lay(pry)
    assert fort.turned_away("permission") == before + asked[fort] > before + 12
    (call,) = fort.client.list_page(other).calls
    assert call.call_id == "theirs" and call.state == pb.CALL_STATE_METERING
    fort.client.settle(other, "theirs", 0)


def test_one_company_that_dials_wildly(fort, siege):
    """A valid token, and no end: it has its rate, and the others have theirs."""
    company = fort.client.funded(PLENTY)
    headers = request_headers(token=fort.operator)

    round_of_calls = b"".join(request(2 * n + 1, authorize_message(company, f"d{n}"), headers)
                              for n in range(STREAMS_MAX))
    before = fort.limit("company_authorizes")
    siege.lay(*attackers(HELLO + ACK_OF_SETTINGS + round_of_calls, 2, reads=True))
    assert fort.limit("company_authorizes") > before
