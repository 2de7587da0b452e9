"""A private Redis: unix socket only, append-only file on, nothing evicted.

SPDX-License-Identifier: Apache-2.0
"""

import functools
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile

import redis

from support.processes import Process
from support.waiting import wait_until


@functools.cache
def shifted_clock_library():
    """tests/support/shifted_clock.c, built without sanitizers: it goes into a foreign program."""
    library = pathlib.Path(tempfile.mkdtemp(prefix="cg-clock-", dir="/tmp")) / "shifted_clock.so"
    source = pathlib.Path(__file__).with_name("shifted_clock.c")
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library,
                    source], check=True)
    return library


class RedisServer:
    """`movable_clock`: its clock can be set ahead, so that a test need not wait for hours.
    `port`: also on TCP, as replication needs it."""

    def __init__(self, appendfsync="everysec", movable_clock=False, port=0):
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
            "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", self.socket, "--dir", self.directory,
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

    def copy_files(self):
        """The append-only files as they are now, for start_from(); the server goes on."""
        copy = self.directory / f"copy-{len(list(self.directory.glob('copy-*')))}"
        shutil.copytree(self.directory / "appendonlydir", copy)
        return copy

    def start_from(self, copy):
        """kill -9, then again on files of a while ago: what came since is lost."""
        self.kill()
        shutil.rmtree(self.directory / "appendonlydir")
        shutil.copytree(copy, self.directory / "appendonlydir")
        self.start()

    def change_count(self):
        """How many changes of data the server counts, those made inside functions included."""
        return self.client.info("persistence")["rdb_changes_since_last_save"]

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisPair:
    """A master and its replica behind one address, which moves to whoever is promoted; stands in
    a stack's place of a RedisServer."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-pair-", dir="/tmp"))
        self.address = self.directory / "redis.sock"
        self.url = f"unix://{self.address}"
        self.ports = [free_port(), free_port()]
        self.servers = [RedisServer(port=port) for port in self.ports]
        self.master_number = 0

    @property
    def master(self):
        return self.servers[self.master_number]

    @property
    def replica(self):
        return self.servers[1 - self.master_number]

    @property
    def client(self):
        return self.master.client

    @property
    def process(self):
        return self.master.process

    def start(self):
        for server in self.servers:
            server.start()
        self._point()
        self.follow()
        return self

    def _point(self):
        temporary = self.directory / "next"
        temporary.symlink_to(self.master.socket)
        os.replace(temporary, self.address)

    def follow(self):
        """The replica replicates the master; answers when it has everything."""
        self.replica.client.execute_command("REPLICAOF", "127.0.0.1", self.ports[self.master_number])
        wait_until(self.is_in_step, 20, "the replica has everything")

    def is_in_step(self):
        ours, theirs = (server.client.info("replication") for server in (self.master, self.replica))
        return theirs.get("master_link_status") == "up" and \
            theirs["slave_repl_offset"] == ours["master_repl_offset"]

    def fall_behind(self):
        """From now on the replica hears nothing."""
        self.replica.client.execute_command("REPLICAOF", "127.0.0.1", "1")

    def promote(self):
        """The replica, as it is, becomes the master; the former one lives on."""
        self.master_number = 1 - self.master_number
        self.master.client.execute_command("REPLICAOF", "NO", "ONE")
        self._point()

    def stop(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
