"""What is away, lost, refused or of another version, and how it comes back; with real servers.

SPDX-License-Identifier: Apache-2.0
"""

from support.fixtures import (  # noqa: F401  (fixtures are found by name)
    client, is_long, make_stack, postgres, pytest_runtest_makereport, stack)
