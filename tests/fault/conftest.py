"""Fault tests: parts of a real stack are killed, stopped, cut off and set back in time under load.

SPDX-License-Identifier: Apache-2.0
"""

import os
import random

import pytest

from support.fixtures import (  # noqa: F401  (fixtures are found by name)
    is_long, make_stack, postgres, pytest_runtest_makereport)


IS_LONG = bool(os.environ.get("CALLGATE_TEST_LONG"))


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only where $CALLGATE_TEST_LONG is set (./dev test --long)")


def pytest_collection_modifyitems(config, items):
    if not IS_LONG:
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def seed(request):
    """$CG_SEED replays a schedule; the threads' own pace is not part of it."""
    value = int(os.environ.get("CG_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{request.node.name}: CG_SEED={value}")
    return value
