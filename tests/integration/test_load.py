"""Many calls under load: each in Postgres once, the sums equal to the micro.

SPDX-License-Identifier: Apache-2.0
"""

from support.invariants import check_invariants
from support.load import Load, check_load
from support.processes import release_directory


def test_every_call_settled_under_load_is_in_postgres_once(make_stack, is_long):
    count = 100_000 if is_long else 20_000
    stack = make_stack(sidecars=2, directory=release_directory())
    companies = [stack.client.funded(900_000_000_000_000, plan_id="enterprise") for _ in range(50)]
    load = Load([sidecar.address for sidecar in stack.sidecars], companies, count, workers=24,
                timeout=1200).start().join()
    assert load.settled_count() == count
    check_invariants(stack, timeout=120)
    check_load(stack, load)
    assert stack.value("select count(*) from usage_logs") == count
