# The function library's arguments and replies in Python: the mirror of src/store/wire.h,
# written from the layouts in src/store/callgate/ and not from the C code, so that the two check each other.
#
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import pathlib
import re
import struct
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / 'src/store/callgate').glob('*.lua'))
VERSION = int(re.search(r'set\(CG_LIBRARY_VERSION (\d+)\)', (ROOT / 'CMakeLists.txt').read_text())[1])

OUTCOMES = ['DONE', 'ABSENT', 'ASK', 'UNKNOWN_CALL', 'WRONG_STATE', 'KEY_REUSED', 'NO_PRICE',
            'OUT_OF_RANGE', 'OUTBOX_FULL', 'TOO_LATE']
STATES = ['NONE', 'AUTHORIZED', 'METERING', 'SETTLED', 'CANCELLED', 'EXPIRED', 'ABANDONED', 'STOPPED']
DECISIONS = ['NONE', 'ALLOWED', 'INSUFFICIENT_FUNDS', 'CONCURRENCY_LIMIT', 'SUSPENDED', 'NO_PRICE',
             'BARRED']
CONDITIONS = ['HEALTHY', 'NO_HEAD', 'HALF_DONE', 'OTHER_HISTORY', 'OTHER_DEPLOYMENT']
TOP_UP, MONTHLY_GRANT, BONUS, REFUND, ADJUSTMENT, USAGE = 1, 2, 3, 4, 5, 6
REPORTED, POLLED, METERED, ASSUMED = 1, 2, 3, 4
EVENTS = {1: 'CALL_AUTHORIZED', 2: 'CALL_STARTED', 4: 'CALL_CANCELLED', 5: 'CALL_EXPIRED', 7: 'CUT_OFF',
          8: 'BALANCE_LOW', 10: 'CUT_WARNING', 12: 'CALL_DENIED', 13: 'CALL_ADOPTED',
          15: 'WALLET_UPDATED', 16: 'CALL_STOPPED', 17: 'CALL_OVERDUE'}
ANNOUNCES, IS_ASSUMED = 8, 16

CLOCK = '''local test_clock
redis.register_function{ function_name = 'cgtest_clock', flags = { 'no-writes' },
	callback = function(_, args)
		test_clock = tonumber(args[1])
		return 1
	end }
local function now_ms()
	return test_clock
end
'''


def library_source(version=VERSION):
    """The library as the build joins it (cmake/library.cmake)."""
    return ''.join(part.read_text() for part in LIBRARY).replace('@LIBRARY_VERSION@', str(version))


def library_text(controlled_clock=False, mutate=lambda text: text, version=VERSION):
    """The library; with a clock that a test sets through the function cgtest_clock, which only
    one library of a server can have."""
    text = mutate(library_source(version))
    if controlled_clock:
        text, count = re.subn(r'local function now_ms\(\)\n.*?\nend\n', lambda _: CLOCK, text,
                              flags=re.S)
        assert count == 1
    return text


@dataclass(frozen=True)
class Terms:
    version: int = 1
    credit: int = 0
    unlimited: bool = False
    suspended: bool = False
    frozen: bool = False
    shadow: bool = False
    calls_max: int = 10
    low_balance: int = 0
    low_ms: int = 0
    warning_ms: int = 30000
    repeat_ms: int = 5000
    has_low: bool = False
    currency: bytes = b'usd'

    def pack(self):
        flags = self.unlimited | self.suspended << 1 | self.frozen << 2 | self.shadow << 3 \
            | self.has_low << 4
        return struct.pack('<QqBIqIII3s', self.version, self.credit, flags, self.calls_max, self.low_balance,
                           self.low_ms, self.warning_ms, self.repeat_ms, self.currency)


@dataclass(frozen=True)
class Price:
    rate: int
    fee: int = 0
    minimum: int = 0
    increment: int = 1000

    def pack(self):
        return struct.pack('<qqII', self.rate, self.fee, self.minimum, self.increment)


@dataclass(frozen=True)
class Limits:
    reserve_ms: int = 60000
    longest_ms: int = 3600000
    lease_ms: int = 120000
    guard_ms: int = 5000

    def pack(self):
        return struct.pack('<IIII', self.reserve_ms, self.longest_ms, self.lease_ms, self.guard_ms)


