"""rate list|import: a table of bad files, and what good ones do.

SPDX-License-Identifier: Apache-2.0
"""

import pytest

from cli_support import DONE, NOT_FOUND, UNAVAILABLE, USAGE, Run

HEADER = ("plan_id,currency,resource_type,prefix,rate_micros_per_minute,connect_fee_micros,"
          "minimum_ms,increment_ms\n")
GOOD = "starter,usd,voice_outbound,+49,130000,0,0,1000\n"
MONEY = "a whole number, 0..99999999999"
SPAN = "a whole number, 0..3600000"

# what stands after the header -> line, column (None: the line as a whole), bound
BAD_ROWS = [
    ("Starter,usd,voice,,1,0,0,1\n", 2, "plan_id", None),
    (",usd,voice,,1,0,0,1\n", 2, "plan_id", None),
    ("starter,USD,voice,,1,0,0,1\n", 2, "currency", None),
    ("starter,usd,Voice,,1,0,0,1\n", 2, "resource_type", "[a-z][a-z0-9_]{0,63}"),
    ("starter,usd,voice,49,1,0,0,1\n", 2, "prefix", None),
    ("starter,usd,voice,+0,1,0,0,1\n", 2, "prefix", None),
    ("starter,usd,voice,+1234567890123456,1,0,0,1\n", 2, "prefix", None),
    ("starter,usd,voice,,,0,0,1\n", 2, "rate_micros_per_minute", MONEY),
    ("starter,usd,voice,,-1,0,0,1\n", 2, "rate_micros_per_minute", MONEY),
    ("starter,usd,voice,,0.09,0,0,1\n", 2, "rate_micros_per_minute", MONEY),
    ("starter,usd,voice,,100000000000,0,0,1\n", 2, "rate_micros_per_minute", MONEY),
    ("starter,usd,voice,,1e3,0,0,1\n", 2, "rate_micros_per_minute", MONEY),
    ("starter,usd,voice,, 1,0,0,1\n", 2, "rate_micros_per_minute", MONEY),
    ("starter,usd,voice,,1,x,0,1\n", 2, "connect_fee_micros", MONEY),
    ("starter,usd,voice,,1,0,3600001,1\n", 2, "minimum_ms", SPAN),
    ("starter,usd,voice,,1,0,0,0\n", 2, "increment_ms", "a whole number, 1..3600000"),
    ("starter,usd,voice,,1,0,0\n", 2, None, None),
    ("starter,usd,voice,,1,0,0,1,\n", 2, None, None),
    ('starter,usd,"voice,,1,0,0,1\n', 2, None, None),
    ('starter,usd,vo"ice,,1,0,0,1\n', 2, None, None),
    ('starter,usd,"voice"x,,1,0,0,1\n', 2, None, None),
    ("starter,usd,voice,,1,0,0,1\rstarter,usd,voice,+1,1,0,0,1\n", 2, None, None),
    ("starter,usd,voice\0,,1,0,0,1\n", 2, None, None),
    ("starter,usd," + "v" * 256 + ",,1,0,0,1\n", 2, None, None),
    (GOOD + "\n" + GOOD.replace("130000", "9"), 4, "prefix", None),  # the same rate twice
    (GOOD + GOOD.replace("+49", "+44").replace("usd", "us"), 3, "currency", None),
    ("", 1, None, None),
]


@pytest.mark.parametrize("rows, line, column, bound", BAD_ROWS,
                         ids=[repr(row[0])[:50] for row in BAD_ROWS])
def test_a_bad_row_names_line_column_and_bound(tmp_path, rows, line, column, bound):
    path = tmp_path / "rates.csv"
    path.write_text(HEADER + rows, newline="")
    told = Run(["rate", "import", path, "--json"],
               {"CALLGATE_DATABASE_URL": "postgresql://x@/x?host=/nonexistent"})
    assert (told.code, told.out) == (USAGE, ""), told
    where = f"line {line}" + (f", column {column}:" if column else ":")
    assert where in told.error["message"], told
    assert "nothing was changed" in told.error["message"]
    if column is not None:
        assert told.error["field"] == column
    if bound is not None:
        assert told.error["bound"] == bound and bound in told.error["message"]


@pytest.mark.parametrize("header", [
    "", "plan_id\n", "\n", HEADER.replace("currency", "Currency"), HEADER.replace("plan_id,", ""),
    HEADER.replace("\n", ",more\n"), HEADER.replace("minimum_ms,increment_ms",
                                                    "increment_ms,minimum_ms"), "\0\xff"])
def test_a_bad_header_is_refused(tmp_path, header):
    path = tmp_path / "rates.csv"
    path.write_bytes((header + (GOOD if header else "")).encode("latin-1"))
    told = Run(["rate", "import", path],
               {"CALLGATE_DATABASE_URL": "postgresql://x@/x?host=/nonexistent"})
    assert (told.code, told.out) == (USAGE, ""), told
    assert " line 1" in told.err


