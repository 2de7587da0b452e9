"""The store forgets, lies, stops and comes back: what was promised is in the ledger, once.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from scenario import begin, finish


def test_flushall_under_load(make_stack, seed):
    stack = make_stack(sidecars=2, partitions=4)
    traffic = begin(stack, seed)
    for _ in range(3):
        traffic.wait_for(100)
        stack.redis.client.flushall()
    traffic.wait_for(100)
    finish(stack, traffic, may_lose_tail=True)
