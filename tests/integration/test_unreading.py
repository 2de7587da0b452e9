"""Peers that ask and never read: of no consequence to others, nor to the end of the sidecar.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import socket
import struct
import time

from support.contract import pb
from support.waiting import wait_until
from support.watcher import Watcher

PLENTY = 1_000_000_000
PEERS = 100
# Where the machine is busy, a store that has no turn is not what is tested here.
PATIENT = {"store_timeout_ms": "5000"}


def frame(kind, flags, stream, payload):
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def header(name, value):
    """Neither indexed nor compressed."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def watch_request(company):
    """All that an HTTP/2 client says who opens a watch with the widest of windows."""
    message = pb.WatchRequest(company_id=company).SerializeToString()
    headers = b"".join(header(*pair) for pair in [
        (":method", "POST"), (":scheme", "http"), (":path", "/callgate.v1.Wallets/Watch"),
        (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")])
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1))
            + frame(8, 0, 0, struct.pack(">I", 2**31 - 1 - 65_535))
            + frame(1, 4, 1, headers)
            + frame(0, 1, 1, b"\0" + struct.pack(">I", len(message)) + message)
            + frame(4, 1, 0, b""))


def connected(path):
    def once():
        peer = socket.socket(socket.AF_UNIX)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        peer.setblocking(False)
        try:
            peer.connect(path)
        except BlockingIOError:  # the queue of those who connect is full
            peer.close()
            return None
        return peer
    return wait_until(once, 10)


def stuck_peers(stack, company, peers):
    """Each opens a watch, is told more than the kernel holds for it, and reads nothing."""
    client = stack.client
    good = Watcher(client, company).begin()
    for _ in range(PEERS):
        peer = peers.enter_context(connected(str(stack.sidecar.socket)))
        peer.sendall(watch_request(company))
    meta = {"filler": "x" * 4_000}
    for n in range(200):
        client.authorize(company, f"c{n}", meta=meta)
        client.cancel(company, f"c{n}")
    good.wait_for(400, pb.EVENT_TYPE_CALL_AUTHORIZED, pb.EVENT_TYPE_CALL_CANCELLED)


def test_who_never_reads_gives_his_place_back(make_stack):
    stack = make_stack(lifecycle_events="1", watch_slow_ms="1000", watch_kept="500",
                       watchers_max=str(PEERS + 1), **PATIENT)
    company = stack.client.funded(PLENTY)
    with contextlib.ExitStack() as peers:
        stuck_peers(stack, company, peers)
        others = [Watcher(stack.client, company) for _ in range(PEERS)]

        def all_watch():
            for n, other in enumerate(others):
                if not other.thread.is_alive():
                    others[n] = Watcher(stack.client, company)
            return all(other.token for other in others)
        wait_until(all_watch, 30, "the places of those who do not read", every=0.2)


def test_who_never_reads_does_not_keep_the_sidecar_from_ending(make_stack):
    stack = make_stack(lifecycle_events="1", watch_slow_ms="1000", watch_kept="500",
                       drain_ms="1000", **PATIENT)
    company = stack.client.funded(PLENTY)
    with contextlib.ExitStack() as peers:
        stuck_peers(stack, company, peers)
        begun = time.monotonic()
        assert stack.sidecar.terminate(timeout=20) == 0
        assert time.monotonic() - begun < 10
