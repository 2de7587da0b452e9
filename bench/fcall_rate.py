#!/usr/bin/python3
"""How many decisions a second one core of Redis makes: the function alone, pipelined.

The commands are encoded beforehand and written as raw bytes, so that the client is not what is
measured; arguments are as in production (terms, price, limits, a call id of 36 characters, meta of
three keys), every call is another one, over 1000 wallets of one partition.

    fcall_rate.py [calls] [rounds]          prints the medians of the rounds: a second, and what one
                                            costs Redis of CPU, which other work disturbs less

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import random
import socket
import statistics
import sys
import threading
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests'))

from support import wire  # noqa: E402
from support.redis_server import RedisServer  # noqa: E402

WALLETS = 1000
TOGETHER = (4, 16, 64)
PRICE = wire.Price(90_000, 0, 0, 1000)
TERMS = wire.Terms(version=17, credit=5_000_000, calls_max=1_000_000)
META = b''.join(wire.text(k) + wire.text(v, 2) for k, v in [
    ('phone_number', '+4915112345678'), ('assistant', str(uuid.UUID(int=7))), ('city', 'Berlin')])
EMPTY = "#!lua name=empty\nredis.register_function('empty', function() return '' end)"


class Encoder:
    """Takes the place of a connection: keeps what would be sent."""

    def __init__(self):
        self.commands = []

    def execute_command(self, *parts):
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        self.commands.append(b'*%d\r\n' % len(parts)
                             + b''.join(b'$%d\r\n%b\r\n' % (len(part), part) for part in parts))
        return b'\xfe'


def encode(operation, items):
    encoder = Encoder()
    partition = wire.Partition(encoder, 7)
    for item in items:
        try:
            operation(partition, *item)
        except wire.Refused:
            pass
    return encoder.commands


def encode_many(calls, together, offset):
    """The same authorizes, so many to a call, as the sidecar sends those that wait together."""
    encoder = Encoder()
    partition = wire.Partition(encoder, 7)
    for at in range(0, len(calls), together):
        sent, wallets = [], []
        for company, call_id in calls[at:at + together]:
            canned = wire.Canned()
            try:
                wire.Partition(canned, 7).authorize(company, call_id + offset, PRICE, TERMS, meta=META)
            except wire.Refused:
                sent.append(canned)
            if company not in wallets:
                wallets.append(company)
        keys = partition.wallet_keys(b'')
        places = bytes(n for one in sent for n in (0, wallets.index(one.keys[1][-16:])))
        partition.fcall_many('begin_many', [keys[0], *keys[2:], *map(partition.wallet_key, wallets)], places,
                             *(one.argument for one in sent))
    return encoder.commands


def run(path, commands):
    """Seconds until every command has been answered."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    blocks = [b''.join(commands[i:i + 500]) for i in range(0, len(commands), 500)]
    last = b'*2\r\n$4\r\nECHO\r\n$8\r\nthe last\r\n'

    def send():
        for block in blocks:
            connection.sendall(block)
        connection.sendall(last)

    begin = time.perf_counter()
    sender = threading.Thread(target=send)
    sender.start()
    tail = b''
    while not tail.endswith(b'$8\r\nthe last\r\n'):
        received = connection.recv(1 << 20)
        assert received
        tail = (tail + received)[-14:]
    sender.join()
    connection.close()
    return time.perf_counter() - begin


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    random.seed(1)
    companies = [random.randbytes(16) for _ in range(WALLETS)]
    server = RedisServer(appendfsync='no').start()
    server.client.config_set('appendonly', 'no')
    server.client.execute_command('FUNCTION', 'LOAD', wire.library_text())
    server.client.execute_command('FUNCTION', 'LOAD', EMPTY)
    partition = wire.Partition(server.client, 7)
    rates = {}

    def cpu_us():
        return int(pathlib.Path(f'/proc/{server.process.pid}/schedstat').read_text().split()[0]) / 1000

    def measure(name, commands, operations=count):
        before = cpu_us()
        rate = operations / run(server.socket, commands)
        rates.setdefault(name, []).append((rate, (cpu_us() - before) / operations))

    for _ in range(rounds):
        server.client.flushall()
        partition.take_into_use()
        for company in companies:
            partition.load(company, 10**12, 0, TERMS)
        calls = [(companies[i % WALLETS], str(uuid.UUID(int=random.getrandbits(128)))) for i in range(count)]
        memory = server.client.info('memory')['used_memory']
        measure('empty function', [b'*3\r\n$5\r\nFCALL\r\n$5\r\nempty\r\n$1\r\n0\r\n'] * count)
        measure('authorize', encode(lambda p, c, i: p.authorize(c, i, PRICE, TERMS, meta=META), calls))
        per_call = (server.client.info('memory')['used_memory'] - memory) / count
        assert partition.balance(companies[0]).calls == count // WALLETS
        for together in TOGETHER:
            measure(f'authorize, {together} a call', encode_many(calls, together, f'-{together}'))
        measure('balance', encode(lambda p, c, i: p.balance(c), calls))
        measure('start', encode(lambda p, c, i: p.start(c, i, terms=TERMS), calls))
        measure('settle', encode(lambda p, c, i: p.settle(c, i, 61_001, terms=TERMS), calls))
        assert partition.balance(companies[0]).calls == len(TOGETHER) * count // WALLETS
    for name, values in rates.items():
        rate, cpu = (statistics.median(each) for each in zip(*values))
        print(f'{name:16} {rate:10,.0f} per second   {cpu:6.2f} us of CPU')
    print(f'memory           {per_call:10,.0f} bytes per authorized call')
    server.stop()


if __name__ == '__main__':
    main()
