"""What the benches share that start a stack of their own: its start, its targets, their end.

SPDX-License-Identifier: Apache-2.0
"""

import contextlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))


def add_arguments(parser):
    parser.add_argument("--build", type=Path, help="default build/release-werror, build/release")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def private_stack(options, durable=False):
    """Redis, Postgres and a sidecar of the optimized build, ended with the context; `durable`:
    Postgres syncs what it commits."""
    if options.build:
        os.environ["CALLGATE_RELEASE_BUILD"] = str(options.build.resolve())
    from support.processes import release_directory
    build = release_directory()
    os.environ["CALLGATE_TEST_BUILD"] = str(build)
    from support.postgres_server import PostgresServer
    from support.stack import Stack
    with contextlib.ExitStack() as ending:
        postgres = PostgresServer(durable=durable)
        ending.callback(postgres.stop)
        postgres.start()
        postgres.make_template()
        stack = Stack(postgres, directory=build)
        ending.callback(stack.stop)
        yield stack.start()


def conclude(options, figures, show, targets):
    """Prints the figures and what `targets` (name, value, the most that it may be) came to;
    the exit status."""
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)
        print()
        for name, value, target in targets:
            print(f"{'met   ' if value <= target else 'MISSED'}  {value:12.2f}  <= {target:<6g}  {name}")
    missed = any(value > target for _, value, target in targets)
    return 1 if options.check and missed else 0
