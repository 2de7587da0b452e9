"""Counts the tests in a JUnit file: count.py LAYER FILE, one line per test.

Each line is pass or fail, the layer and the name, with tabs in between.  A test that was
skipped did not hold: it counts as failed.  ctest knows programs, and cmocka's own lines in
their output say how many tests each one ran.

SPDX-License-Identifier: Apache-2.0
"""

import re
import sys
import xml.etree.ElementTree as tree

CMOCKA = re.compile(r"^\[  (PASSED|FAILED|SKIPPED) +\] (\d+) test\(s\)", re.M)


def inner_counts(case):
    """How many tests of a cmocka program passed and did not; (0, 0) for any other."""
    passed = failed = 0
    for word, count in CMOCKA.findall(case.findtext("system-out") or ""):
        if word == "PASSED":
            passed += int(count)
        else:
            failed += int(count)
    return passed, failed


def outcomes(case):
    """The outcomes of one <testcase>."""
    bad = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
    bad = bad or case.get("status") in ("fail", "notrun", "disabled")
    passed, failed = inner_counts(case)
    if bad and not failed:
        failed = 1
    if not bad and not passed:
        passed = 1
    return ["pass"] * passed + ["fail"] * failed


def main(layer, path):
    for case in tree.parse(path).iter("testcase"):
        name = "::".join(filter(None, [case.get("classname"), case.get("name")]))
        for outcome in outcomes(case):
            print(outcome, layer, name.replace("\t", " "), sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