NO_PRICE = Price(0, 0, 0, 0)


@dataclass(frozen=True)
class Lost:
    """An entry as the ledger has it, for repair()."""
    type: int
    reference: str
    epoch: int
    n: int
    amount: int
    is_charge: bool = False
    late: bool = False
    correction: int | None = None  # its amount; then the id, duration, billed_ms and basis are its own
    quantity: int = 0
    price: Price = NO_PRICE
    duration_ms: int = 0
    billed_ms: int = 0
    basis: int = 0
    authorized_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    resource: str = ''
    destination: str = ''
    meta: bytes = b''

    def pack(self):
        flags = self.is_charge | self.late << 1 | (self.correction is not None) << 2
        return (struct.pack('<BBQQqqq', self.type, flags, self.epoch, self.n, self.amount, self.correction or 0,
                            self.quantity)
                + self.price.pack() + struct.pack('<IIB', self.duration_ms, self.billed_ms, self.basis)
                + b''.join(at.to_bytes(6, 'little') for at in (self.authorized_at, self.started_at, self.ended_at))
                + text(self.reference) + text(self.resource) + text(self.destination) + text(self.meta, 2))

UNKNOWN_TERMS = Terms(version=0)


def text(value, width=1):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack('<B' if width == 1 else '<H', len(value)) + value


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, *widths):
        """Little-endian numbers: a width in bytes each, negative for signed ones."""
        values = []
        for width in widths:
            size = abs(width)
            assert self.at + size <= len(self.data)
            values.append(int.from_bytes(self.data[self.at:self.at + size], 'little', signed=width < 0))
            self.at += size
        return values if len(values) > 1 else values[0]

    def bytes(self, size):
        assert self.at + size <= len(self.data)
        self.at += size
        return self.data[self.at - size:self.at]

    def text(self, width=1):
        return self.bytes(self.take(width))

    def price(self):
        return Price(*self.take(-8, -8, 4, 4))

    def end(self):
        assert self.at == len(self.data), 'bytes left over'


class Refused(Exception):
    """The function refused the epoch."""


class Failed(Exception):
    """One of many operations: what its function says of itself."""


class Reply(dict):
    __getattr__ = dict.__getitem__


# The verbs of gate/ports/store.h that may share a call.
MANY = {'begin_many': {'authorize': 0, 'start': 1, 'adopt': 5},
        'finish_many': {'stop': 2, 'settle': 3, 'cancel': 4}}


class Canned:
    """Takes the place of a connection: keeps what is sent, and says what it was told to say."""

    def __init__(self, reply=b'\xfe'):
        self.reply = reply

    def execute_command(self, _fcall, name, count, *rest):
        self.name, self.keys, self.argument = name.split('_', 1)[1], rest[:count], rest[count]
        if self.reply[:1] == b'\xfd':
            raise Failed(self.reply[1:].decode())
        return self.reply


