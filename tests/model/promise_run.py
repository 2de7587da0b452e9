# A discrete event simulation over the real function library: edges act as a schedule says, and end
# their calls when they are told.
#
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, replace

from promise_gate import BEGIN, Gate
from promise_model import Call, ceil_div, cost_of
from promise_schedule import Change
from support.wire import ADJUSTMENT, REFUND, TOP_UP


@dataclass
class Talk:
    """A call as its edge knows it."""
    plan: object
    id: str
    company: int
    begun_at: int = None
    ended_at: int = None
    refused: bool = False
    max_ms: int = None
    end_version: int = 0
    ends_at: int = None  # as planned
    cut_at: int = None  # when it obeys its CUT_OFF
    cut_by: int = None  # and by when it should
    is_topped_up: bool = False
    is_let_in: bool = False  # shadow mode admitted it
    void_before: int = -1  # a CUT_OFF read from an event before this one does not count


class Run(Gate):
    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        talks = [Talk(plan, 'call-%d' % i, plan.company) for i, plan in enumerate(self.schedule.calls)]
        self.talks = {talk.id: talk for talk in talks}
        for talk in talks:
            self.at(talk.plan.at, self.adopt if talk.plan.starts == 'adopt' else self.authorize, talk)
        for i, change in enumerate(self.schedule.changes):
            self.at(change.at, self.change, change, 'change-%d' % i)

    def obey(self, call_id, cut_by, told, first):
        talk = self.talks[call_id]
        if talk.ended_at is not None or told < talk.void_before:
            return
        in_time = self.now <= cut_by or not first or talk.cut_by is not None
        self.check(in_time, 'the CUT_OFF came too late to be obeyed', cut_by)
        if talk.plan.tops_up and not talk.is_topped_up:
            after, amount = talk.plan.tops_up
            talk.is_topped_up = True
            self.at(self.now + after, self.change, Change(self.now + after, talk.company, 'top_up', amount),
                    'from-' + talk.id)
        when = max(self.now, cut_by - talk.plan.slack_ms) + talk.plan.overstay_ms
        if talk.cut_at is None or when < talk.cut_at:
            talk.cut_at, talk.cut_by = when, cut_by
            self.end_by(talk, when)

    def lift(self, i):
        """Money came, and there is some again: what was told of the end holds no longer."""
        self.wallets[i].note()
        if self.wallets[i].available() <= 0:
            return
        for talk in self.talks.values():
            if talk.company == i and talk.plan.heeds_credit:
                talk.void_before, talk.cut_at, talk.cut_by = self.count, None, None
                talk.end_version += 1
                if talk.ends_at is not None and talk.ended_at is None:
                    self.at(talk.ends_at, self.end, talk, talk.end_version)

    # Talk.
    def begin(self, talk):
        plan = talk.plan
        if talk.ended_at is not None:
            return
        talk.begun_at = self.now
        lasts = min(plan.talk_ms, plan.longest_ms)
        if talk.max_ms is not None and plan.obeys_max:
            lasts = min(lasts, talk.max_ms)
        call = self.wallets[talk.company].calls.get(talk.id)
        if plan.starts == 'never':
            # What nobody ever starts is covered by what was reserved, as long as that is held.
            end = call.lease_end() - 1 - self.now if call else 0
            lasts = max(0, min(lasts, self.schedule.limits.reserve_ms, end))
        talk.ends_at = self.now + lasts
        self.end_by(talk, talk.ends_at if talk.cut_at is None else min(talk.ends_at, talk.cut_at))
        if plan.starts in ('start', 'now'):
            self.at(self.now + plan.start_after_ms, self.start, talk)

    def end_by(self, talk, when):
        if talk.ends_at is None or when <= talk.ends_at:
            talk.end_version += 1
            self.at(when, self.end, talk, talk.end_version)

    def end(self, talk, version):
        if talk.ended_at is not None or version != talk.end_version:
            return
        plan, talk.ended_at = talk.plan, self.now
        if talk.begun_at is None:
            talk.begun_at = self.now  # it was given up before anybody talked
        self.note(talk.company, 'talk ends', talk.id, 'after', self.now - talk.begun_at)
        if plan.starts == 'never':
            call = self.wallets[talk.company].calls.get(talk.id)
            end = call.lease_end() - 1 if call else self.now
            return self.at(min(self.now + max(0, plan.settle_after_ms), max(end, self.now)), self.settle, talk)
        if plan.stop_after_ms >= 0:
            self.at(self.now + plan.stop_after_ms, self.stop, talk)
        # What nobody settles is charged up to its Stop, which must be that of the talk.
        if plan.stop_after_ms < 0 or plan.settle_after_ms >= 0 or not plan.stop_says_when:
            self.at(self.now + max(0, plan.settle_after_ms), self.settle, talk)

    def again(self, talk, step, method, is_repeat):
        for name, after in talk.plan.again if not is_repeat else ():
            if name == step:
                self.at(self.now + after, method, talk, True)

    # Operations.
    def authorize(self, talk, is_repeat=False):
        plan, i = talk.plan, talk.company
        if is_repeat and (talk.refused or not self.may_ask_again(talk)):
            return
        wallet, limits = self.open(i), self.schedule.limits_of(plan)
        live, admits = wallet.calls.get(talk.id), wallet.admits(plan.price, limits)
        barred = wallet.ended.get(talk.id, 'EXPIRED') != 'EXPIRED'
        reply = self.p.authorize(self.companies[i], talk.id, plan.price, wallet.terms, limits, plan.starts == 'with')
        allowed = reply.outcome == 'DONE' and reply.decision == 'ALLOWED' and reply.state != 'NONE'
        self.note(i, 'Authorize', talk.id, reply.decision, 'available', reply.available)
        self.check(allowed == bool(live or not barred and (admits or wallet.terms.shadow)), reply)
        if allowed and not reply.replayed:
            call = wallet.calls[talk.id] = Call(plan.price, limits, self.now)
            talk.is_let_in |= not admits
            if plan.starts == 'with':
                wallet.meter(call, self.now)
        if not is_repeat and not allowed:
            talk.refused = True
        elif not is_repeat:
            talk.max_ms = reply.max_ms
            self.at(self.now + plan.ring_ms, self.cancel if plan.starts == 'cancel' else self.begin, talk)
        self.close(i)
        self.again(talk, 'authorize', self.authorize, is_repeat)

    def may_ask_again(self, talk):
        call = self.wallets[talk.company].calls.get(talk.id)
        return talk.begun_at is None or call and self.now < call.lease_end() or self.schedule.decides_anew

    def cancel(self, talk, is_repeat=False):
        wallet = self.open(talk.company)
        reply = self.p.cancel(self.companies[talk.company], talk.id)
        self.note(talk.company, 'Cancel', talk.id, reply.outcome)
        if talk.id in wallet.calls:
            wallet.end(talk.id, 'CANCELLED')
        elif wallet.ended[talk.id] == 'EXPIRED':
            wallet.ended[talk.id] = 'CANCELLED'
        self.close(talk.company)
        self.again(talk, 'cancel', self.cancel, is_repeat)

    def start(self, talk, is_repeat=False):
        plan, i = talk.plan, talk.company
        wallet = self.open(i)
        call, limits = wallet.calls.get(talk.id), self.schedule.limits_of(plan)
        state = call.state if call else wallet.ended[talk.id]
        expired = call is None and state == 'EXPIRED'
        admits = expired and (wallet.admits(plan.price, limits) or wallet.terms.shadow)
        says = self.now if plan.starts == 'now' else talk.begun_at + plan.says_later_ms
        reply = self.p.start(self.companies[i], talk.id, 0 if plan.starts == 'now' else BEGIN + says)
        self.note(i, 'Start', talk.id, 'talk since', talk.begun_at, reply.outcome, reply.get('decision'))
        begins = reply.outcome == 'DONE' and reply.decision == 'ALLOWED' and not reply.replayed
        self.check(begins == (state == 'AUTHORIZED' or admits), reply)
        if begins:
            talk.is_let_in |= reply.shadow not in ('NONE', 'ALLOWED')
            call = call or replace(wallet.ended_calls[talk.id])
            wallet.calls[talk.id] = call
            wallet.meter(call, max(call.authorized_at, min(says, self.now)))
        elif expired and not is_repeat:
            self.hang_up(talk)
        self.close(i)
        self.again(talk, 'start', self.start, is_repeat)

    def hang_up(self, talk):
        """Its Start was refused: nothing is charged for it."""
        talk.refused = True
        if talk.ended_at is None:
            self.end(talk, talk.end_version)

    def stop(self, talk, is_repeat=False):
        wallet = self.open(talk.company)
        at = talk.ended_at if talk.plan.stop_says_when else self.now
        reply = self.p.stop(self.companies[talk.company], talk.id, BEGIN + at if talk.plan.stop_says_when else 0)
        self.note(talk.company, 'Stop', talk.id, reply.outcome)
        call = wallet.calls.get(talk.id)
        if call and call.state == 'METERING':
            self.check(reply.outcome == 'DONE' and not reply.replayed, reply)
            call.state, call.stopped_at = 'STOPPED', max(at, call.started_at)
        elif talk.plan.settle_after_ms < 0 and talk.plan.stop_says_when and not is_repeat:
            self.at(self.now + 1000, self.settle, talk)
        self.close(talk.company)
        self.again(talk, 'stop', self.stop, is_repeat)

    def charged_ms(self, talk, call, wallet):
        """Its talk, or None: as metered, where that is not more."""
        talked = talk.ended_at - talk.begun_at + talk.plan.overcharge_ms
        if talk.refused:
            return 0
        if call is None:
            return talked if wallet.ended[talk.id] != 'EXPIRED' or self.schedule.settles_late else 0
        if not talk.plan.as_metered or call.state == 'AUTHORIZED':
            return talked
        end = call.stopped_at if call.state == 'STOPPED' else talk.ended_at
        return None if max(end, call.started_at) - call.started_at <= talked else talked

    def post(self, call_id, call, duration):
        talk = self.talks[call_id]
        cost = cost_of(call.price, duration)
        self.wallets[talk.company].posted -= cost
        self.let_through[talk.company] += self.let_through_by(talk, call, duration, cost)

    def let_through_by(self, talk, call, duration, cost):
        """How much of this call's cost its own dropped premises are to blame for."""
        if talk.plan.starts == 'adopt' or talk.is_let_in or talk.id in self.wallets[talk.company].ended:
            return cost
        reserve, begun_at = self.schedule.limits.reserve_ms, talk.begun_at
        beyond = max(0, talk.ended_at - talk.cut_by) if talk.cut_by is not None else 0
        beyond = min(duration, beyond + talk.plan.overcharge_ms)
        if call.state == 'AUTHORIZED':
            unseen = [duration - beyond - reserve]
        else:
            unseen = [call.reached_at - call.started_at - reserve, call.started_at - begun_at]
        return cost - cost_of(call.price, duration - beyond) + sum(
            ceil_div(call.price.rate * max(0, ms), 60_000) for ms in unseen)

    def settle(self, talk, is_repeat=False):
        i = talk.company
        wallet = self.open(i)
        call = wallet.calls.get(talk.id)
        duration = self.charged_ms(talk, call, wallet)
        reply = self.p.settle(self.companies[i], talk.id, duration, ended_at=BEGIN + talk.ended_at, asked=True)
        self.note(i, 'Settle', talk.id, 'of', duration, reply.outcome, 'cost', reply.get('cost'), 'posted',
                  reply.get('balance'))
        if call or wallet.ended[talk.id] in ('EXPIRED', 'CANCELLED'):
            self.check(reply.outcome == 'DONE' and not reply.replayed, reply)
            known = call or wallet.ended_calls[talk.id]
            if duration is None:
                end = call.stopped_at if call.state == 'STOPPED' else talk.ended_at
                duration = max(0, end - call.started_at)
            self.post(talk.id, known, duration)
            if call:
                wallet.end(talk.id, 'SETTLED')
            wallet.ended[talk.id] = 'SETTLED'
        self.close(i)
        self.again(talk, 'settle', self.settle, is_repeat)

    def adopt(self, talk):
        plan, i = talk.plan, talk.company
        wallet, limits = self.open(i), self.schedule.limits_of(plan)
        began = self.now - min(plan.start_after_ms, plan.longest_ms)
        reply = self.p.adopt(self.companies[i], talk.id, plan.price, BEGIN + began, wallet.terms, limits, asked=True)
        self.note(i, 'Adopt', talk.id, 'talk since', began, reply.outcome)
        self.check(reply.outcome == 'DONE', reply)
        call = wallet.calls[talk.id] = Call(plan.price, limits, self.now)
        wallet.meter(call, began)
        self.begin(talk)
        talk.begun_at = began
        self.close(i)

    def change(self, change, reference):
        i, amount, kind = change.company, change.amount, change.kind
        wallet, company = self.open(i), self.companies[change.company]
        self.note(i, kind, amount)
        if kind in ('raise', 'lower', 'notice'):
            self.change_terms(wallet, company, kind, amount)
        elif kind == 'stray':
            price = self.schedule.calls[0].price
            self.p.settle(company, reference, amount, resource='voice_outbound', price=price, asked=True)
            wallet.posted -= cost_of(price, amount)
            self.let_through[i] += cost_of(price, amount)
        elif kind == 'charge':
            self.p.charge(company, amount, reference)
            wallet.posted -= amount
            self.let_through[i] += amount
        else:
            type, sign = {'top_up': (TOP_UP, 1), 'refund': (REFUND, -1), 'adjustment': (ADJUSTMENT, -1)}[kind]
            self.p.credit(company, sign * amount, reference, type)
            wallet.posted += sign * amount
            self.let_through[i] += max(0, -sign * amount)
        self.close(i)
        if kind == 'top_up':
            wallet.rearm()
        if kind in ('top_up', 'raise'):
            self.lift(i)

    def change_terms(self, wallet, company, kind, amount):
        terms, old = wallet.terms, wallet.terms.credit
        if kind == 'lower':
            self.let_through[self.wallets.index(wallet)] += min(old, amount)
        wallet.terms = replace(terms, version=terms.version + 1, **{
            'raise': dict(credit=old + amount), 'lower': dict(credit=max(0, old - amount)),
            'notice': dict(warning_ms=amount % 60_000)}[kind])
        if kind == 'raise' and not terms.unlimited:
            wallet.rearm()
        wallet.note()
        self.possible.append(wallet.exhausted)
        self.p.load(company, 0, 0, wallet.terms)
