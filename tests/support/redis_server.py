"""A private Redis: unix socket only, append-only file on, nothing evicted.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import uuid

import redis

from support.processes import Process
from support.shifted_clock import ShiftedClock
from support.waiting import wait_until

AOF = "appendonlydir"


def free_port():
    """One of those that the kernel gives to nobody by itself: it is still free a moment later."""
    end = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(end // 2, end)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class RedisServer:
    """`movable_clock`: its clock can be set ahead, so that a test need not wait for hours.
    `listens`: also on a loopback port, which is how replicas reach it; `settings`: further ones.
    """

    def __init__(self, appendfsync="everysec", movable_clock=False, listens=False, **settings):
        # Short paths: a unix socket's is limited to 107 bytes.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-redis-", dir="/tmp"))
        self.socket = self.directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.clock = ShiftedClock(self.directory / "clock-offset") if movable_clock else None
        self.port = free_port() if listens else 0
        if listens:
            settings["repl_diskless_sync_delay"] = 0
        more = [word for name, value in settings.items()
                for word in (f"--{name.replace('_', '-')}", str(value))]
        self.process = Process("redis-server", [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1",
            "--unixsocket", self.socket, "--dir", self.directory,
            "--appendonly", "yes", "--appendfsync", appendfsync, "--rdbcompression", "no",
            "--save", "", "--auto-aof-rewrite-min-size", "1gb",
            "--maxmemory-policy", "noeviction", "--daemonize", "no", *more,
        ], self.directory / "redis.log", env=self.clock and self.clock.environment)
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
        self.clock.advance(ms)

    def kill(self):
        self.process.kill()
        self.client.connection_pool.disconnect()

    def restart(self):
        """kill -9, then again on the same files."""
        self.kill()
        self.start()

    def is_rewritten(self):
        """Since its start, as the sidecar that met it first has asked for."""
        info = self.client.info("persistence")
        return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"] \
            and info["aof_last_rewrite_time_sec"] >= 0

    def copy_files(self):
        """A copy of the append-only file as it is at this moment: of all that was answered so far.
        With everysec a write waits in memory while an fsync is under way."""
        def is_written():
            info = self.client.info("persistence")
            return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"] \
                and info["aof_buffer_length"] == 0
        wait_until(is_written, 60, "its parts stay what they are, and have everything")
        copy = self.directory / f"copy-{uuid.uuid4().hex}"
        shutil.copytree(self.directory / AOF, copy)
        return copy

    def put_files(self, copy):
        """What a dead server will start from."""
        assert not self.process.is_alive()
        shutil.rmtree(self.directory / AOF)
        shutil.copytree(copy, self.directory / AOF)

    def start_from(self, copy):
        """kill -9, then again on files of a while ago: what came since is lost."""
        self.kill()
        self.put_files(copy)
        self.start()

    def tail_file(self):
        """The part of the append-only file that grows."""
        return max((self.directory / AOF).glob("*.incr.aof"),
                   key=lambda path: int(path.name.split(".")[-3]))

    def start_from_rdb(self, dump):
        """As an operator restores a snapshot: without the append-only file, then with a new one."""
        assert not self.process.is_alive()
        shutil.rmtree(self.directory / AOF)
        shutil.copy(dump, self.directory / "dump.rdb")
        at = self.process.command.index("--appendonly") + 1
        self.process.command[at] = "no"
        self.start()
        self.process.command[at] = "yes"
        self.client.config_set("appendonly", "yes")
        wait_until(lambda: not self.client.info("persistence")["aof_rewrite_in_progress"]
                   and (self.directory / AOF).exists(), 20, "the new append-only file is there")

    def role(self):
        return self.client.execute_command("role")[0].decode()

    def follow(self, master):
        """Becomes a replica of another server of this kind, and is in step with it."""
        self.client.execute_command("replicaof", "127.0.0.1", master.port)
        wait_until(self.is_in_step, 20, "the replica is in step")

    def is_in_step(self):
        info = self.client.info("replication")
        return info.get("master_link_status") == "up" and not info["master_sync_in_progress"]

    def promote(self):
        self.client.execute_command("replicaof", "no", "one")

    def change_count(self):
        """How many changes of data the server counts, those made inside functions included."""
        return self.client.info("persistence")["rdb_changes_since_last_save"]

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisPair:
    """A master and its replica behind one address, which moves to whoever is promoted; stands in
    a stack's place of a RedisServer."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-pair-", dir="/tmp"))
        self.address = self.directory / "redis.sock"
        self.url = f"unix://{self.address}"
        self.servers = [RedisServer(listens=True) for _ in range(2)]
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
        self.replica.follow(self.master)
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
        self.master.promote()
        self._point()

    def stop(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
