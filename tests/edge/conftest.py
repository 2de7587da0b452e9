"""The edge: real sidecar, Redis and Postgres, and a stand-in of Vapi.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from support.edge import API_KEY, SECRET, Edge, World
from support.fixtures import make_stack, postgres, pytest_runtest_makereport  # noqa: F401
from support.vapi import StandIn


def complaints_of(edge):
    words = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "ssertion")
    lines = edge.process.text().splitlines()
    at = next((n for n, line in enumerate(lines) if any(word in line for word in words)), None)
    return [] if at is None else ["\n".join(lines[at:at + 40])]


@pytest.fixture
def make_world(request, make_stack):  # noqa: F811
    """make_world(stack={...}, vapi={...}, **settings of the edge): all of it, started."""
    made = []

    def make(stack=None, vapi=None, **settings):
        made_stack = make_stack(**(stack or {}))
        stand_in = StandIn(secret=SECRET, api_key=API_KEY, **{"ring_s": 0, "report_s": 0.02,
                                                              "backoff_s": 0.05, **(vapi or {})})
        edge = Edge(made_stack, stand_in.url, **settings)
        stand_in.point_at(f"{edge.url}/api/webhooks/vapi")
        world = World(made_stack, stand_in, edge)
        made.append(world)
        edge.start()
        return world

    yield make
    complaints = []
    for world in made:
        world.vapi.close()
        world.edge.stop()
        complaints += complaints_of(world.edge)
        request.node.edge_log = world.edge.process.tail(60)
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def world(make_world):
    return make_world()
