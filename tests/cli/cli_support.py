"""Running the command, and the two ends it talks to.

SPDX-License-Identifier: Apache-2.0
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import grpc
import psycopg

from support.contract import pb, rpc
from support.processes import program

COMPANY = "8c1f3b1e-7d53-4b52-9a57-0c7c7f4f2a11"
DONE, REFUSED, USAGE, NOT_FOUND, UNAVAILABLE, FORBIDDEN, INCOMPATIBLE = range(7)


class Run:
    """One run of the command."""

    def __init__(self, arguments, environment=None, stdin=""):
        inherited = {name: value for name, value in os.environ.items()
                     if name not in ("CALLGATE_ADDRESS", "CALLGATE_DATABASE_URL")}
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
                if isinstance(answer, tuple):
                    gate._refuse(context, *answer)
                return answer
            return handle

        methods = [name for name in vars(base) if name[0].isupper()]
        return type(f"Scripted{base.__name__}", (base,), {n: handler(n) for n in methods})()

    @staticmethod
    def _refuse(context, status, message, detail):
        if detail is not None:
            context.set_trailing_metadata(
                (("grpc-status-details-bin", packed(status, message, detail)),))
        context.abort(status, message)

    def run(self, *arguments, **answers):
        """Runs the command; answers(Credit=pb.CreditResponse(...))."""
        self.answers = {"GetWallet": pb.GetWalletResponse(wallet=pb.Wallet(currency="usd")),
                        **answers}
        self.asked = []
        return Run(arguments, {"CALLGATE_ADDRESS": self.address})

    def request(self, method):
        """The only one that was asked of this method."""
        found = [request for name, request in self.asked if name == method]
        assert len(found) == 1, self.asked
        return found[0]

    def stop(self):
        self.server.stop(None).wait()
        shutil.rmtree(self.directory, ignore_errors=True)


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
