# The proof that the model's tests can fail: each of these changes to the library is a mistake
# that somebody might make, and each must be caught.
#
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import Phase
from redis.exceptions import ResponseError
from support.wire import library_source
from test_wallet import LONG, machine_test

MUTANTS = {
    'accrual loses its remainder': (
        'w_rem = rest % 60000\n\t\tw_accrued = w_accrued + whole + (rest - w_rem) / 60000\n\tend',
        'w_rem = 0\n\t\tw_accrued = w_accrued + whole + (rest - rest % 60000) / 60000\n\tend'),
    'a charge is rounded down': ('return rest > 0 and whole + 1 or whole', 'return whole'),
    'the minimum is forgotten': ('return billed < minimum and minimum or billed', 'return billed'),
    'a started call keeps its whole hold': (
        'w_held = w_held - held_now + deal.headroom', 'w_held = w_held - held_now + deal.hold'),
    'a start in the past owes nothing': ('accrue(split(deal.rate, w_as_of - from))', 'accrue(0, 0)'),
    'stop goes on burning': ('w_burn = w_burn - deal.rate\n\t-- Where', '-- Where'),
    'stop in the past keeps what came after': (
        'local whole, rest = split(deal.rate, w_as_of - upto)\n\taccrue(-whole, -rest)', ''),
    'settle leaves the call accrued': (
        'local whole, rest = split(deal.rate, accrued_ms())\n\taccrue(-whole, -rest)', ''),
    'settle caps the cost by the hold': (
        'e.cost, e.billed_ms = cost_of(deal_of(e.deal), a.duration_ms)',
        'e.cost, e.billed_ms = cost_of(deal_of(e.deal), a.duration_ms)\n\tif e.cost > deal.hold then '
        'e.cost = deal.hold end'),
    'a late settle does not ask': ('if not a.asked then\n\t\treturn answer_of(OUTCOME.ASK, e)\n\telseif not (e', 'if not (e'),
    'a late settle is not marked': ('e.late = true', 'e.late = false'),
    'a repeated settle with other content is a replay': (
        'elseif a.as_metered or a.duration_ms == e.duration_ms then', 'else'),
    'a cancelled call may be authorized': (
        "e and e.state ~= EXPIRED and DENIED.BARRED or", "e and e.state == SETTLED and DENIED.BARRED or"),
    'cancel of an unknown call bars nothing': (
        'commit(nil, nil, key_of(USAGE_CHAR, a.id), bar)', 'commit()'),
    'concurrency admits one more': ('w_calls >= terms_calls_max', 'w_calls > terms_calls_max'),
    'funds admit one micro more': ('left < deal.hold then', 'left < deal.hold - 1 then'),
    'concurrency is looked for after funds': (
        'elseif w_calls >= terms_calls_max then\n\t\treturn DENIED.TOO_MANY\n\telseif not terms_unlimited and '
        'left < deal.hold then\n\t\treturn DENIED.NO_FUNDS',
        'elseif not terms_unlimited and left < deal.hold then\n\t\treturn DENIED.NO_FUNDS\n\telseif w_calls >= '
        'terms_calls_max then\n\t\treturn DENIED.TOO_MANY'),
    'available is not rounded': ('return w_rem > 0 and left - 1 or left', 'return left'),
    'a lease never ends': ('return c_state == AUTHORIZED and now >= c_authorized_at + deal.lease_ms',
                           'return false'),
    'an expired hold stays': (
        'remove_call()\n\t\tswept[id]', 'swept[id]'),
    'older terms overwrite newer ones': ('if version > terms_version then', 'if version > 0 then'),
    'the clock may go backwards': (
        'if ms <= 0 then\n\t\tnow = w_as_of\n\t\treturn\n\tend', ''),
    'a refusal writes': ('return answer(OUTCOME.KEY_REUSED, c_state)\n\tend\n\tif a.start',
                         'commit()\n\t\treturn answer(OUTCOME.KEY_REUSED, c_state)\n\tend\n\tif a.start'),
    'validate_only writes': ('if a.validate_only then\n\t\treturn undecided',
                             'if a.validate_only and w_changed then commit() elseif a.validate_only then\n\t\treturn undecided'),
    'a credit is applied twice': ('if e and e.amount == a.amount then', 'if e and e.amount == 0 then'),
    'charge ignores live calls': ('if live then\n\t\treturn answer(OUTCOME.KEY_REUSED, c_state)\n\tend\n\tlocal e = recall(a.id)\n\tif e and e.state == POSTED and', 'local e = recall(a.id)\n\tif e and e.state == POSTED and'),
    'a due time that comes nearer is not written': ('if w_due == 0 or at < w_due then', 'if w_due == 0 then'),
    'the version stands still': ('w_version = w_version + 1\n\tw_posted', 'w_posted'),
    'meta is not merged': ('#own + #meta) .. own .. meta', '#own + #meta) .. meta .. own'),
    'exhaustion is forgotten by a write': ('w_exhausted_at = at and at < now and at or now', 'w_exhausted_at = now'),
    'an id is not checked': ("require_that(#id <= 128 and find(id, '^[!-~]+$'), 'call_id')", ''),
    'a rate is not checked': ('d.rate >= 0 and d.rate <= RATE_MAX', 'd.rate <= 2 * RATE_MAX'),
    'the argument may have a tail': ("require_that(at == #text + 1, 'length')", ''),

    # The due work.
    'the end comes before the credit limit': (
        'if not terms_unlimited and available() <= 0 then\n\t\tphase', 'if not terms_unlimited and available() <= terms_credit then\n\t\tphase'),
    'T* is never due': ('no_later_than(w_phase == PHASE.CALM and ends_at - terms_warning_ms or ends_at)', ''),
    'T* is due a millisecond late': ('ends_at - terms_warning_ms or ends_at)', 'ends_at - terms_warning_ms or ends_at + 1)'),
    'T* is not looked at after the warning': (
        'if w_phase ~= PHASE.EXHAUSTED and ends_at then', 'if w_phase == PHASE.CALM and ends_at then'),
    'the due set is not written': (
        "elseif w_due ~= w_due_was then\n\t\tcall('ZADD', keys[3], format('%.0f', w_due), sub(keys[2], -16))", ''),
    'a wallet that has nothing due stays in the due set': ("call('ZREM', keys[3], sub(keys[2], -16))\n\telseif", 'elseif'),
    'the due time is written anew each time': ('if due and (w_due == 0 or due < w_due) then', 'if due then'),
    'far from the end is said without the warning': ('local floor, reach = 0, terms_warning_ms', 'local floor, reach = 0, 0'),
    'far from the end is said without the threshold': ('floor = terms_low > 0 and terms_low or 0', 'floor = 0'),
    'CUT_OFF is told once': (
        '(terms_shadow or terms_repeat_ms == 0) and cut.at + FOREVER or now + terms_repeat_ms', 'cut.at + FOREVER'),
    'CUT_OFF is repeated in shadow mode': (
        'terms_shadow or terms_repeat_ms == 0', 'terms_repeat_ms == 0'),
    'repeats are not counted': ('cut.count = cut.count + 1', 'cut.count = 1'),
    'calls without a rate are cut off': ('or deal.rate == 0\n\t\tor terms_unlimited then', 'or terms_unlimited then'),
    'stopped calls are cut off': ('or c_state ~= METERING or deal.rate == 0', 'or c_state == AUTHORIZED or deal.rate == 0'),
    'a call that starts after the end is not told': ('tell_end(id)\n\t\tmind_call()', 'mind_call()'),
    'T* of a CUT_OFF lies before the call': (
        'w_exhausted_at > c_started_at and w_exhausted_at or c_started_at', 'w_exhausted_at'),
    'a warning comes twice': ('cut.warned = true', 'cut.warned = false'),
    'a warning says nothing of T*': ('announce(TOLD.WARNING, id, 0, { ends_at = exhaustion() })', 'announce(TOLD.WARNING, id, 0)'),
    'what was told is not kept': ("call('HSET', keys[2], id, text)", ''),
    'a credit does not re-arm': ('if entry.amount > 0 then\n\t\trearm()\n\tend', ''),
    'a debit re-arms': ('if entry.amount > 0 then\n\t\trearm', 'if entry.amount ~= 0 then\n\t\trearm'),
    'a raised credit limit does not re-arm': ('if terms_credit > credit or', 'if'),
    'the end of shadow mode does not re-arm': ('or (shadow and not terms_shadow) then', 'then'),
    'a new threshold is armed by chance': ('or terms_low_ms ~= low_ms then\n\t\t\tarm_low()', 'or terms_low_ms ~= low_ms then'),
    'holds that are over bring the end': (
        'if w_calls_due == 0 or w_calls_due > now then\n\t\tnote_phase(exhaustion())\n\tend', 'note_phase(exhaustion())'),
    'who comes across the end does half of it': ('if is_writing and w_due > 0 and w_due <= now then', 'if false then'),
    'exhaustion is told as computed backwards': (
        'return w_exhausted_at > 0 and w_exhausted_at or exhaustion() or 0', 'return exhaustion() or 0'),
    'BALANCE_LOW is told again and again': ('w_low_armed = false\n\t\tannounce', 'announce'),
    'BALANCE_LOW is told at the threshold': ('return available() < terms_low', 'return available() <= terms_low'),
    'BALANCE_LOW is told of a millisecond more': ('ends_at - now < terms_low_ms', 'ends_at - now <= terms_low_ms'),
    'BALANCE_LOW is never due': ('no_later_than(comes_down_to(terms_low, true))', ''),
    'BALANCE_LOW is due a micro late': ('comes_down_to(terms_low, true)', 'comes_down_to(terms_low - 1)'),
    'BALANCE_LOW in time is due late': ('no_later_than(ends_at - terms_low_ms + 1)', 'no_later_than(ends_at - terms_low_ms + 2)'),
    'who is below the threshold crosses it': ('terms_has_low and not is_low(exhaustion())', 'terms_has_low'),
    'a lease that is over is not told': ('announce(TOLD.EXPIRED, id, released)', ''),
    'OVERDUE comes again': ('cut.overdue = true', 'cut.overdue = false'),
    'OVERDUE forgets the guard': (
        'return c_started_at + deal.longest_ms + deal.guard_ms', 'return c_started_at + deal.longest_ms'),
    'a call is abandoned a millisecond late': (
        'if now >= overdue_at() + PERIOD.ABANDON_MS and', 'if now > overdue_at() + PERIOD.ABANDON_MS and'),
    'an abandoned call talked for ever': ('if cut.count > 0 and not terms_shadow and upto', 'if false and upto'),
    'an abandoned call obeyed in shadow mode': (
        'if cut.count > 0 and not terms_shadow and upto', 'if cut.count > 0 and upto'),
    'an abandoned call was never stopped': (
        'if c_state == STOPPED then\n\t\treturn c_stopped_at - c_started_at\n\tend\n\tlocal cut', 'local cut'),
    'a lifted cut-off counts': ('if arm == w_arm then', 'if true then'),
    'an abandoned call keeps its hold': ('remove_call()\n\te.cost, e.billed_ms, e.duration_ms, e.basis = cost', 'e.cost, e.billed_ms, e.duration_ms, e.basis = cost'),
    'a correction books the whole cost': ('ADJUSTMENT, e.cost - cost, ENTRY', 'ADJUSTMENT, -cost, ENTRY'),
    'a correction may be made again': (
        'e.state, e.cost, e.billed_ms, e.duration_ms, e.basis = SETTLED, cost, billed', 'e.cost, e.billed_ms, e.duration_ms, e.basis = cost, billed'),
    'a correction as metered knows better': ('elseif a.ended_at == 0 then\n\t\treturn e.duration_ms', 'elseif false then\n\t\treturn e.duration_ms'),
    'what the ledger assumed is charged again': ('elseif a.is_assumed then', 'elseif false then'),
    'every denial is told': ('if now >= denials.at + PERIOD.DENIALS_MS then\n\t\tannounce(TOLD.DENIED, id', 'if true then\n\t\tannounce(TOLD.DENIED, id'),
    'denials left out are forgotten': (
        'denials.count, denials.verdict = denials.count + 1, verdict', 'denials.verdict = verdict'),
    'denials left out wait for the next look': ('or denials.count > 0 then\n\t\treturn false', 'then\n\t\treturn false'),
    'what shadow mode spared is all of it': ('saved = e.cost - cost_of(deal_of(e.deal), talk)', 'saved = e.cost'),
    'events stand before their entries': ('local last = streams.end_of(keys[6])', 'local last = streams.end_of(keys[7])'),
    'a tick does what is not due': ('elseif w_due == 0 or w_due > now then\n\t\treturn nil\n\tend\n\treturn attend()', 'end\n\treturn attend()'),
}


@pytest.mark.parametrize('name', MUTANTS if LONG else list(MUTANTS)[12::20])
def test_mutant_is_caught(redis, name):
    old, new = MUTANTS[name]
    assert library_source().count(old) == 1, 'the library has changed: write this mutant anew'

    case = machine_test(redis, lambda text: text.replace(old, new), 300, (Phase.generate,), True)('runTest')
    with pytest.raises((AssertionError, KeyError, ResponseError, pytest.fail.Exception)) as caught:
        case.runTest()
    assert 'nonexistent' not in str(caught.value)
