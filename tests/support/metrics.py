"""What a sidecar tells over HTTP, asked and read.

SPDX-License-Identifier: Apache-2.0
"""

import re
import socket

from support.waiting import wait_until

SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? (-?[0-9.]+)$")


def _connect_unix(path, timeout):
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(timeout)
    try:
        opened.connect(path)
    except BlockingIOError:  # the queue of those who connect is full, and this kind does not wait
        opened.close()
        return None
    except OSError:
        opened.close()
        raise
    return opened


def connect(address, timeout=10):
    """To "unix:/path" or "host:port"."""
    if address.startswith("unix:"):
        return wait_until(lambda: _connect_unix(address[len("unix:"):], timeout), timeout)
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout)


def ask(address, request, timeout=10):
    """Status, headers and body of the answer to these bytes; the connection must end then."""
    with connect(address, timeout) as opened:
        opened.sendall(request)
        answer = b""
        while piece := opened.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]) if head else 0, headers, body.decode()


def get(address, path, timeout=10):
    return ask(address, f"GET {path} HTTP/1.1\r\nHost: sidecar\r\n\r\n".encode(), timeout)


class Scrape:
    """One reading of /metrics, checked for its form."""

    def __init__(self, address):
        status, headers, text = get(address, "/metrics")
        assert status == 200, text
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.help, self.kind, self.values = {}, {}, {}
        for line in text.splitlines():
            if line.startswith("# HELP "):
                _, _, name, sentence = line.split(" ", 3)
                assert name not in self.help, f"{name} stands there twice"
                self.help[name] = sentence
            elif line.startswith("# TYPE "):
                _, _, name, self.kind[name] = line.split(" ")
            else:
                sample = SAMPLE.match(line)
                assert sample, line
                series = sample[1] + (sample[2] or "")
                assert self.family(sample[1]) in self.kind, f"no TYPE before {series}"
                assert series not in self.values, f"{series} stands there twice"
                self.values[series] = float(sample[3])
        assert self.help.keys() == self.kind.keys()

    def family(self, name):
        for suffix in ("_bucket", "_sum", "_count"):
            base = name.removesuffix(suffix)
            if base != name and self.kind.get(base) == "histogram":
                return base
        return name

    def labels(self):
        """The names of labels, by family."""
        names = {name: set() for name in self.kind}
        for series in self.values:
            name, _, rest = series.partition("{")
            names[self.family(name)] |= set(re.findall(r'([a-z_]+)="', rest)) - {"le"}
        return names

    def __getitem__(self, series):
        return self.values[series]

    def get(self, series, default=0):
        return self.values.get(series, default)

    def sum(self, name, **labels):
        """Over all series of a name that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for series, value in self.values.items()
                   if series.partition("{")[0] == name and all(w in series for w in wanted))
