"""What is refused before anything is opened: the flag and its bound are named, exit 2.

SPDX-License-Identifier: Apache-2.0
"""

import subprocess

import pytest

from cli_support import COMPANY, DONE, UNAVAILABLE, USAGE, Run
from support.processes import program

OF = ["--company", COMPANY]
CREDIT = ["credit", *OF, "--type", "top_up", "--reference", "r"]
AMOUNT = "a whole number, -999999999999999..999999999999999, not 0"
UUID = "a UUID of 36 characters"
ID = "1..128 bytes of printable ASCII without spaces"
RESOURCE = "[a-z][a-z0-9_]{0,63}"
NUMBER = "empty, or E.164: '+' and 2..15 digits, the first not 0"
WEEK = "a whole number, 0..604800000"

# the line -> the field named, and its bound (None: whatever it says)
TABLE = [
    (["credit"], "--company", UUID),
    (["credit", "--company", "x", "--amount-micros", 1, "--type", "bonus", "--reference", "r"],
     "--company", UUID),
    (["balance", "--company", COMPANY[:-1]], "--company", UUID),
    (["balance", "--company", COMPANY + "0"], "--company", UUID),
    (["balance", "--company", COMPANY.replace("-", "_")], "--company", UUID),
    (["balance", "--company", ""], "--company", UUID),
    (["balance", *OF, *OF], "--company", "given twice"),
    ([*CREDIT], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "0"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "1.5"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "1e3"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "+1"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", " 1"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "nan"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", ""], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "1000000000000000"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "9223372036854775808"], "--amount-micros", AMOUNT),
    ([*CREDIT, "--amount-micros", "-1"], "--amount-micros",
     "above 0 unless --type is refund or adjustment"),
    (["credit", *OF, "--amount-micros", 1, "--type", "usage", "--reference", "r"], "--type",
     "one of top_up, monthly_grant, bonus, refund, adjustment"),
    (["credit", *OF, "--amount-micros", 1, "--type", "top_up"], "--reference", ID),
    (["credit", *OF, "--amount-micros", 1, "--type", "top_up", "--reference", ""],
     "--reference", ID),
    (["credit", *OF, "--amount-micros", 1, "--type", "top_up", "--reference", "a b"],
     "--reference", ID),
    (["credit", *OF, "--amount-micros", 1, "--type", "top_up", "--reference", "r" * 129],
     "--reference", ID),
    (["credit", *OF, "--amount-micros", 1, "--type", "top_up", "--reference", "é"],
     "--reference", ID),
    ([*CREDIT, "--amount-micros", "1", "--description", "d" * 257], "--description",
     "0..256 bytes of UTF-8"),
    ([*CREDIT, "--amount-micros", "1", "--durability", "maybe"], "--durability",
     "one of accepted, committed"),
    (["charge", *OF, "--resource", "Rent", "--amount-micros", 1, "--reference", "r"],
     "--resource", RESOURCE),
    (["charge", *OF, "--resource", "rent", "--amount-micros", -1, "--reference", "r"],
     "--amount-micros", "a whole number, 1..999999999999999"),
    (["charge", *OF, "--resource", "rent", "--amount-micros", 1, "--quantity", 0,
      "--reference", "r"], "--quantity", "a whole number, 1..999999999999999"),
    (["authorize", *OF, "c1"], "--resource", RESOURCE),
    (["authorize", *OF, "--resource", "voice"], "CALL_ID", ID),
    (["authorize", *OF, "--resource", "voice", "c1", "c2"], "c2", None),
    (["authorize", *OF, "--resource", "voice", "c1", "--destination", "4155550100"],
     "--destination", NUMBER),
    (["authorize", *OF, "--resource", "voice", "c1", "--destination", "+0155550100"],
     "--destination", NUMBER),
    (["authorize", *OF, "--resource", "voice", "c1", "--destination", "+1234567890123456"],
     "--destination", NUMBER),
    (["authorize", *OF, "--resource", "v" * 65, "c1"], "--resource", RESOURCE),
    (["authorize", *OF, "--resource", "voice", "c1", "--meta", "novalue"], "--meta", None),
    (["authorize", *OF, "--resource", "voice", "c1", "--meta", "=x"], "--meta", None),
    (["authorize", *OF, "--resource", "voice", "c1", "--meta", "a b=x"], "--meta", None),
    (["authorize", *OF, "--resource", "voice", "c1", "--meta", "k" * 65 + "=x"], "--meta", None),
    (["authorize", *OF, "--resource", "voice", "c1", *["--meta", "k=v"] * 65], "--meta", None),
    (["start", *OF, "c1", "--started-at-ms", "0"], "--started-at-ms", None),
    (["settle", *OF, "c1"], "--duration-ms", "exactly one of --duration-ms and --as-metered"),
    (["settle", *OF, "c1", "--duration-ms", 1, "--as-metered"], "--duration-ms",
     "exactly one of --duration-ms and --as-metered"),
    (["settle", *OF, "c1", "--duration-ms", "604800001"], "--duration-ms", WEEK),
    (["settle", *OF, "c1", "--duration-ms", "-1"], "--duration-ms", WEEK),
    (["settle", *OF, "c1", "--duration-ms", 1, "--ended-at-ms", 5], "--ended-at-ms", None),
    (["settle", *OF, "c1", "--duration-ms", 1, "--basis", "assumed"], "--basis",
     "one of reported, polled"),
    (["adopt", *OF, "c1", "--resource", "voice"], "--started-at-ms", None),
    (["calls", "--page-size", "1001"], "--page-size", "a whole number, 1..1000"),
    (["wallet", "create", *OF, "--currency", "USD"], "--currency", None),
    (["wallet", "create", *OF, "--currency", "us"], "--currency", None),
    (["wallet", "create", *OF, "--plan", "-x"], "--plan", None),
    (["wallet", "plan", *OF], "PLAN", None),
    (["wallet", "threshold", *OF], "--low-balance-micros", None),
    (["wallet", "threshold", *OF, "--low-balance-micros", 1, "--low-balance-remaining-ms", 1],
     "--low-balance-micros", None),
    (["plan", "set", "Starter", "--calls-max", "1"], "PLAN", None),
    (["plan", "set", "p", "--calls-max", "1000001"], "--calls-max",
     "a whole number, 0..1000000"),
    (["plan", "set", "p", "--shadow", "true"], "--shadow", "on or off"),
    (["plan", "set", "p", "--cut-repeat-ms", "999"], "--cut-repeat-ms",
     "a whole number, 1000..3600000"),
    (["plan", "set", "p", "--outage-policy", "ask"], "--outage-policy", "one of deny, allow"),
    (["plan", "set", "p", "--outage-calls-max", "1001"], "--outage-calls-max",
     "a whole number, 0..1000"),
    (["watch", "--company", "x"], "--company", UUID),
    (["watch", "--type", "cut_off"], "--type", None),
    (["watch", "--type", ""], "--type", None),
    (["watch", "--type", "CUT_OFF,"], "--type", None),
    (["watch", "--type", "CUT_OFF,CUT_OFF"], "--type", None),
    (["watch", "--type", "CUT_OFF,CUT"], "--type", None),
    (["watch", "--type", "UNSPECIFIED"], "--type", None),
    (["watch", "--resume", ""], "--resume", None),
    (["watch", "--resume", "a b"], "--resume", None),
    (["watch", "--count", "0"], "--count", "a whole number, 1..1000000000"),
    (["watch", "--for", "604801"], "--for", "a whole number, 1..604800"),
    (["shadow", "--from", "2026-02-29"], "--from", "a day, YYYY-MM-DD"),
    (["shadow", "--from", "2026-13-01"], "--from", "a day, YYYY-MM-DD"),
    (["shadow", "--from", "2026-00-10"], "--from", "a day, YYYY-MM-DD"),
    (["shadow", "--to", "2026-1-01"], "--to", "a day, YYYY-MM-DD"),
    (["shadow", "--to", "2026-01-32"], "--to", "a day, YYYY-MM-DD"),
    (["shadow", "--to", "1969-12-31"], "--to", "a day, YYYY-MM-DD"),
    (["shadow", "--from", "2026-01-02", "--to", "2026-01-01"], "--from", "not after --to"),
    (["plan", "show"], "PLAN", None),
    (["rate", "list", "--currency", "usdollar"], "--currency", None),
    (["rate", "import"], "FILE.csv", None),
    (["balance", *OF, "--timeout-ms", "0"], "--timeout-ms", "a whole number, 1..600000"),
    (["balance", *OF, "--address", ""], "--address", None),
    (["balance", *OF, "--bogus"], "--bogus", None),
    (["balance", *OF, "--json=yes"], "--json=yes", "takes no value"),
    (["balance", "--company"], "--company", "its value is missing"),
    (["version", "now"], "now", None),
    (["bogus"], "bogus", None),
    (["wallet", "bogus"], "wallet", None),
    (["wallet"], "wallet", None),
    (["help", "bogus"], "bogus", None),
]


