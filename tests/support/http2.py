"""HTTP/2 by hand, for peers that do what no client library would.

SPDX-License-Identifier: Apache-2.0
"""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
WIDEST = 2**31 - 1
AUTHORIZE = "/callgate.v1.Gate/Authorize"


def frame(kind, flags, stream, payload=b""):
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def _number(value):
    """HPACK's integer behind a prefix of seven bits, which are all its own."""
    if value < 127:
        return bytes([value])
    out, value = b"\x7f", value - 127
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def header(name, value, index=False):
    """Not compressed; `index`: the peer must keep it in its table."""
    name, value = name.encode(), value.encode()
    return (b"\x40" if index else b"\0") + _number(len(name)) + name + _number(len(value)) + value


def settings(**values):
    numbers = {"header_table_size": 1, "max_concurrent_streams": 3, "initial_window_size": 4,
               "max_frame_size": 5}
    return frame(SETTINGS, 0, 0, b"".join(
        struct.pack(">HI", numbers[name], value) for name, value in values.items()))


ACK_OF_SETTINGS = frame(SETTINGS, ACK, 0)
WIDEST_WINDOW = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDEST - 65_535))
HELLO = PREFACE + settings()


def request_headers(path=AUTHORIZE, token=None, more=(), index=False):
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
             ("content-type", "application/grpc"), ("te", "trailers"), *more]
    if token:
        pairs.append(("authorization", f"Bearer {token}"))
    return b"".join(header(*pair, index=index) for pair in pairs)


def headers_again(count):
    """The last `count` headers that were indexed, in a byte each."""
    return bytes(0x80 | 62 + n for n in reversed(range(count)))


def message(content, compressed=False, length=None):
    """`length`: what is announced, if not the truth."""
    return (b"\1" if compressed else b"\0") + struct.pack(
        ">I", len(content) if length is None else length) + content


def request(stream, content, headers):
    """A whole request."""
    return frame(HEADERS, END_HEADERS, stream, headers) + frame(
        DATA, END_STREAM, stream, message(content))


def connect(path, receive_bytes=None, timeout=5):
    """To a unix socket; None where it is refused or full."""
    peer = socket.socket(socket.AF_UNIX)
    if receive_bytes:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    peer.settimeout(timeout)
    try:
        peer.connect(str(path))
    except OSError:
        peer.close()
        return None
    return peer


def send(peer, content):
    """Whether all of it was taken: it is not where the other end has closed, or does not read."""
    try:
        peer.sendall(content)
        return True
    except OSError:
        return False


def is_closed(peer, timeout=5):
    """Reads until the other end closes; whether it did in time."""
    peer.settimeout(timeout)
    try:
        while peer.recv(65_536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True
