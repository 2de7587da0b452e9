"""Integration tests: real Redis, real Postgres, real sidecars, the official Python client.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from support.fixtures import (  # noqa: F401  (fixtures are found by name)
    client, is_long, make_stack, postgres, pytest_runtest_makereport, stack)
from support.stack import Stack


@pytest.fixture(scope="module")
def shared_stack(request, postgres):  # noqa: F811
    """One stack for all tests of a module that leave it healthy; each its own company."""
    # Where the machine is busy, a store that has no turn is not what is tested here.
    shared = Stack(postgres, store_timeout_ms=5000).start()
    yield shared
    complaints = shared.stop()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def shared(request, shared_stack):
    """The module's client; its sidecar's log is shown where the test fails."""
    request.node.stacks = [shared_stack]
    return shared_stack.client
