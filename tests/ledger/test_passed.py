"""What may be trimmed: what this ledger has had for a margin, and not much more than that.

Time goes by in the notes: they are made older.

SPDX-License-Identifier: Apache-2.0
"""

import random

import psycopg
import pytest

from flusher import PARTITION, Flusher

MARGIN_MS = 800_000


@pytest.fixture
def flusher(sql):
    return Flusher(sql)


@pytest.fixture
def look(sql):
    """The id that was passed a margin ago."""
    def run(margin_ms=MARGIN_MS):
        (row,) = sql("select * from callgate.cursors_look(%s)", margin_ms)
        (cursor,) = sql("select c.partition, c.epoch, c.last_epoch, c.last_n, c.served from callgate.cursors c")
        assert row[:5] == cursor
        return row[5:]

    return run


@pytest.fixture
def later(sql):
    def run(ms):
        sql("update callgate.passed set at = at - %s * interval '1 millisecond'", ms)

    return run


def test_nothing_is_trimmable_before_the_margin_is_over(flusher, look, later):
    assert look() == (None, None)
    company = flusher.wallet()
    flusher.flush(flusher.entry(company))
    assert look() == (None, None)
    later(MARGIN_MS - 5000)
    flusher.flush(flusher.entry(company))
    assert look() == (None, None)
    later(5000)
    assert look() == (1, 1)


def test_without_a_margin_all_that_was_passed_is_trimmable(flusher, look):
    company = flusher.wallet()
    for n in range(1, 6):
        flusher.flush(flusher.entry(company))
        assert look(0) == (1, n)


@pytest.mark.parametrize("pause_most_ms", [2_000, 100_000, 3_000_000])
def test_the_margin_is_kept_and_hardly_more(sql, flusher, look, later, pause_most_ms):
    """Each entry is one moment's: which was passed when is known."""
    chance = random.Random(pause_most_ms)
    company, now_ms, passed_at_ms = flusher.wallet(), 0, {}
    slack_ms = 60_000  # what this test takes
    for n in range(1, 150):
        flusher.flush(flusher.entry(company))
        passed_at_ms[n] = now_ms
        trimmable = look()[1] or 0
        if trimmable:
            assert passed_at_ms[trimmable] <= now_ms - MARGIN_MS + slack_ms
            assert now_ms <= passed_at_ms[trimmable] + MARGIN_MS * 5 / 4 + 2 * pause_most_ms
        pause_ms = chance.randrange(1, pause_most_ms)
        later(pause_ms)
        now_ms += pause_ms
        assert len(sql("select 1 from callgate.passed")) <= 12
    assert trimmable or now_ms < MARGIN_MS * 5 / 4 + 2 * pause_most_ms


def test_a_ledger_that_went_back_has_had_nothing_for_long(postgres, database):
    """The notes go with the entries; what is applied again is passed anew, to whomever it is told."""
    with psycopg.connect(postgres.url(database)) as connection:
        def sql(statement, *values):
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

        def look():
            return sql("select passed_epoch, passed_n from callgate.cursors_look(%s)", MARGIN_MS)[0]

        def later(ms):
            sql("update callgate.passed set at = at - %s * interval '1 millisecond'", ms)

        flusher = Flusher(sql)
        company = flusher.wallet()
        flusher.flush(flusher.entry(company))
        look()
        later(MARGIN_MS / 2)
        sql("savepoint standby")
        lost = flusher.entry(company)
        flusher.flush(lost)
        look()
        later(MARGIN_MS)
        assert look() == (1, 2)
        sql("rollback to savepoint standby")
        flusher.last = 1, 1
        flusher.flush(lost)
        later(MARGIN_MS / 2)
        assert look() == (1, 1)
        later(MARGIN_MS - 5000)
        assert look() == (1, 1)
        later(5000)
        assert look() == (1, 2)


def test_a_clock_that_was_set_back_makes_it_later_alone(flusher, look, later):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company))
    look()
    later(-10 * MARGIN_MS)
    flusher.flush(flusher.entry(company))
    assert look() == (None, None)  # noted all the same
    later(MARGIN_MS)
    assert look() == (1, 2)


def test_each_partition_has_its_own(sql, flusher, look, later):
    company = flusher.wallet()
    sql("insert into callgate.cursors (partition, epoch, last_epoch, last_n) values (7, 4, 3, 9), (8, 4, 0, 0)")
    flusher.flush(flusher.entry(company))
    rows = {(PARTITION, None, None), (7, None, None), (8, None, None)}
    looked = "select partition, passed_epoch, passed_n from callgate.cursors_look(%s)"
    assert set(sql(looked, MARGIN_MS)) == rows
    later(MARGIN_MS)
    assert set(sql(looked, MARGIN_MS)) == {(PARTITION, 1, 1), (7, 3, 9), (8, None, None)}


def test_two_that_look_at_once_make_one_note(sql, postgres, database, flusher):
    company = flusher.wallet()
    flusher.flush(flusher.entry(company))
    with psycopg.connect(postgres.url(database)) as first, \
            psycopg.connect(postgres.url(database), autocommit=True) as second:
        first.execute("select * from callgate.cursors_look(%s)", (MARGIN_MS,))
        second.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute("select * from callgate.cursors_look(%s)", (MARGIN_MS,))
        first.commit()
        second.execute("select * from callgate.cursors_look(%s)", (MARGIN_MS,))
    assert len(sql("select 1 from callgate.passed")) == 1