@dataclass
class Partition:
    """One partition of one server; `call` of every operation, epoch included."""
    redis: object
    number: int = 0
    epoch: int = 1
    deployment: bytes = b'D' * 16
    count: int = 16
    outbox_max: int = 0
    announces: bool = False  # also write the events of a call's life
    version: int = VERSION  # of the library

    def key(self, name):
        return b'cg:{p%d}:' % self.number + name

    def wallet_key(self, company):
        return self.key(b'w:' + company)

    def fcall(self, name, keys, argument):
        data = self.redis.execute_command('FCALL', f'cg{self.version}_{name}', len(keys), *keys, argument)
        if data == b'\xfe':
            raise Refused
        return data

    def wallet_keys(self, company, count=7):
        return [self.key(b'head'), self.wallet_key(company), self.key(b'due'), self.key(b'ended:0'),
                self.key(b'ended:1'), self.key(b'ledger'), self.key(b'events')][:count]

    def partition_keys(self):
        return [self.key(name) for name in (b'head', b'ledger', b'events', b'due', b'ended:0', b'ended:1')]

    def operate(self, name, company, argument, count=7):
        data = self.fcall(name, self.wallet_keys(company, count), struct.pack('<Q', self.epoch) + argument)
        reader = Reader(data)
        outcome, state, at = reader.take(1, 1, 8)
        reply = Reply(outcome=OUTCOMES[outcome], state=STATES[state], at=at, currency=reader.bytes(3))
        if outcome == 0 or (name == 'settle' and outcome == 5):
            getattr(self, 'read_' + name)(reader, reply)
        reader.end()
        return reply

    def many(self, name, operations):
        """Functions of a partition, each one operation, in one call: what each would have given."""
        sent, wallets = [], []
        for operation in operations:
            canned = Canned()
            try:
                operation(dataclasses.replace(self, redis=canned))
            except Refused:
                sent.append(canned)
            if canned.keys[1] not in wallets:
                wallets.append(canned.keys[1])
        places = bytes(n for one in sent for n in (MANY[name][one.name], wallets.index(one.keys[1])))
        data = self.fcall_many(name, [*self.wallet_keys(b'')[:1], *self.wallet_keys(b'')[2:], *wallets],
                               places, *(one.argument for one in sent))
        reader, answers = Reader(data), []
        for operation in operations:
            try:
                answers.append(operation(dataclasses.replace(self, redis=Canned(reader.text(2)))))
            except (Refused, Failed) as failure:
                answers.append(failure)
        reader.end()
        return answers

    def fcall_many(self, name, keys, *arguments):
        return self.redis.execute_command('FCALL', f'cg{self.version}_{name}', len(keys), *keys, *arguments)

    # Wallets.
    def authorize(self, company, call_id, price, terms=Terms(), limits=Limits(), start=False,
                  validate_only=False, resource='voice_outbound', destination='+4912345', meta=b'',
                  not_after=0):
        flags = start | validate_only << 1 | (price is not None) << 2 | self.announces * ANNOUNCES
        return self.operate('authorize', company, struct.pack('<qQB', not_after, self.outbox_max, flags)
                            + terms.pack() + (price or NO_PRICE).pack() + limits.pack() + text(call_id)
                            + text(resource) + text(destination) + text(meta, 2))

    def read_authorize(self, r, reply):
        decision, shadow, flags = r.take(1, 1, 1)
        reply.update(decision=DECISIONS[decision], shadow=DECISIONS[shadow],
                     price=r.price(), replayed=bool(flags & 2))
        if not flags & 1:
            reply['price'] = None
        reply['held'], reply['available'], reply['required'], reply['max_ms'], reply['expires_at'] = \
            r.take(-8, -8, -8, 4, 6)

    def start(self, company, call_id, started_at=0, terms=UNKNOWN_TERMS, not_after=0):
        return self.operate('start', company, struct.pack('<qB', not_after, self.announces * ANNOUNCES)
                            + terms.pack() + struct.pack('<q', started_at) + text(call_id))

    def read_start(self, r, reply):
        decision, shadow, reply['started_at'], reply['max_ms'], reply['available'], replayed = \
            r.take(1, 1, 6, 4, -8, 1)
        reply.update(decision=DECISIONS[decision], shadow=DECISIONS[shadow], replayed=bool(replayed))

    def stop(self, company, call_id, ended_at=0, terms=UNKNOWN_TERMS):
        return self.operate('stop', company, struct.pack('<B', self.announces * ANNOUNCES) + terms.pack()
                            + struct.pack('<q', ended_at) + text(call_id))

    def read_stop(self, r, reply):
        reply['metered_ms'], reply['accrued'], reply['available'], replayed = r.take(6, -8, -8, 1)
        reply['replayed'] = bool(replayed)

    def settle(self, company, call_id, duration_ms=None, started_at=0, ended_at=0, basis=REPORTED,
               resource='', destination='', price=None, meta=b'', asked=False, terms=UNKNOWN_TERMS,
               assumed=None):
        flags = (duration_ms is None) | asked << 1 | (price is not None) << 2 | (assumed is not None) * IS_ASSUMED
        return self.operate('settle', company, struct.pack('<B', flags) + terms.pack()
                            + struct.pack('<qqqB', duration_ms or 0, started_at, ended_at, basis)
                            + (price or NO_PRICE).pack() + struct.pack('<qI', *(assumed or (0, 0)))
                            + text(call_id) + text(resource) + text(destination) + text(meta, 2))

    def read_settle(self, r, reply):
        reply['cost'], reply['billed_ms'], reply['balance'], reply['available'], flags = \
            r.take(-8, 4, -8, -8, 1)
        reply['duration_ms'], reply['basis'] = r.take(4, 1)
        reply.update(price=r.price(), replayed=bool(flags & 2), late=bool(flags & 4),
                     is_correction=bool(flags & 8))
        reply['corrected'], epoch, n = r.take(-8, 8, 8)
        reply['entry'] = (epoch, n)

    def cancel(self, company, call_id, terms=UNKNOWN_TERMS):
        return self.operate('cancel', company, struct.pack('<B', self.announces * ANNOUNCES) + terms.pack()
                            + text(call_id))

    def read_cancel(self, r, reply):
        reply['released'], reply['available'], replayed = r.take(-8, -8, 1)
        reply['replayed'] = bool(replayed)

    def adopt(self, company, call_id, price, started_at, terms=UNKNOWN_TERMS, limits=Limits(),
              resource='voice_outbound', destination='+4912345', meta=b'', asked=False):
        flags = asked << 1 | (price is not None) << 2
        return self.operate('adopt', company, struct.pack('<QB', self.outbox_max, flags) + terms.pack()
                            + (price or NO_PRICE).pack() + limits.pack() + struct.pack('<q', started_at)
                            + text(call_id) + text(resource) + text(destination) + text(meta, 2))

    def read_adopt(self, r, reply):
        reply['price'] = r.price()
        reply['max_ms'], reply['held'], reply['available'], replayed = r.take(4, -8, -8, 1)
        reply['replayed'] = bool(replayed)

    def credit(self, company, amount, reference, type=TOP_UP, description='', asked=True,
               terms=UNKNOWN_TERMS):
        return self.operate('credit', company, struct.pack('<B', asked) + terms.pack()
                            + struct.pack('<Bq', type, amount) + text(reference) + text(description, 2))

    def charge(self, company, amount, reference, quantity=1, resource='phone_number_rental',
               description='', meta=b'', asked=True, terms=UNKNOWN_TERMS):
        return self.operate('charge', company, struct.pack('<B', asked) + terms.pack()
                            + struct.pack('<qq', amount, quantity) + text(reference) + text(resource)
                            + text(description, 2) + text(meta, 2))

    def read_credit(self, r, reply):
        reply['balance'], reply['available'], replayed, epoch, n = r.take(-8, -8, 1, 8, 8)
        reply.update(replayed=bool(replayed), entry=(epoch, n))

    read_charge = read_credit

    def load(self, company, posted=0, version=0, terms=Terms(), announces=False):
        return self.operate('load', company, terms.pack() + struct.pack('<qQB', posted, version,
                                                                        announces * ANNOUNCES))

    def read_load(self, r, reply):
        pass

    def balance(self, company, terms=UNKNOWN_TERMS):
        return self.operate('balance', company, terms.pack(), 2)

    def read_balance(self, r, reply):
        names = ['posted', 'held', 'accrued', 'credit', 'available', 'burn', 'calls', 'exhausts_at',
                 'flags', 'version']
        reply.update(zip(names, r.take(-8, -8, -8, -8, -8, -8, 4, 8, 1, 8)))

    def get_call(self, company, call_id, asked=False):
        return self.operate('get_call', company, struct.pack('<B', asked) + text(call_id), 5)

    def read_get_call(self, r, reply):
        reply['call'] = self.read_call(r)

    @staticmethod
    def read_call(r):
        call = Reply(state=STATES[r.take(1)], price=r.price())
        names = ['held', 'accrued', 'authorized_at', 'started_at', 'expires_at', 'shadow', 'ended_at',
                 'cost', 'billed_ms', 'duration_ms', 'basis', 'late', 'epoch', 'n']
        call.update(zip(names, r.take(-8, -8, 6, 6, 6, 1, 6, -8, 4, 4, 1, 1, 8, 8)))
        call.update(id=r.text().decode(), resource=r.text().decode(), destination=r.text().decode(),
                    meta=r.text(2), shadow=DECISIONS[call.shadow])
        return call

    def calls(self, company, after_at=0, after_id='', most=1000):
        return self.operate('calls', company, struct.pack('<qI', after_at, most) + text(after_id), 2)

    def read_calls(self, r, reply):
        count, more = r.take(4, 1)
        reply.update(calls=[self.read_call(r) for _ in range(count)], more=bool(more))

    def live_wallets(self):
        data = self.fcall('live_wallets', [self.key(b'head'), self.key(b'due')], struct.pack('<Q', self.epoch))
        return {data[i:i + 16] for i in range(13, len(data), 16)}

    # The partition.
    def hello(self, deployment=None, count=None):
        reader = Reader(self.fcall('hello', [self.key(b'head')], struct.pack(
            '<16sI', self.deployment if deployment is None else deployment, count or self.count)))
        done, condition, epoch, trimmed_epoch, trimmed_n, now = reader.take(1, 1, 8, 8, 8, -8)
        reader.end()
        return Reply(condition=CONDITIONS[condition], epoch=epoch, trimmed=(trimmed_epoch, trimmed_n), now=now)

    def fence(self, epoch, ledger_served=0, ledger_from=0):
        reader = Reader(self.fcall('fence', self.partition_keys(), struct.pack(
            '<Q16sIQQ', epoch, self.deployment, self.count, ledger_served, ledger_from)))
        _, overtaken, former, served, judged, last_epoch, last_n, trimmed_epoch, trimmed_n = reader.take(
            1, 1, 8, 8, 8, 8, 8, 8, 8)
        reader.end()
        return Reply(overtaken=bool(overtaken), former=former, served=served, judged=judged,
                     last=(last_epoch, last_n), trimmed=(trimmed_epoch, trimmed_n))

    def drop(self, epoch):
        return self.fcall('drop', self.partition_keys(), struct.pack('<Q', epoch)) == b'\0\1'

    def serve(self, epoch):
        """True where it was overtaken."""
        return self.fcall('serve', [self.key(b'head')], struct.pack('<Q', epoch)) == b'\0\1'

    def repair(self, epoch, company, posted, version, lost=()):
        """True where it was overtaken."""
        argument = struct.pack('<QqQI', epoch, posted, version, len(lost)) + b''.join(each.pack() for each in lost)
        return self.fcall('repair', self.wallet_keys(company), argument) == b'\0\1'

    def take_into_use(self, epoch=1):
        assert not self.fence(epoch).overtaken and not self.serve(epoch)
        self.epoch = epoch

    def read(self, after=(0, 0), most=1000, epoch=0):
        reader = Reader(self.fcall('read', [self.key(b'head'), self.key(b'ledger')],
                                   struct.pack('<QQQI', epoch, *after, most)))
        _, count, more, now, *trimmed = reader.take(1, 4, 1, -8, 8, 8)
        entries = []
        for _ in range(count):
            epoch, n, size = reader.take(8, 8, 4)
            entries.append(self.read_entry((epoch, n), Reader(reader.bytes(size))))
        reader.end()
        return Reply(entries=entries, more=bool(more), now=now, trimmed=tuple(trimmed))

    @staticmethod
    def read_entry(entry_id, r):
        assert r.take(1) == 2
        entry = Reply(id=entry_id, company=r.bytes(16))
        names = ['version', 'type', 'amount', 'balance_after', 'at', 'flags', 'quantity']
        entry.update(zip(names, r.take(8, 1, -8, -8, 6, 1, -8)))
        entry.update(price=r.price(), currency=r.bytes(3))
        names = ['duration_ms', 'billed_ms', 'basis', 'authorized_at', 'started_at', 'ended_at']
        entry.update(zip(names, r.take(4, 4, 1, 6, 6, 6)))
        entry.update(zip(['available', 'exhausts_at'], r.take(-8, 6)))
        entry.update(reference=r.text().decode(), description=r.text(2), resource=r.text().decode(),
                     destination=r.text().decode(), meta=r.text(2), shadow=None)
        if entry.flags & 8:
            decision, cut_at, saved = r.take(1, 6, -8)
            entry['shadow'] = (DECISIONS[decision], cut_at, saved)
        r.end()
        return entry

    def tick(self, *companies, keep=10_000):
        keys = [self.key(name) for name in (b'head', b'due', b'ended:0', b'ended:1', b'ledger', b'events')]
        r = Reader(self.fcall('tick', keys + [self.wallet_key(c) for c in companies],
                              struct.pack('<QI', self.epoch, keep)))
        done, _, now, worked = r.take(1, 1, -8, 4)
        event, entry = tuple(r.take(8, 8)), tuple(r.take(8, 8))
        due = [(r.bytes(16), r.take(-8)) for _ in range(r.take(4))]
        r.end()
        return Reply(now=now, worked=worked, event=event, entry=entry, due=due)

    def tick_all(self):
        """As the sidecar does: whatever is due, until nothing is."""
        answer = self.tick()
        while due := [company for company, at in answer.due if at <= answer.now]:
            answer = self.tick(*due)
        return answer

    def events(self, after_event=(0, 0), after_entry=(0, 0), most=1000, from_now=False):
        r = Reader(self.fcall('events', [self.key(b'head'), self.key(b'ledger'), self.key(b'events')],
                              struct.pack('<QBQQQQI', self.epoch, from_now, *after_event, *after_entry, most)))
        outcome, _, now = r.take(1, 1, -8)
        if outcome:
            r.end()
            return Reply(outcome=OUTCOMES[outcome], now=now)
        event, entry = tuple(r.take(8, 8)), tuple(r.take(8, 8))
        more_events, more_entries, event_count, entry_count = r.take(1, 1, 4, 4)
        found, booked = [], []
        for _ in range(event_count):
            *event_id, size = r.take(8, 8, 4)
            found.append(self.read_event(tuple(event_id), Reader(r.bytes(size))))
        for _ in range(entry_count):
            *entry_id, size = r.take(8, 8, 4)
            booked.append(self.read_entry(tuple(entry_id), Reader(r.bytes(size))))
        r.end()
        return Reply(outcome='DONE', now=now, event=event, entry=entry, more=(bool(more_events), bool(more_entries)),
                     events=found, entries=booked)

    @staticmethod
    def read_event(event_id, r):
        assert r.take(1) == 1
        event = Reply(id=event_id, type=EVENTS[r.take(1)], company=r.bytes(16), at=r.take(6),
                      after=tuple(r.take(8, 8)))
        names = ['amount', 'available', 'exhausts_at', 'repeat', 'decision', 'shadow_decision', 'shadow']
        event.update(zip(names, r.take(-8, -8, 6, 4, 1, 1, 1)))
        event.update(decision=DECISIONS[event.decision], shadow_decision=DECISIONS[event.shadow_decision],
                     call_id=r.text().decode(), meta=r.text(2))
        r.end()
        return event

    def trim(self, upto, margin_ms=0, keep_ms=172800000, keep_max=500000, epoch=0, flushed=None):
        """`flushed`: up to where the ledger is; `upto` unless said."""
        reader = Reader(self.fcall('trim', self.partition_keys(), struct.pack(
            '<QQQQQqqQ', epoch, *upto, *(flushed or upto), margin_ms, keep_ms, keep_max)))
        _, removed, length = reader.take(1, 4, 8)
        reader.end()
        return Reply(removed=removed, length=length)


WALLET_FIELDS = ['layout', 'posted', 'held', 'burn', 'accrued', 'rem', 'as_of', 'calls', 'version',
                 'exhausted_at', 'due']
SELDOM_FIELDS = ['generation', 'calls_due', 'cursor', 'cursor_due', 'phase', 'arm', 'low_armed', 'denied_at',
                 'denied_count', 'denied_verdict', 'terms']
SELDOM_SHAPE = '<4dBHB6sIB44s'


def take_record(fields):
    """A wallet's record out of its hash; what is left are its calls."""
    record = Reply(zip(WALLET_FIELDS, struct.unpack('<B10d', fields.pop(b''))))
    record.update(zip(SELDOM_FIELDS, struct.unpack(SELDOM_SHAPE, fields.pop(b'\0'))))
    record['denied_at'] = int.from_bytes(record.denied_at, 'little')
    for name in WALLET_FIELDS[1:] + SELDOM_FIELDS[:4]:
        assert record[name] == int(record[name])
        record[name] = int(record[name])
    return record


def set_clock(redis, at):
    redis.execute_command('FCALL', 'cgtest_clock', 0, at)
