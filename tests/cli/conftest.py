"""Tests of the operator's command: argument tables, a scripted gate, a real ledger, a real stack.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from cli_support import Ledger, ScriptedGate
from support.fixtures import (  # noqa: F401  (fixtures are found by name)
    make_stack, postgres, pytest_runtest_makereport)
from support.stack import Stack


@pytest.fixture(scope="module")
def gate():
    """A server that answers what a test tells it to and keeps what it was asked."""
    server = ScriptedGate()
    yield server
    server.stop()


@pytest.fixture
def ledger(postgres):  # noqa: F811
    """A migrated database of this test's own, and the command set on it."""
    database = postgres.new_database()
    yield Ledger(postgres.url(database))
    postgres.drop_database(database)


@pytest.fixture(scope="module")
def shared_stack(postgres):  # noqa: F811
    # Where the machine is busy, a store that has no turn is not what is tested here.
    shared = Stack(postgres, store_timeout_ms=5000).start()
    yield shared
    complaints = shared.stop()
    assert not complaints, complaints
