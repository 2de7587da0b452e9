"""The edge: real sidecar, Redis and Postgres, and a stand-in of Vapi.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from support.edge import API_KEY, SECRET, Edge, World
from support.fixtures import make_stack, postgres, pytest_runtest_makereport  # noqa: F401
from support.stack import Stack
from support.vapi import StandIn


def complaints_of(edge):
    words = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "ssertion")
    lines = edge.process.text().splitlines()
    at = next((n for n, line in enumerate(lines) if any(word in line for word in words)), None)
    return [] if at is None else ["\n".join(lines[at:at + 40])]


def begin_world(made_stack, vapi=None, **settings):
    stand_in = StandIn(secret=SECRET, api_key=API_KEY, **{"ring_s": 0, "report_s": 0.02,
                                                          "backoff_s": 0.05, **(vapi or {})})
    edge = Edge(made_stack, stand_in.url, **settings)
    stand_in.point_at(f"{edge.url}/api/webhooks/vapi")
    return World(made_stack, stand_in, edge)


def end_world(world):
    """What a sanitizer or an assertion said."""
    world.vapi.close()
    world.edge.stop()
    return complaints_of(world.edge)


@pytest.fixture
def make_world(request, make_stack):  # noqa: F811
    """make_world(stack={...}, vapi={...}, **settings of the edge): all of it, started."""
    made = []

    def make(stack=None, **settings):
        made.append(begin_world(make_stack(**(stack or {})), **settings))
        made[-1].edge.start()
        return made[-1]

    yield make
    complaints = []
    for world in made:
        complaints += end_world(world)
        request.node.edge_log = world.edge.process.tail(60)
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="session")
def everybodys(postgres):  # noqa: F811
    """The world of all tests that leave its parts alone: a stack of its own for each would take most of
    the time."""
    world = begin_world(Stack(postgres).start())
    world.edge.start()
    yield world
    complaints = end_world(world) + world.stack.stop()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def world(request, everybodys):
    everybodys.begin()
    yield everybodys
    request.node.edge_log = everybodys.edge.process.tail(60)
    everybodys.clear()


@pytest.fixture
def own_world(make_world):
    """For a test that kills one of its parts."""
    return make_world()
