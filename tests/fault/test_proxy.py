"""The proxy does what it says; else every test that uses it would prove nothing.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import pathlib
import socket
import tempfile
import threading
import time

import pytest
import redis

from support.proxy import Proxy, split
from support.redis_server import RedisServer
from support.waiting import wait_until


class Echo:
    """Answers what it hears, and remembers it."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="cg-echo-", dir="/tmp")) / "echo.sock"
        self.heard = b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._echo, args=self.listener.accept()[:1],
                                 daemon=True).start()

    def _echo(self, connection):
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                self.heard += chunk
                connection.sendall(chunk)


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.listener.close()


@pytest.fixture
def proxy(echo):
    proxy = Proxy(echo.path)
    yield proxy
    proxy.close()


@pytest.fixture
def line(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.settimeout(5)
        wait_until(lambda: proxy.link_count() == 1, 5)
        yield connection


def heard(line, size):
    data = b""
    while len(data) < size and (chunk := line.recv(size - len(data))):
        data += chunk
    return data


def test_without_faults_everything_gets_through(proxy, line):
    message = bytes(range(256)) * 2000
    threading.Thread(target=line.sendall, args=(message,), daemon=True).start()
    assert heard(line, len(message)) == message
    assert proxy.accepted == 1


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_delay_is_in_one_direction(proxy, line, direction):
    getattr(proxy, direction).delay = 0.2
    began = time.monotonic()
    line.sendall(b"x")
    assert heard(line, 1) == b"x"
    assert 0.2 <= time.monotonic() - began < 0.4 + 1


def test_a_throttled_direction_is_slow(proxy, line):
    proxy.down.bytes_per_s = 10_000
    began = time.monotonic()
    line.sendall(b"x" * 3000)
    assert len(heard(line, 3000)) == 3000
    assert time.monotonic() - began >= 0.28


def test_a_stalled_answer_leaves_the_request_through(echo, proxy, line):
    proxy.down.stall()
    line.sendall(b"asked")
    wait_until(lambda: echo.heard == b"asked", 5)
    line.settimeout(0.3)
    with pytest.raises(TimeoutError):
        line.recv(1)
    proxy.heal()
    line.settimeout(5)
    assert heard(line, 5) == b"asked"


def test_a_stalled_request_does_not_arrive(echo, proxy, line):
    proxy.up.stall()
    line.sendall(b"asked")
    line.settimeout(0.3)
    with pytest.raises(TimeoutError):
        line.recv(1)
    assert echo.heard == b""


def test_a_cut_lets_exactly_so_many_bytes_of_the_answer_through(proxy, line):
    proxy.down.cut_after(7)
    line.sendall(b"0123456789")
    assert heard(line, 10) == b"0123456"
    assert line.recv(1) == b""
    assert proxy.cut == 1


def test_a_cut_in_the_request_counts_over_several(echo, proxy, line):
    proxy.up.cut_after(7)
    line.sendall(b"0123")
    assert heard(line, 4) == b"0123"
    line.sendall(b"4567")
    with contextlib.suppress(OSError):
        heard(line, 1)
    wait_until(lambda: proxy.cut == 1 and proxy.link_count() == 0, 5)
    wait_until(lambda: echo.heard == b"0123456", 5)


def test_a_cut_may_be_a_reset(proxy, line):
    proxy.cuts_with_reset = True
    proxy.down.cut_after(3)
    line.sendall(b"0123456789")
    with pytest.raises(ConnectionResetError):
        while line.recv(1):
            pass


def test_a_reset_takes_what_is_pending(echo, proxy, line):
    proxy.down.stall()
    line.sendall(b"pending")
    wait_until(lambda: echo.heard == b"pending", 5)
    proxy.reset_all()
    with pytest.raises(ConnectionResetError):
        line.recv(1)


def test_it_refuses_and_relents(proxy, line):
    proxy.refuses = True
    with socket.create_connection(("127.0.0.1", proxy.port)) as refused, \
            pytest.raises(ConnectionResetError):
        refused.settimeout(5)
        refused.recv(1)
    line.sendall(b"who is connected stays")
    assert heard(line, 22) == b"who is connected stays"
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port)) as accepted:
        accepted.settimeout(5)
        accepted.sendall(b"x")
        assert heard(accepted, 1) == b"x"


def got(client):
    try:
        return client.get("k")
    except redis.exceptions.ResponseError:
        return None


def test_values_of_redis_protocol_are_told_apart():
    values = [b"+OK\r\n", b":5\r\n", b"$-1\r\n", b"$5\r\na\r\nbc\r\n", b"*-1\r\n", b"*0\r\n",
              b"*2\r\n$1\r\nx\r\n*2\r\n:1\r\n-ERR no\r\n"]
    data = b"".join(values)
    assert split(data) == (data, b"", len(values))
    for at in range(len(data)):
        whole, left, count = split(data[:at])
        assert whole + left == data[:at] and whole == b"".join(values[:count])
        assert count == len(values) or len(left) < len(values[count])


def test_a_restart_is_hidden_and_what_was_pending_is_answered():
    server = RedisServer().start()
    proxy = Proxy(server.socket, hides_restarts=True)
    client = redis.Redis(port=proxy.port, single_connection_client=True)
    try:
        client.set("k", "before")
        failed = []

        def wait_long():
            try:
                client.blpop("nothing", 30)
            except redis.exceptions.ResponseError as error:
                failed.append(str(error))

        waiting = threading.Thread(target=wait_long)
        waiting.start()
        wait_until(lambda: server.client.info("clients")["blocked_clients"] == 1, 5)
        server.restart()
        waiting.join(10)
        assert failed and "lost its server" in failed[0]
        # One that is dying may still accept: then it is hidden twice.
        wait_until(lambda: got(client) == b"before", 5)
        assert proxy.accepted == 1 and proxy.hidden >= 1
    finally:
        client.close()
        proxy.close()
        server.stop()
