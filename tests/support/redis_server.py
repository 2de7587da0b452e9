"""A private Redis: unix socket only, append-only file on, nothing evicted.

SPDX-License-Identifier: Apache-2.0
"""

import functools
import pathlib
import shutil
import struct
import subprocess
import tempfile

import redis

from support.processes import Process


@functools.cache
def shifted_clock_library():
    """tests/support/shifted_clock.c, built without sanitizers: it goes into a foreign program."""
    library = pathlib.Path(tempfile.mkdtemp(prefix="cg-clock-", dir="/tmp")) / "shifted_clock.so"
    source = pathlib.Path(__file__).with_name("shifted_clock.c")
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library,
                    source], check=True)
    return library


class RedisServer:
    """`movable_clock`: its clock can be set ahead, so that a test need not wait for hours."""

    def __init__(self, appendfsync="everysec", movable_clock=False):
        # Short paths: a unix socket's is limited to 107 bytes.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-redis-", dir="/tmp"))
        self.socket = self.directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        environment = {}
        self.offset = self.directory / "clock-offset"
        if movable_clock:
            self.offset.write_bytes(struct.pack("<q", 0))
            environment = {"LD_PRELOAD": str(shifted_clock_library()),
                           "CALLGATE_TEST_CLOCK": str(self.offset)}
        self.process = Process("redis-server", [
            "redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.directory,
            "--appendonly", "yes", "--appendfsync", appendfsync, "--save", "",
            "--maxmemory-policy", "noeviction", "--daemonize", "no",
        ], self.directory / "redis.log", env=environment)
        self.client = redis.Redis(unix_socket_path=str(self.socket))

    def start(self):
        self.process.start()
        self.process.wait_until_ready(self.answers)
        return self

    def answers(self):
        try:
            return self.client.ping()
        except redis.exceptions.ConnectionError:  # also while it loads
            return False

    def set_clock_ahead(self, ms):
        """By so much more than before."""
        with open(self.offset, "r+b") as file:  # in place: the server has it mapped
            before, = struct.unpack("<q", file.read(8))
            file.seek(0)
            file.write(struct.pack("<q", before + ms))

    def kill(self):
        self.process.kill()
        self.client.connection_pool.disconnect()

    def restart(self):
        """kill -9, then again on the same files."""
        self.kill()
        self.start()

    def change_count(self):
        """How many changes of data the server counts, those made inside functions included."""
        return self.client.info("persistence")["rdb_changes_since_last_save"]

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
