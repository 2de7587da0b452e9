# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.redis_server import RedisServer  # noqa: E402


@pytest.fixture(scope='session')
def server():
    running = RedisServer().start()
    yield running
    running.stop()


@pytest.fixture
def redis(server):
    """An empty server without functions."""
    server.client.flushall()
    server.client.execute_command('FUNCTION', 'FLUSH')
    return server.client
