# The proof that the model's tests can fail: each of these changes to the library is a mistake
# that somebody might make, and each must be caught.
#
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import Phase
from redis.exceptions import ResponseError
from support.wire import LIBRARY
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
    'a late settle does not ask': ('if not a.asked then\n\t\treturn answer_of(ASK, e)\n\telseif not (e', 'if not (e'),
    'a late settle is not marked': ('e.late = true', 'e.late = false'),
    'a repeated settle with other content is a replay': (
        'elseif a.as_metered or a.duration_ms == e.duration_ms then', 'else'),
    'a cancelled call may be authorized': (
        "e and e.state ~= EXPIRED and BARRED or", "e and e.state == SETTLED and BARRED or"),
    'cancel of an unknown call bars nothing': (
        'commit(nil, nil, key_of(USAGE_CHAR, a.id), bar)', 'commit()'),
    'concurrency admits one more': ('w_calls >= terms_calls_max', 'w_calls > terms_calls_max'),
    'funds admit one micro more': ('left < deal.hold then', 'left < deal.hold - 1 then'),
    'concurrency is looked for after funds': (
        'elseif w_calls >= terms_calls_max then\n\t\treturn TOO_MANY\n\telseif not terms_unlimited and '
        'left < deal.hold then\n\t\treturn NO_FUNDS',
        'elseif not terms_unlimited and left < deal.hold then\n\t\treturn NO_FUNDS\n\telseif w_calls >= '
        'terms_calls_max then\n\t\treturn TOO_MANY'),
    'available is not rounded': ('return w_rem > 0 and left - 1 or left', 'return left'),
    'a lease never ends': ('return c_state == AUTHORIZED and now >= c_authorized_at + deal.lease_ms',
                           'return false'),
    'an expired hold stays': (
        'remove_call()\n\t\tswept[id]', 'swept[id]'),
    'older terms overwrite newer ones': ('if version > terms_version then', 'if version > 0 then'),
    'the clock may go backwards': (
        'if ms <= 0 then\n\t\tnow = w_as_of\n\t\treturn\n\tend', ''),
    'a refusal writes': ('return answer(KEY_REUSED, c_state)\n\tend\n\tif a.start',
                         'commit()\n\t\treturn answer(KEY_REUSED, c_state)\n\tend\n\tif a.start'),
    'validate_only writes': ('if a.validate_only then\n\t\treturn undecided',
                             'if a.validate_only and w_changed then commit() elseif a.validate_only then\n\t\treturn undecided'),
    'a credit is applied twice': ('if e and e.amount == a.amount then', 'if e and e.amount == 0 then'),
    'charge ignores live calls': ('if live then\n\t\treturn answer(KEY_REUSED, c_state)\n\tend\n\tlocal e = recall(a.id)\n\tif e and e.state == POSTED and', 'local e = recall(a.id)\n\tif e and e.state == POSTED and'),
    'a due time that comes nearer is not written': ('if w_due == 0 or at < w_due then', 'if w_due == 0 then'),
    'the version stands still': ('w_version = w_version + 1\n\tw_posted', 'w_posted'),
    'meta is not merged': ('#own + #meta) .. own .. meta', '#own + #meta) .. meta .. own'),
    'exhaustion is forgotten by a write': ('w_exhausted_at = at and at < now and at or now', 'w_exhausted_at = now'),
    'an id is not checked': ("require_that(#id <= 128 and find(id, '^[!-~]+$'), 'call_id')", ''),
    'a rate is not checked': ('d.rate >= 0 and d.rate <= RATE_MAX', 'd.rate <= 2 * RATE_MAX'),
    'the argument may have a tail': ("require_that(at == #text + 1, 'length')", ''),
}


@pytest.mark.parametrize('name', MUTANTS if LONG else list(MUTANTS)[::6])
def test_mutant_is_caught(redis, name):
    old, new = MUTANTS[name]
    assert LIBRARY.read_text().count(old) == 1, 'the library has changed: write this mutant anew'

    case = machine_test(redis, lambda text: text.replace(old, new), 300, (Phase.generate,))('runTest')
    with pytest.raises((AssertionError, KeyError, ResponseError, pytest.fail.Exception)) as caught:
        case.runTest()
    assert 'nonexistent' not in str(caught.value)
