# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))

from private_redis import PrivateRedis  # noqa: E402


@pytest.fixture(scope='session')
def server():
    with PrivateRedis() as running:
        yield running


@pytest.fixture
def redis(server):
    """An empty server without functions."""
    server.connection.flushall()
    server.connection.execute_command('FUNCTION', 'FLUSH')
    return server.connection