@pytest.mark.parametrize("line, field, bound", TABLE,
                         ids=[" ".join(map(str, row[0]))[:60] for row in TABLE])
def test_a_bad_line_names_the_flag_and_its_bound(line, field, bound):
    # An address where nobody listens: whoever asks it would end 4 and not 2.
    environment = {"CALLGATE_ADDRESS": "unix:/nonexistent/gate.sock",
                   "CALLGATE_DATABASE_URL": "postgresql://x@/x?host=/nonexistent"}
    told = Run(line, environment)
    assert (told.code, told.out) == (USAGE, ""), told
    assert told.err.startswith("callgate") and told.err.count("\n") == 1, told

    if field.startswith("--json") or line == ["balance", "--company"] or line[0] == "help":
        return  # --json would be taken for something else here
    as_json = Run([*line, "--json"], environment)
    assert (as_json.code, as_json.out) == (USAGE, "")
    assert as_json.error["field"] == field
    assert as_json.error["exit_code"] == USAGE
    if bound is not None:
        assert as_json.error["bound"] == bound


@pytest.mark.parametrize("line, flag", [
    (["balance", *OF], "--address"),
    (["plan", "list"], "--database-url"),
    (["migrate"], "--database-url"),
    (["watch"], "--address"),
    (["shadow"], "--database-url"),
    (["demo", "--address", "unix:/nonexistent/gate.sock"], "--database-url"),
])
def test_an_address_that_is_missing_is_named(line, flag):
    told = Run([*line, "--json"])
    assert (told.code, told.error["field"]) == (USAGE, flag)
    assert Run([*line, "--json"], {"CALLGATE_ADDRESS": "", "CALLGATE_DATABASE_URL": ""}
               ).error["field"] == flag


