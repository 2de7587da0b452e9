"""What every Python test of the project finds ready: the path to tests/support.

The fixtures that start servers are in tests/integration/conftest.py and may be imported
from support.fixtures by other folders.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
