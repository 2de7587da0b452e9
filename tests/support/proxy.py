"""A proxy that breaks connections: in front of Redis or Postgres, inside the test's process.

It listens on a loopback port, so that a connection can end with a reset, and connects to the
server's unix socket, which may change or vanish meanwhile.  Each direction has its own faults:
`up` is what the client says, `down` what the server answers.  A fault is in force at once, for the
connections that there are and for those to come.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import pathlib
import socket
import struct
import threading
import time

CHUNK = 65536
STEP = 0.01  # seconds between the pieces of a throttled direction


class Direction:
    """The faults of one direction."""

    def __init__(self):
        self.lock = threading.Lock()
        self.flows = threading.Event()
        self.heal()

    def heal(self):
        self.delay = 0.0
        self.bytes_per_s = None
        self.left = None
        self.flows.set()

    def stall(self):
        """Nothing gets through any more; nobody is told (half-open where the other one flows)."""
        self.flows.clear()

    def cut_after(self, count):
        """So many bytes get through, then the connection they belong to ends; once."""
        with self.lock:
            self.left = count

    def allowance(self, size):
        """How many of these bytes get through; None: all, and no cut is near."""
        with self.lock:
            if self.left is None:
                return None
            if size < self.left:
                self.left -= size
                return None
            allowed, self.left = self.left, None
            return allowed


class Proxy:
    """`upstream`: the path of the server's unix socket.

    `hides_restarts`: for Redis only.  Where the server goes, the client's connection stays: what
    was asked and is not answered is answered with an error, and the next server gets what is asked
    next.
    """

    def __init__(self, upstream, hides_restarts=False):
        self.upstream = pathlib.Path(upstream)
        self.hides_restarts = hides_restarts
        self.up, self.down = Direction(), Direction()
        self.cuts_with_reset = False
        self.refuses = False
        self.links = set()
        self.lock = threading.Lock()
        self.accepted = self.cut = self.hidden = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self):
        self.up.heal()
        self.down.heal()
        self.refuses = False

    def reset_all(self):
        """Every connection ends with a reset, whatever is under way."""
        for link in self._links():
            link.end(with_reset=True)

    def drop_all(self):
        """Every connection ends in order."""
        for link in self._links():
            link.end()

    def link_count(self):
        return len(self._links())

    def _links(self):
        with self.lock:
            return list(self.links)

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        self.heal()
        self.drop_all()

    def _accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refuses:
                reset(client)
                continue
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = self.connect()
            except OSError:
                reset(client)
                continue
            link = (_Hiding if self.hides_restarts else _Link)(self, client, server)
            with self.lock:
                self.links.add(link)
            self.accepted += 1
            link.start()

    def connect(self):
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self.upstream))
        except OSError:
            server.close()
            raise
        return server

    def forget(self, link):
        with self.lock:
            self.links.discard(link)


def reset(connection):
    """Ends a TCP connection with a reset: what was under way in either direction is lost."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hang_up(connection)
    connection.close()


def hang_up(connection):
    """Unlike close(), also wakes whoever reads from it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)


class _Link:
    """One client's connection and the one to the server."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.lock = threading.RLock()
        self.ended = False

    def start(self):
        for pump in (self._pump_up, self._pump_down):
            threading.Thread(target=pump, daemon=True).start()

    def end(self, with_reset=False):
        with self.lock:
            if self.ended:
                return
            self.ended = True
        self.proxy.forget(self)
        if with_reset:
            reset(self.client)
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _pump_up(self):
        self._pump(self.proxy.up, lambda: self.client, lambda: self.server)

    def _pump_down(self):
        self._pump(self.proxy.down, lambda: self.server, lambda: self.client)

    def _pump(self, direction, source, sink):
        try:
            while chunk := source().recv(CHUNK):
                self.pass_on(direction, chunk, sink())
        except OSError:
            pass
        self.end()

    def pass_on(self, direction, chunk, sink):
        """With the direction's faults; OSError where the connection ends."""
        if direction.delay:
            time.sleep(direction.delay)
        while not direction.flows.wait(0.2):
            if self.ended:
                raise OSError
        allowed = direction.allowance(len(chunk))
        piece = CHUNK
        if direction.bytes_per_s:
            piece = max(1, int(direction.bytes_per_s * STEP))
        whole = chunk if allowed is None else chunk[:allowed]
        for at in range(0, len(whole), piece):
            sink.sendall(whole[at:at + piece])
            if direction.bytes_per_s:
                time.sleep(STEP)
        if allowed is not None:
            self.proxy.cut += 1
            if self.proxy.cuts_with_reset:
                time.sleep(0.02)  # a reset overtakes what the peer has not read yet
            self.end(with_reset=self.proxy.cuts_with_reset)
            raise OSError


class _Hiding(_Link):
    """Knows where commands and answers end, and how many are not answered."""

    GONE = b"-ERR the proxy lost its server\r\n"

    def __init__(self, proxy, client, server):
        super().__init__(proxy, client, server)
        self.pending = 0
        self.generation = 0

    def _pump_up(self):
        left = b""
        try:
            while chunk := self.client.recv(CHUNK):
                whole, left, count = split(left + chunk)
                with self.lock:
                    self.pending += count
                    server = self.server
                with contextlib.suppress(OSError):  # _pump_down answers for it
                    self.pass_on(self.proxy.up, whole, server)
        except OSError:
            pass
        self.end()

    def _pump_down(self):
        try:
            while not self.ended:
                self._answers()
                self._next_server()
        except OSError:
            pass
        self.end()

    def _answers(self):
        """Passes whole answers on until the server goes; OSError where the client does."""
        left = b""
        while True:
            try:
                chunk = self.server.recv(CHUNK)
            except OSError:
                return
            if not chunk:
                return
            whole, left, count = split(left + chunk)
            with self.lock:
                self.pending -= count
            self.pass_on(self.proxy.down, whole, self.client)

    def _next_server(self):
        while not self.ended and not self.proxy.closed:
            try:
                server = self._healthy_server()
            except OSError:
                self._give_up_pending()
                time.sleep(0.02)
                continue
            with self.lock:
                self._give_up_pending()
                self.server.close()
                self.server = server
                self.proxy.hidden += 1
            return

    def _healthy_server(self):
        """One that has loaded its files: to be told LOADING would be no hidden restart."""
        server = self.proxy.connect()
        try:
            server.settimeout(1)
            server.sendall(b"PING\r\n")
            if server.recv(CHUNK) != b"+PONG\r\n":
                raise ConnectionError("not in health")
            server.settimeout(None)
        except OSError:
            server.close()
            raise
        return server

    def _give_up_pending(self):
        with self.lock:
            count, self.pending = self.pending, 0
            if count:
                self.client.sendall(self.GONE * count)


def split(data):
    """(whole values of Redis' protocol, the rest, how many)."""
    at = count = 0
    while (end := end_of(data, at)) is not None:
        at, count = end, count + 1
    return data[:at], data[at:], count


def end_of(data, at):
    """Where the value that begins at `at` ends; None: not here."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, after = data[at:at + 1], line + 2
    if kind == b"$":
        size = int(data[at + 1:line])
        after += size + 2 if size >= 0 else 0
        return after if after <= len(data) else None
    if kind == b"*":
        for _ in range(max(0, int(data[at + 1:line]))):
            after = end_of(data, after)
            if after is None:
                return None
    return after