def test_a_file_that_is_not_there_or_too_large(tmp_path):
    environment = {"CALLGATE_DATABASE_URL": "postgresql://x@/x?host=/nonexistent"}
    assert Run(["rate", "import", tmp_path / "none.csv"], environment).code == NOT_FOUND
    assert Run(["rate", "import", tmp_path], environment).code == NOT_FOUND
    assert Run(["rate", "import", "/dev/zero"], environment).code == USAGE
    good = tmp_path / "good.csv"
    good.write_text(HEADER + GOOD)
    assert Run(["rate", "import", good], environment).code == UNAVAILABLE


def all_rates(ledger):
    return ledger.rows("select * from callgate.rates order by 1, 2, 3, 4")


def test_the_seeded_rates_are_listed(ledger):
    told = ledger.run("rate", "list", "--json")
    assert told.code == DONE, told
    rates = told.json["rates"]
    assert [list(rate) for rate in rates[:1]] == [HEADER.strip().split(",")]
    assert len(rates) == len(all_rates(ledger)) > 50
    some = ledger.run("rate", "list", "--plan", "starter", "--currency", "usd", "--resource",
                      "voice_inbound", "--json").json["rates"]
    assert some == [rate for rate in rates if (rate["plan_id"], rate["currency"], rate[
        "resource_type"]) == ("starter", "usd", "voice_inbound")] and some

    people = ledger.run("rate", "list")
    assert max(map(len, people.lines())) <= 100, people
    assert len(people.lines()) == len(rates) + 1
    assert "0.090000 USD" in people.out


def test_an_import_adds_and_changes_and_leaves_the_rest(ledger, tmp_path):
    path = tmp_path / "rates.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + GOOD.replace("130000", "131000")
                     + 'starter,"usd","fax",,99999999999,99999999999,3600000,3600000\n\n')
                     .replace("\n", "\r\n").encode())
    before = all_rates(ledger)
    told = ledger.run("rate", "import", path, "--json")
    assert told.code == DONE, told
    assert told.json == {"rates_read": 2, "rates_added": 1, "rates_changed": 1, "rates_removed": 0}
    assert len(all_rates(ledger)) == len(before) + 1
    assert ("starter", "usd", "voice_outbound", "+49", 131000, 0, 0, 1000) in all_rates(ledger)

    version = ledger.rows("select version from callgate.plans where plan_id = 'starter'")
    again = ledger.run("rate", "import", path, "--json")
    assert again.json == {"rates_read": 2, "rates_added": 0, "rates_changed": 0,
                          "rates_removed": 0}
    assert ledger.rows("select version from callgate.plans where plan_id = 'starter'") == version
    assert max(map(len, ledger.run("rate", "list", "--resource", "fax").lines())) <= 100


def test_replace_removes_the_others_of_the_same_plan_alone(ledger):
    others = ledger.rows("select count(*) from callgate.rates where plan_id <> 'starter'")
    mine = ledger.rows("select count(*) from callgate.rates where plan_id = 'starter'")[0][0]
    told = ledger.run("rate", "import", "-", "--replace", "--json", stdin=HEADER + GOOD)
    assert told.code == DONE, told
    assert told.json["rates_removed"] == mine - 1
    assert ledger.rows("select * from callgate.rates where plan_id = 'starter'") == [
        ("starter", "usd", "voice_outbound", "+49", 130000, 0, 0, 1000)]
    assert ledger.rows("select count(*) from callgate.rates where plan_id <> 'starter'") == others


def test_a_plan_that_is_missing_changes_nothing(ledger):
    before = all_rates(ledger)
    told = ledger.run("rate", "import", "-", "--replace", "--json",
                      stdin=HEADER + GOOD.replace("130000", "1")
                      + "nope,usd,voice,,1,0,0,1\n")
    assert (told.code, told.out) == (NOT_FOUND, ""), told
    assert "standard input line 3, column plan_id" in told.error["message"]
    assert all_rates(ledger) == before


def test_a_refusal_at_the_end_of_the_transaction_changes_nothing(ledger):
    """The removal fails after the rates were put: all of it goes."""
    ledger.rows("create function refuse() returns trigger language plpgsql as"
                " $$ begin raise exception 'no' using errcode = 'check_violation'; end $$")
    ledger.rows("create trigger refuse before delete on callgate.rates"
                " for each row execute function refuse()")
    before = all_rates(ledger)
    told = ledger.run("rate", "import", "-", "--replace",
                      stdin=HEADER + GOOD.replace("130000", "1"))
    assert (told.code, told.out) == (USAGE, ""), told
    assert all_rates(ledger) == before


def test_many_rates_at_once(ledger):
    rows = "".join(f"starter,usd,r{number},,{number},0,0,1000\n" for number in range(20_000))
    told = ledger.run("rate", "import", "-", "--json", "--timeout-ms", "60000",
                      stdin=HEADER + rows)
    assert told.code == DONE, told
    assert told.json["rates_added"] == 20_000
