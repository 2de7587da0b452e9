"""The rpc room behind a gate that decides nothing, and the official client in front of it.

SPDX-License-Identifier: Apache-2.0
"""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import grpc
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
# How the server waits for gRPC: in its loop, or with "thread" in a thread.
WAITS_IN = os.environ.get("CG_RPC_WAITS_IN", "").split()
COMPANY = "01234567-89ab-cdef-0123-456789abcdef"


def wait_until(condition, timeout=10.0):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    """The contract's messages, compiled by protoc."""
    out = tmp_path_factory.mktemp("contract")
    subprocess.run(
        ["protoc", f"--proto_path={ROOT}/proto", f"--python_out={out}",
         f"{ROOT}/proto/callgate/v1/callgate.proto"], check=True)
    sys.path.insert(0, str(out))
    return importlib.import_module("callgate.v1.callgate_pb2")


@pytest.fixture(scope="session")
def reflection_pb(tmp_path_factory):
    """Reflection's messages, v1 and v1alpha, outside of any package named grpc: Python has one."""
    out = tmp_path_factory.mktemp("reflection")
    modules = {}
    for version in ("v1", "v1alpha"):
        folder = out / f"reflection_{version}"
        folder.mkdir()
        text = (ROOT / f"proto/grpc/reflection/{version}/reflection.proto").read_text()
        (folder / f"reflection_{version}.proto").write_text(text)
        subprocess.run(["protoc", f"--proto_path={folder}", f"--python_out={out}",
                        f"{folder}/reflection_{version}.proto"], check=True)
    sys.path.insert(0, str(out))
    for version in ("v1", "v1alpha"):
        modules[version] = importlib.import_module(f"reflection_{version}_pb2")
    return modules


def measured_environment():
    """For tests that look at memory: AddressSanitizer holds back little of what is freed."""
    given = os.environ.get("ASAN_OPTIONS", "")
    return {**os.environ, "ASAN_OPTIONS": f"{given}:quarantine_size_mb=1"}


class Server:
    def __init__(self, listen=None, calls_max=256, grace_ms=2000, watchers_max=4000,
                 measured=False, reflection=False, waits_in=None, **settings):
        self.folder = tempfile.TemporaryDirectory(prefix="cg-rpc-")
        self.path = os.path.join(self.folder.name, "gate.sock")
        self.listen = listen or f"unix:{self.path}"
        program = os.path.join(os.environ.get("CG_BIN", ROOT / "build/dev/bin"), "fake_gate_server")
        self.log = open(os.path.join(self.folder.name, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [program, self.listen, str(calls_max), str(grace_ms), str(watchers_max),
             *([waits_in] if waits_in else WAITS_IN), *(["reflection"] if reflection else []),
             *(f"{name}={value}" for name, value in settings.items())],
            env=measured_environment() if measured else None,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline().split()
        self.port = int(line[1]) if line else None
        self.target = f"127.0.0.1:{self.port}" if self.port else f"unix:{self.path}"

    def stderr(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8") as log:
            return log.read()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def tell(self, kind, company=COMPANY, meta_bytes=0, count=1):
        """That many events of a type happen."""
        self.say(f"tell {kind} {company} {meta_bytes} {count}")

    def counts(self):
        """How many watchers there are, and how many messages have left for them."""
        self.say("counts")
        words = self.process.stdout.readline().split()
        assert words[0] == "counts"
        return int(words[1]), int(words[2])

    def requests(self):
        """How many requests the gate was given so far, and has answered."""
        self.say("requests")
        words = self.process.stdout.readline().split()
        assert words[0] == "requests"
        return int(words[1]), int(words[2])

    def doors(self):
        """What was counted at the doors, by name: rpc/counters.h."""
        self.say("doors")
        words = self.process.stdout.readline().split()
        assert words[0] == "doors"
        return {name: int(value) for name, value in (word.split("=") for word in words[1:])}

    def reload(self):
        """Credentials and certificates; returns when they have been looked at."""
        before = self.doors()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: sum(self.doors()[n] - before[n] for n in ("reloads", "reloads_failed")))

    def metrics(self):
        """What it counts, {'name{labels}': value}."""
        self.say("metrics")
        values = {}
        while (line := self.process.stdout.readline()) != "end\n":
            assert line, self.stderr()
            if not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                assert series not in values, f"{series} stands there twice"
                values[series] = float(value)
        return values

    def watcher_count(self):
        return self.counts()[0]

    def drain(self):
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout.readline() == "draining\n"

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=20):
        """How many requests the gate was given and has answered; the exit must be clean."""
        rest, _ = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, self.stderr()
        words = rest.split()
        assert words[0] == "closed"
        return int(words[1]), int(words[2])

    def close(self):
        if self.process.poll() is None:
            self.term()
            try:
                self.wait()
            finally:
                if self.process.poll() is None:
                    self.process.kill()
        self.folder.cleanup()


@pytest.fixture
def server():
    started = Server()
    yield started
    started.close()


@pytest.fixture
def start_server():
    servers = []

    def start(**settings):
        servers.append(Server(**settings))
        return servers[-1]

    yield start
    for started in servers:
        started.close()


@pytest.fixture
def channel(server):
    with connect(server) as opened:
        yield opened


def connect(server, options=()):
    options = [("grpc.use_local_subchannel_pool", 1), *options]
    return grpc.insecure_channel(server.target, options=options)


def raw(channel, path):
    """A method that takes and gives bytes."""
    return channel.unary_unary(path, lambda b: b, lambda b: b)


def method(channel, pb, path):
    name = path.rsplit("/", 1)[1]
    return channel.unary_unary(
        path, getattr(pb, f"{name}Request").SerializeToString,
        getattr(pb, f"{name}Response").FromString)


def watch(channel, pb, timeout=None, **fields):
    """A stream of WatchResponses."""
    send = channel.unary_stream(
        "/callgate.v1.Wallets/Watch", pb.WatchRequest.SerializeToString,
        pb.WatchResponse.FromString)
    return send(pb.WatchRequest(**fields), timeout=timeout)


def authorize(channel, pb):
    return method(channel, pb, "/callgate.v1.Gate/Authorize")


def request(pb, call_id="c1", **fields):
    return pb.AuthorizeRequest(
        company_id=COMPANY, call_id=call_id, resource_type="voice_outbound",
        destination="+41791234567", **fields)


def detail_of(pb, error):
    """The ErrorDetail inside grpc-status-details-bin, and the Status around it, by hand."""
    value = dict(error.trailing_metadata())["grpc-status-details-bin"]
    fields = {}
    at = 0
    while at < len(value):
        tag, at = value[at], at + 1
        number, shift = 0, 0
        while True:
            byte, at = value[at], at + 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag & 7 == 2:
            fields[tag >> 3] = value[at:at + number]
            at += number
        else:
            fields[tag >> 3] = number
    from google.protobuf import any_pb2
    anything = any_pb2.Any.FromString(fields[3])
    assert anything.type_url == "type.googleapis.com/callgate.v1.ErrorDetail"
    assert fields[1] == error.code().value[0]
    assert fields[2].decode() == error.details()
    return pb.ErrorDetail.FromString(anything.value)
