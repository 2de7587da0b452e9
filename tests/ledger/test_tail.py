"""What a recovery asks of the ledger: the entries above an id, and how the partition was served.

SPDX-License-Identifier: Apache-2.0
"""

import json
import uuid

import pytest

from flusher import PARTITION, Flusher

COLUMNS = ("epoch, n, company_id, posted_micros, version, key_type, key_reference, entry_id, type, amount_micros,"
           " balance_after_micros, at_ms, resource_type, is_charge, quantity, currency, meta, pairs")
ALL = (0, 2**53 - 1)


@pytest.fixture
def flusher(sql):
    return Flusher(sql)


@pytest.fixture
def tail(sql):
    """The rows above an id, read in pages, as dictionaries."""
    def run(after=ALL, most=1000):
        rows = []
        while page := sql("select to_jsonb(t) - 'pairs' from callgate.tail_read(%s, %s, %s, %s) t", PARTITION,
                          *after, most):
            assert len(page) <= most
            rows += [row for (row,) in page]
            after = rows[-1]["epoch"], rows[-1]["n"]
        return rows

    return run


def test_every_entry_above_the_id_comes_once_and_in_order(flusher, tail):
    companies = [flusher.wallet() for _ in range(3)]
    entries = [flusher.entry(companies[i % 3]) for i in range(20)]
    flusher.flush(*entries)
    for most in (1, 7, 1000):
        assert [row["entry_id"] for row in tail((1, 12), most)] == [e.id for e in entries[12:]]
    assert [row["n"] for row in tail()] == list(range(21))  # from the first there could be: this one begins at 1
    assert tail((1, 20)) == [] and tail((7, 0)) == []
    row = tail((1, 19))[0]
    assert (row["posted_micros"], row["version"]) == (-93000 * 6, 6) if row["company_id"] == str(companies[2]) \
        else (-93000 * 7, 7)


def test_a_row_says_what_key_and_wallet_say(flusher, sql, tail):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company, "top_up", 500, "pay"), flusher.entry(company, reference="call"),
                  flusher.entry(company, reference="rent", is_charge=True, quantity=3,
                                meta=json.dumps({"entry_id": f"{PARTITION}-1-3", "is_charge": True, "quantity": 3})))
    rows = sql(f"select {COLUMNS} from callgate.tail_read(%s, 1, 0, 10)", PARTITION)
    assert len(rows) == 3
    for row in rows:
        (key,) = sql("select entry_id, type, amount_micros, balance_after_micros, at_ms, resource_type, is_charge,"
                     " quantity, currency, meta, pairs from callgate.key_read(%s, %s, %s)", company, row[5], row[6])
        assert row[7:] == key
        assert row[3:5] == sql("select posted_micros, version from callgate.wallet_read(%s)", company)[0]
    assert [row[14] for row in rows] == [None, None, 3]


def test_a_correction_is_its_call(flusher, tail):
    company = flusher.wallet()
    call = flusher.entry(company, reference="call")
    call.meta = json.dumps({**json.loads(call.meta), "basis": "assumed"})
    flusher.flush(call)
    before = flusher.last
    fix = flusher.correction(company, "call", 33000, -22000, 40000)
    flusher.flush(fix, flusher.entry(company, "adjustment", 1, "by hand"))
    row, other = tail(before)
    assert (row["key_type"], row["key_reference"], row["entry_id"]) == ("usage", "call", call.id)
    assert (row["amount_micros"], row["corrected_by"], row["corrected_micros"]) == (-93000, fix.id, 33000)
    assert (row["n"], row["corrected_meta"]["billed_ms"]) == (fix.n, 40000)
    assert (other["key_reference"], other["corrected_by"]) == ("by hand", None)
    # Of the call itself, where both are above the id.
    first, second, _ = tail((1, 0))
    assert {**first, "n": second["n"]} == second == row


def test_what_was_booked_twice_is_there_under_its_own_key(flusher, tail):
    company = flusher.wallet()
    first = flusher.entry(company, reference="call")
    flusher.flush(first)
    again = flusher.entry(company, reference="call")
    assert flusher.flush(again)[5] == 1
    undo = flusher.entry(company, "adjustment", 93000, f"undo:{again.id}")
    flusher.flush(undo)
    assert [(row["key_type"], row["key_reference"]) for row in tail((1, 1))] == [
        ("adjustment", f"dup:{again.id}"), ("adjustment", f"undo:{again.id}")]


