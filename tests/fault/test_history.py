"""The judge of histories can say no: each way in which a ledger or an answer may be wrong is found.

SPDX-License-Identifier: Apache-2.0
"""

import dataclasses

import pytest

from support.contract import pb
from support.history import ACCEPTED, COMMITTED, Op, Request, cost_of, judge

COMPANY = "6a6c0a58-5a9e-4b5b-9a39-2d8f0b6f5a01"
SETTLE = Request("settle", COMPANY, "call-1", (("duration_ms", 60_000),), -70_000)
CREDIT = Request("credit", COMPANY, "pay-1", (("amount_micros", 500), ("type", pb.ENTRY_TYPE_TOP_UP)), 500)
OTHER = Request("credit", COMPANY, "pay-1", (("amount_micros", 501), ("type", pb.ENTRY_TYPE_TOP_UP)), 501)


class Story:
    """Invocations one after the other, and a ledger."""

    def __init__(self):
        self.ops, self.rows = [], []

    def op(self, request, outcome="ok", entry="", durability=COMMITTED, replayed=False, **more):
        at = float(len(self.ops))
        self.ops.append(Op(len(self.ops), request, durability, 0, at, at + 0.5, outcome,
                           ledger_id=entry, amount=request.amount if outcome == "ok" else None,
                           replayed=replayed, **more))
        return self

    def row(self, entry, request, micros=None):
        self.rows.append((entry, *request.key, request.amount if micros is None else micros))
        return self

    def judge(self, balance=None, **allowed):
        balance = sum(row[4] for row in self.rows) if balance is None else balance
        return judge(self.ops, self.rows, {COMPANY: balance}, **allowed)


def good():
    """Answered, unknown, refused; all of it resolved."""
    return (Story()
            .op(CREDIT, "unknown").op(CREDIT, "ok", "1-1-1", ACCEPTED)
            .op(SETTLE, "ok", "1-1-2").op(SETTLE, "ok", "1-1-2", replayed=True)
            .op(OTHER, "refused", code="ALREADY_EXISTS")
            .op(CREDIT, "ok", "1-1-1", replayed=True, is_final=True)
            .op(SETTLE, "ok", "1-1-2", replayed=True, is_final=True)
            .row("1-1-1", CREDIT).row("1-1-2", SETTLE))


def change(story, number, **fields):
    story.ops[number] = dataclasses.replace(story.ops[number], **fields)


def test_a_good_history_has_no_differences():
    verdict = good().judge()
    assert verdict.differences == []
    assert (verdict.operations, verdict.unknown, verdict.had_happened, verdict.lost) == (7, 1, 1, 0)


def lose_row(story):
    story.rows.pop()


def book_twice(story):
    story.row("1-1-9", SETTLE)


def book_more(story):
    story.rows[1] = (*story.rows[1][:4], -70_001)


def book_under_another_entry(story):
    story.rows[1] = ("1-1-7", *story.rows[1][1:])


def book_nobodys(story):
    story.row("1-1-9", Request("charge", COMPANY, "nobody", (), -1))


def book_refused(story):
    bad = Request("credit", COMPANY, "bad", (("amount_micros", 9), ("type", pb.ENTRY_TYPE_BONUS)), 9)
    story.op(bad, "refused", code="INVALID_ARGUMENT").row("1-1-9", bad)


def book_what_the_other_asked(story):
    story.rows[0] = (*story.rows[0][:4], 501)


def answer_other_amount(story):
    change(story, 2, amount=-71_000)


def make_again(story):
    change(story, 3, replayed=False)


def answer_both_contents(story):
    change(story, 4, outcome="ok", ledger_id="1-1-1", amount=501)
    story.op(OTHER, "ok", "1-1-1", replayed=True, is_final=True)


def leave_open(story):
    story.op(Request("charge", COMPANY, "open", (), -5), "unknown")


def duplicate_without_undo(story):
    story.rows.append(("1-1-9", COMPANY, "adjustment", "dup:1-1-9", -70_000))


@pytest.mark.parametrize("spoil, complaint", [
    (lose_row, "is in the ledger 0 times"),
    (book_twice, "is in the ledger 2 times"),
    (book_more, "is in the ledger with -70001"),
    (book_under_another_entry, "was answered with entry 1-1-2"),
    (book_nobodys, "nobody asked for it"),
    (book_refused, "was refused, and is in the ledger"),
    (book_what_the_other_asked, "is in the ledger with 501, answered with 500"),
    (answer_other_amount, "answers -71000, it asked for -70000"),
    (make_again, "was made a second time"),
    (answer_both_contents, "was answered for different amounts"),
    (leave_open, "was never resolved"),
    (duplicate_without_undo, "was not taken back"),
])
def test_what_is_wrong_is_found(spoil, complaint):
    story = good()
    spoil(story)
    for allowed in ({}, {"may_lose_tail": True}):
        found = story.judge(duplicates_max=1, **allowed).differences
        assert any(complaint in difference for difference in found), found


def test_a_balance_that_is_not_the_sum_is_found():
    assert "the balance is 1," in good().judge(balance=1).differences[0]


def lost_and_repeated(durability):
    return (Story().op(SETTLE, "ok", "1-1-1", durability)
            .op(SETTLE, "ok", "1-2-1", is_final=True).row("1-2-1", SETTLE))


def test_an_accepted_settle_may_be_lost_only_where_the_store_was_robbed():
    assert lost_and_repeated(ACCEPTED).judge(may_lose_tail=True).differences == []
    assert lost_and_repeated(ACCEPTED).judge(may_lose_tail=True).lost == 1
    assert lost_and_repeated(ACCEPTED).judge().differences
    assert lost_and_repeated(COMMITTED).judge(may_lose_tail=True).differences


def test_duplicates_are_admitted_only_where_they_are_due():
    story = good()
    story.rows += [("1-1-9", COMPANY, "adjustment", "dup:1-1-9", -7), ("1-1-10", COMPANY, "adjustment", "undo:1-1-9", 7)]
    assert story.judge(duplicates_max=1).differences == []
    assert story.judge(duplicates_max=1).duplicates == 1
    assert "at most 0" in story.judge().differences[0]


def test_a_correction_counts_as_part_of_its_call():
    story = Story().op(SETTLE, "ok", "1-1-2", corrected=30_000).op(
        SETTLE, "ok", "1-1-2", replayed=True, is_final=True)
    story.row("1-1-1", SETTLE, -100_000)
    story.rows.append(("1-1-2", COMPANY, "adjustment", "correction:call-1", 30_000))
    assert story.judge().differences == []
    story.rows[-1] = (*story.rows[-1][:4], 29_999)
    assert story.judge().differences


@pytest.mark.parametrize("price, duration_ms, cost", [  # meter.md
    ((90_000, 0, 0, 1_000), 61_001, 93_000), ((90_000, 0, 0, 1_000), 1, 1_500),
    ((100_000, 20_000, 60_000, 6_000), 7_000, 120_000), ((100_000, 0, 0, 6_000), 7_000, 20_000),
    ((50_000, 0, 0, 1_000), 1_000, 834), ((70_000, 5_000, 30_000, 30_000), 0, 0),
    ((2_600_123_457, 0, 0, 1), 15_751_779, 682_609_501_124),
])
def test_the_price_of_a_call_is_the_contracts(price, duration_ms, cost):
    assert cost_of(price, duration_ms) == cost
