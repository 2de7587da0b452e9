# A Redis of the test's own, on a unix socket in a temporary directory.
#
# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
import tempfile
import time

import redis


def wait_until(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.005)


class PrivateRedis:
    def __init__(self, *options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix='cg-redis-')
        self.socket = self.folder + '/socket'
        self.process = None
        self.connection = redis.Redis(unix_socket_path=self.socket)
        self.start()

    def start(self):
        log = open(self.folder + '/log', 'ab')
        self.process = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', self.socket, '--dir', self.folder,
             '--save', '', *self.options], stdout=log, stderr=log)
        log.close()
        wait_until(self.answers)

    def answers(self):
        assert self.process.poll() is None, open(self.folder + '/log').read()
        try:
            return self.connection.ping()
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def stop(self, kill=False):
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop(kill=True)
        shutil.rmtree(self.folder)
