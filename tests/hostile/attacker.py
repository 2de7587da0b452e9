"""A hostile process: connects, sends what it was given, and does so again until it is over.

    attacker.py SOCKET SECONDS reads|closes <content

Prints how many connections it made, and how many of them were ended before it had said all.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.http2 import connect, is_closed, send  # noqa: E402


def main(path, seconds, reads):
    content = sys.stdin.buffer.read()
    until, made, ended = time.monotonic() + float(seconds), 0, 0
    while time.monotonic() < until:
        peer = connect(path, receive_bytes=None if reads == "reads" else 4096)
        if peer is None:
            continue
        with peer:
            peer.settimeout(max(0.1, until - time.monotonic()))  # it stays as long as it may
            ended += not send(peer, content)
            if reads == "reads":
                is_closed(peer, 0.2)
        made += 1
    print(made, ended)


main(*sys.argv[1:])
