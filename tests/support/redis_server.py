"""A private Redis: unix socket only, append-only file on, nothing evicted.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import shutil
import tempfile

import redis

from support.processes import Process


class RedisServer:
    def __init__(self, appendfsync="everysec"):
        # Short paths: a unix socket's is limited to 107 bytes.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-redis-", dir="/tmp"))
        self.socket = self.directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process = Process("redis-server", [
            "redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.directory,
            "--appendonly", "yes", "--appendfsync", appendfsync, "--save", "",
            "--maxmemory-policy", "noeviction", "--daemonize", "no",
        ], self.directory / "redis.log")
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
