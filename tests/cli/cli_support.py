"""Running the command, and the two ends it talks to.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import tempfile
import threading

import grpc
import psycopg

from support.contract import pb, rpc
from support.processes import program

COMPANY = "8c1f3b1e-7d53-4b52-9a57-0c7c7f4f2a11"
DONE, REFUSED, USAGE, NOT_FOUND, UNAVAILABLE, FORBIDDEN, INCOMPATIBLE, WRONG, WARNED = range(9)
ADDRESSES = ("CALLGATE_ADDRESS", "CALLGATE_DATABASE_URL", "CALLGATE_REDIS_URL")


class Run:
    """One run of the command."""

    def __init__(self, arguments, environment=None, stdin=""):
        inherited = {name: value for name, value in os.environ.items()
                     if name not in ADDRESSES}
        done = subprocess.run([program("callgate"), *map(str, arguments)], input=stdin,
                              env={**inherited, **(environment or {})}, capture_output=True,
                              text=True, timeout=60, check=False)
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """The error of a run with --json."""
        assert self.err.count("\n") == 1, self.err
        return json.loads(self.err)["error"]

    def lines(self):
        return self.out.splitlines()

    def __repr__(self):
        return f"exit {self.code}\n{self.out}{self.err}"


class Ledger:
    """A migrated database."""

    def __init__(self, url):
        self.url = url

    def run(self, *arguments, stdin=""):
        return Run(arguments, {"CALLGATE_DATABASE_URL": self.url}, stdin)

    def rows(self, statement, parameters=None):
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


class ScriptedGate:
    """Both services; `answers[method]` is a message, or (status, message, detail)."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-cli-", dir="/tmp"))
        self.address = f"unix:{self.directory}/gate.sock"
        self.answers = {}
        self.asked = []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
        rpc.add_GateServicer_to_server(self._servicer(rpc.GateServicer), self.server)
        rpc.add_WalletsServicer_to_server(self._servicer(rpc.WalletsServicer), self.server)
        self.server.add_insecure_port(self.address)
        self.server.start()

    def _servicer(self, base):
        gate = self

        def handler(name):
            def handle(_, request, context):
                gate.asked.append((name, request))
                answer = gate.answers[name]
                if callable(answer):
                    return answer(request, context)
                if isinstance(answer, tuple):
                    gate.refuse(context, *answer)
                return answer
            return handle

        methods = [name for name in vars(base) if name[0].isupper()]
        return type(f"Scripted{base.__name__}", (base,), {n: handler(n) for n in methods})()

    @staticmethod
    def refuse(context, status, message, detail):
        if detail is not None:
            context.set_trailing_metadata(
                (("grpc-status-details-bin", packed(status, message, detail)),))
        context.abort(status, message)

    def run(self, *arguments, environment=None, **answers):
        """Runs the command; answers(Credit=pb.CreditResponse(...))."""
        self.answers = {"GetWallet": pb.GetWalletResponse(wallet=pb.Wallet(currency="usd")),
                        **answers}
        self.asked = []
        return Run(arguments, {"CALLGATE_ADDRESS": self.address, **(environment or {})})

    def watch(self, *arguments, stream):
        """The command, left running, on a stream."""
        self.answers = {"GetWallet": pb.GetWalletResponse(wallet=pb.Wallet(currency="usd")),
                        "Watch": stream}
        self.asked = []
        return Live(["watch", *arguments], {"CALLGATE_ADDRESS": self.address})

    def request(self, method):
        """The only one that was asked of this method."""
        found = [request for name, request in self.asked if name == method]
        assert len(found) == 1, self.asked
        return found[0]

    def stop(self):
        self.server.stop(None).wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Live:
    """A run of the command that goes on: its lines as they come."""

    def __init__(self, arguments, environment):
        inherited = {name: value for name, value in os.environ.items()
                     if name not in ADDRESSES}
        self.process = subprocess.Popen(
            [program("callgate"), *map(str, arguments)], env={**inherited, **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def line(self, timeout=20):
        return self.lines.get(timeout=timeout)

    def interrupt(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.end()

    def end(self, timeout=20):
        """Its exit code and standard error."""
        try:
            self.process.wait(timeout)
        finally:
            self.process.kill()
            self.process.wait()
        self.reader.join(timeout)
        error = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode, error


class Stream:
    """What Watch answers: whatever a test puts, as it puts it.  A tuple is an error."""

    def __init__(self, *messages):
        self.messages = queue.Queue()
        for message in messages:
            self.messages.put(message)

    def put(self, *messages):
        for message in messages:
            self.messages.put(message)

    def __call__(self, request, context):
        gone = object()
        context.add_callback(lambda: self.messages.put(gone))
        while (message := self.messages.get(timeout=60)) is not gone:
            if isinstance(message, tuple):
                ScriptedGate.refuse(context, *message)
            yield message


def packed(status, message, detail):
    """A google.rpc.Status with one ErrorDetail, without its generated code."""
    def field(number, data):
        return bytes([number << 3 | 2]) + varint(len(data)) + data

    def varint(value):
        out = b""
        while value >= 0x80:
            out += bytes([value & 0x7f | 0x80])
            value >>= 7
        return out + bytes([value])

    inner = field(1, b"type.googleapis.com/callgate.v1.ErrorDetail")
    inner += field(2, detail.SerializeToString())
    return bytes([1 << 3]) + varint(status.value[0]) + field(2, message.encode()) + field(3, inner)