def test_entries_in_quarantine_count(flusher, sql, tail):
    company, other = flusher.wallet(), flusher.wallet()
    flusher.flush(flusher.entry(company, "top_up", 500, "pay"))
    flusher.books[company] = (5, 7)  # a gap: set aside, with all that follow
    entries = [flusher.entry(company, reference="aside"), flusher.entry(other),
               flusher.entry(company, "bonus", 10, "gift")]
    assert flusher.flush(*entries)[4] == 2
    rows = tail((1, 1))
    assert [row["entry_id"] for row in rows] == [entry.id for entry in entries]
    for row in (rows[0], rows[2]):
        assert (row["posted_micros"], row["version"]) == (7 - 93000 + 10, 7)
        assert (row["posted_micros"], row["version"]) == \
            sql("select posted_micros, version from callgate.wallet_read(%s)", company)[0]
    assert rows[0]["key_reference"] == "aside" and rows[0]["meta"]["billed_ms"] == 62000


def test_what_is_no_text_is_a_wallet_without_a_key(flusher, tail):
    company = flusher.wallet()
    entry = flusher.entry(company)
    entry.reference = entry.resource = ""
    entry.meta = None
    flusher.flush(entry, mode=2, raw=b"\xff", reason="refused")
    (row,) = tail((1, 0))
    assert (row["key_reference"], row["posted_micros"], row["version"]) == ("", -93000, 1)


def test_a_wallet_that_the_ledger_does_not_know_is_as_its_quarantine_says(flusher, tail):
    nobody = uuid.uuid4()
    flusher.books[nobody] = (0, 0)
    flusher.flush(flusher.entry(nobody))
    (row,) = tail((1, 0))
    assert (row["company_id"], row["version"], row["posted_micros"]) == (str(nobody), 1, -93000)


def test_a_deleted_id_is_a_row_of_nothing(flusher, tail):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company))
    flusher.n += 2500  # an operator deleted so many
    flusher.flush(last := flusher.entry(company))
    rows = tail((1, 0), 100)
    assert len(rows) == 2502 and [row["entry_id"] for row in rows if row["company_id"]] == [f"{PARTITION}-1-1", last.id]


def take(sql, epoch):
    """Whether it is taken, and what was served last."""
    return sql("select taken, served, served_from from callgate.epoch_begin(%s, %s, %s)", PARTITION, epoch - 1, epoch)


def test_the_end_of_epochs_that_were_served_before(flusher, sql, tail):
    """The store forgot that 2 and 3 were served: what it lost of 1 and what came since are all read."""
    company = flusher.wallet()
    flusher.flush(*[flusher.entry(company) for _ in range(5)])
    for epoch in (2, 3):
        assert take(sql, epoch) == [(True, epoch - 1 if epoch > 2 else 0, epoch - 2 if epoch > 2 else 0)]
        assert sql("select callgate.epoch_served(%s, %s, %s)", PARTITION, epoch, epoch - 1) == [(True,)]
        flusher.epoch, flusher.n = epoch, -1
        flusher.flush(*[flusher.entry(company) for _ in range(3)])
    own = [(epoch, n) for epoch in (2, 3) for n in range(3)]
    for most in (1, 2, 1000):
        assert [(row["epoch"], row["n"]) for row in tail((1, 3), most)] == [(1, 4), (1, 5), *own]
    assert [(row["epoch"], row["n"]) for row in tail((1, 2**53 - 1))] == own
    assert take(sql, 3) == [(False, 3, 2)] and take(sql, 4) == [(True, 3, 2)]


def test_a_sidecar_of_before_leaves_no_doubt(flusher, sql):
    """It does not say what the history came from: no history but one that was served will do."""
    take(sql, 2)
    assert sql("select callgate.epoch_served(%s, 2, 1)", PARTITION) == [(True,)]
    take(sql, 3)
    assert sql("select callgate.epoch_served(%s, 3)", PARTITION) == [(True,)]
    assert take(sql, 4) == [(True, 3, 3)]


def test_whoever_broke_off_need_not_wait_for_his_own_turn(flusher, sql):
    turn = "select callgate.turn_take(%s, 60000, %s)"
    assert sql(turn, PARTITION, 0) == [(True,)]
    take(sql, 2)
    assert sql(turn, PARTITION, 0) == [(False,)] and sql(turn, PARTITION, 1) == [(False,)]
    assert sql(turn, PARTITION, 2) == [(True,)]
    take(sql, 3)  # by another one
    assert sql(turn, PARTITION, 2) == [(False,)]
    assert sql("select callgate.turn_take(%s, 60000)", PARTITION) == [(False,)]


def test_a_turn_is_kept_and_a_served_epoch_noted_only_by_whose_epoch_it_is(flusher, sql):
    assert sql("select callgate.turn_take(%s, 1000)", PARTITION) == [(True,)]
    assert sql("select callgate.turn_keep(%s, 1, 60000), callgate.turn_keep(%s, 2, 99000)", PARTITION, PARTITION) \
        == [(True, False)]
    assert sql("select turn_until - clock_timestamp() between interval '50 s' and interval '60 s'"
               " from callgate.cursors") == [(True,)]
    assert sql("select callgate.epoch_served(%s, 2, 1)", PARTITION) == [(False,)]
    assert sql("select count(*) from callgate.served") == [(0,)]
    assert sql("select callgate.epoch_served(%s, 1, 0)", PARTITION) == [(True,)]
    assert sql("select turn_until = '-infinity', served from callgate.cursors") == [(True, 1)]