def test_a_database_url_is_never_repeated():
    for url in ["nonsense with a secret in it", "postgresql://u:secret@/x?nonsense=1"]:
        told = Run(["plan", "list", "--database-url", url])
        assert told.code == USAGE
        assert "secret" not in told.err + told.out


def test_nobody_at_the_address_is_unavailable_within_the_timeout():
    told = Run(["balance", *OF, "--address", "unix:/nonexistent/gate.sock", "--timeout-ms", "300",
                "--json"])
    assert told.code == UNAVAILABLE
    assert told.error["status"] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    told = Run(["plan", "list", "--database-url", "postgresql://x@/x?host=/nonexistent", "--json"])
    assert (told.code, told.error["exit_code"]) == (UNAVAILABLE, UNAVAILABLE)


def test_a_flag_wins_over_the_environment():
    told = Run(["balance", *OF, "--address", "unix:/flag.sock"],
               {"CALLGATE_ADDRESS": "unix:/environment.sock"})
    assert "/flag.sock" in told.err and "/environment.sock" not in told.err


def test_the_version_is_told_in_both_forms():
    assert Run(["version"]).out == Run(["--version"]).out
    assert Run(["version"]).out.startswith("callgate ")
    assert Run(["version", "--json"]).json.keys() == {"version"}


def test_a_full_device_is_an_error():
    with open("/dev/full", "w") as full:
        assert subprocess.run([program("callgate"), "help"], stdout=full,
                              stderr=subprocess.DEVNULL, check=False).returncode != DONE
