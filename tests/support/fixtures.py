"""Fixtures around support.stack; a conftest.py imports those that its folder needs.

SPDX-License-Identifier: Apache-2.0
"""

import os

import pytest

from support.postgres_server import PostgresServer
from support.stack import Stack


@pytest.fixture(scope="session")
def is_long():
    """./dev test --long"""
    return bool(os.environ.get("CALLGATE_TEST_LONG"))


@pytest.fixture(scope="session")
def postgres():
    server = PostgresServer()
    try:
        server.start()
        server.make_template()
        yield server
    finally:
        server.stop()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    """Lets fixtures see whether their test failed, and adds the sidecars' logs to the report."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for stack in getattr(item, "stacks", []):
            report.sections.append(("what the stack logged", stack.logs()))


@pytest.fixture
def make_stack(request, postgres):
    """make_stack(sidecars=2, partitions=4): started, and ended with the test; `postgres`: on
    another server than everybody's."""
    request.node.stacks = []

    def make(**arguments):
        stack = Stack(arguments.pop("postgres", postgres), **arguments)
        request.node.stacks.append(stack)
        return stack.start()

    yield make
    complaints = []
    for stack in request.node.stacks:
        complaints += stack.stop()
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def stack(make_stack):
    return make_stack()


@pytest.fixture
def client(stack):
    return stack.client