SERVED = "select callgate.epoch_served(%s, %s, %s, %s, %s)"
NO_ENTRY = 2**53 - 1


def is_beginning(sql, served, end):
    return sql("select callgate.is_beginning(%s, %s, %s, %s)", PARTITION, served, *end)[0][0]


def serve(sql, epoch, came_from, end):
    assert sql("select taken from callgate.epoch_begin(%s, %s, %s)", PARTITION,
               sql("select epoch from callgate.cursors where partition = %s", PARTITION)[0][0], epoch) == [(True,)]
    assert sql(SERVED, PARTITION, epoch, came_from, *end) == [(True,)]


def test_the_beginning_of_what_was_served_last(flusher, sql):
    """1 went as far as 1-7 when 3 came of it, 3 had no entry of its own when 4 did; 4 as far as 4-2."""
    serve(sql, 3, 1, (1, 7))
    serve(sql, 4, 3, (2, NO_ENTRY))
    serve(sql, 6, 4, (4, 2))
    for served, end in [(1, (0, NO_ENTRY)), (1, (1, 0)), (1, (1, 7)), (3, (2, NO_ENTRY)), (4, (4, 2)), (4, (3, NO_ENTRY))]:
        assert is_beginning(sql, served, end), (served, end)
    # A fork went further; 2 and 5 never were; 6 is the last one itself, and 0 is nothing at all.
    for served, end in [(1, (1, 8)), (3, (3, 0)), (4, (4, 3)), (2, (1, 0)), (5, (4, 0)), (6, (6, 0)), (0, (0, 0))]:
        assert not is_beginning(sql, served, end), (served, end)


def test_nothing_is_the_beginning_of_what_was_dropped_or_left_behind(flusher, sql):
    serve(sql, 2, 1, (1, 7))
    serve(sql, 3, 1, (1, 5))  # and not of 2: the store had lost it
    assert is_beginning(sql, 1, (1, 5)) and not is_beginning(sql, 1, (1, 6))
    assert not is_beginning(sql, 2, (1, NO_ENTRY))
    serve(sql, 4, 4, (3, 9))
    for served in range(5):
        assert not is_beginning(sql, served, (served - 1, NO_ENTRY)), served
    assert sql("select end_epoch, end_n from callgate.served where epoch = 4") == [(None, None)]


def test_a_sidecar_of_before_does_not_say_how_far_it_went(flusher, sql):
    take(sql, 2)
    assert sql("select callgate.epoch_served(%s, 2, 1)", PARTITION) == [(True,)]
    assert not is_beginning(sql, 1, (0, 0))


def test_what_waited_at_the_fence_is_read_once_it_is_flushed(flusher, sql, tail):
    """The cursor of that time was at 1-1; 1-2 to 1-4 waited, and were flushed under 2."""
    company = flusher.wallet()
    first, *waiting = [flusher.entry(company) for _ in range(4)]
    flusher.flush(first)
    serve(sql, 2, 1, (1, 4))
    flusher.epoch, flusher.n = 2, -1
    flusher.flush(*waiting)
    flusher.flush(flusher.entry(company))
    assert [(row["epoch"], row["n"]) for row in tail((1, 1))] == [(1, 2), (1, 3), (1, 4), (2, 0)]
    serve(sql, 3, 2, (1, NO_ENTRY))  # no entry of 2 was left of it: the cursor says more
    assert sql("select last_epoch, last_n from callgate.served where epoch = 3") == [(2, 0)]


@pytest.mark.parametrize("end, last", [((1, NO_ENTRY), (1, 1)), ((2, 7), (2, 7)), ((1, 0), (1, 1))])
def test_where_the_cursor_lags_by_an_epoch(flusher, sql, end, last):
    """An end below what the history was served under is no id; else it says how far the tail goes."""
    flusher.flush(flusher.entry(flusher.wallet()))
    serve(sql, 3, 2, end)
    assert sql("select last_epoch, last_n from callgate.served where epoch = 3") == [last]


def test_a_store_that_was_never_served_proves_nothing(flusher, sql):
    serve(sql, 2, 0, (0, 0))
    assert not is_beginning(sql, 0, (0, 0))


def test_served_by_another_is_not_noted(flusher, sql):
    assert sql(SERVED, PARTITION, 2, 1, 1, 7) == [(False,)]
    assert sql("select count(*) from callgate.served") == [(0,)]
