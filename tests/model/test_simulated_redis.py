"""The simulation's Redis against a real one: the same commands, the same replies.

tests/sim runs the function library on a store of its own making.  What it finds is worth no more than
that store is like Redis: so a library of one function is loaded into both, which runs whatever commands
it is told and says what each of them answered, and seeded sequences of commands are told to both.

SPDX-License-Identifier: Apache-2.0
"""

import os
import pathlib
import random
import re
import struct
import subprocess

import pytest
from support.wire import library_source

BUILD = pathlib.Path(os.environ.get('CALLGATE_TEST_BUILD', 'build/dev-werror'))

# Replies as text in which every type of Lua's can be told from the others.  Of an error only its first
# word: what it says to people is nobody's condition.
PROBE = r'''#!lua name=probe
local function shown(value)
	if type(value) == 'table' then
		if value.err then
			return '!' .. string.match(value.err, '%S+')
		elseif value.ok then
			return '+' .. value.ok
		end
		local parts = {}
		for i, part in ipairs(value) do
			parts[i] = shown(part)
		end
		return '[' .. table.concat(parts, ',') .. ']'
	elseif type(value) == 'number' then
		return string.format('%.17g', value)
	elseif type(value) == 'string' then
		return '"' .. string.gsub(value, '[^%w%-+:.]', function(c)
			return string.format('\\%03d', string.byte(c))
		end) .. '"'
	end
	return tostring(value)
end

local function thrown(why)
	return shown({ err = type(why) == 'table' and why.err or string.gsub(why, '^%S+:%d+: ', '') })
end

local does = {}

function does.call(words)
	return redis.call(unpack(words))
end

-- A format, and values of which numbers begin with '#'.
function does.pack(words)
	for i = 2, #words do
		if string.sub(words[i], 1, 1) == '#' then
			words[i] = tonumber(string.sub(words[i], 2))
		else
			words[i] = string.sub(words[i], 2)
		end
	end
	return struct.pack(unpack(words))
end

-- A format, bytes, from where.
function does.unpack(words)
	return { struct.unpack(words[1], words[2], tonumber(words[3])) }
end

redis.register_function{ function_name = 'probe', callback = function(_, args)
	local text, at, parts = args[1], 1, {}
	while at <= #text do
		local what, count
		what, count, at = struct.unpack('<Bc0B', text, at)
		local words = {}
		for i = 1, count do
			words[i], at = struct.unpack('<I4c0', text, at)
		end
		local done, value = pcall(does[what], words)
		parts[#parts + 1] = done and shown(value) or thrown(value)
	end
	return table.concat(parts, '\n')
end }
'''


def encoded(steps):
    out = b''
    for what, *words in steps:
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        out += bytes([len(what)]) + what.encode() + bytes([len(words)])
        out += b''.join(struct.pack('<I', len(word)) + word for word in words)
    return out


@pytest.fixture
def both(redis, tmp_path):
    """told(steps) -> what the real one answers and what the simulated one answers, a text a step."""
    redis.execute_command('FUNCTION', 'LOAD', PROBE)
    path = tmp_path / 'probe.lua'
    path.write_text(PROBE)
    simulated = subprocess.Popen([BUILD / 'bin/simulated_redis', path], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)

    def told(steps):
        argument = encoded(steps)
        real = redis.execute_command('FCALL', 'probe', 1, '{p}', argument)
        simulated.stdin.write(argument.hex() + '\n')
        simulated.stdin.flush()
        framed = bytes.fromhex(simulated.stdout.readline().strip())
        assert framed[:1] == b'$', framed
        reply = framed.split(b'\r\n', 1)[1][:-2]
        as_text = real if isinstance(real, bytes) else real.encode()
        return as_text.decode().split('\n'), reply.decode().split('\n')

    yield told
    simulated.stdin.close()
    assert simulated.wait(timeout=10) == 0


def compare(both, steps):
    real, simulated = both(steps)
    assert len(real) == len(steps) == len(simulated)
    differences = [f'{step}: {a} is {b} in the simulation' for step, a, b in zip(steps, real, simulated)
                   if comparable(step, a) != comparable(step, b)]
    assert not differences, '\n'.join(differences[:10])
    return real


HASHES = ['{p}:h1', '{p}:h2']
SETS = ['{p}:z1', '{p}:z2']
STREAMS = ['{p}:s1', '{p}:s2']
KEYS = HASHES + SETS + STREAMS
NAMES = [b'', b'a', b'b', b'\0\xff', b'in_force', b'0123456789abcdef']


def some_bytes(rng):
    return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 20, 63, 64, 200])))


def one_of(rng, keys):
    """Mostly a key of that kind; sometimes one of another, or none."""
    return rng.choice(keys) if rng.random() < 0.93 else rng.choice(KEYS + ['{p}:none'])


def some_id(rng):
    return f'{rng.randrange(1, 6)}-{rng.choice([0, 0, 1, 2, 3, 7, 50])}'


def hash_step(rng):
    key, name = one_of(rng, HASHES), rng.choice(NAMES)
    return rng.choice([
        ('HGET', key, name),
        ('HMGET', key, name, rng.choice(NAMES)),
        ('HMGET', key, name, rng.choice(NAMES), rng.choice(NAMES)),
        ('HSET', key, name, some_bytes(rng)),
        ('HSET', key, name, some_bytes(rng)),
        ('HSET', key, name, some_bytes(rng), rng.choice(NAMES), some_bytes(rng)),
        ('HSET', key, name),
        ('HDEL', key, name),
        ('HLEN', key),
        ('HGETALL', key),
        ('HSCAN', key, '0', 'COUNT', 128),
    ])


def set_step(rng):
    key, name = one_of(rng, SETS), rng.choice(NAMES)
    score = rng.choice(['+inf', '0', '5', '1700000000000', '1700000000001', str(rng.randrange(2 ** 53))])
    return rng.choice([
        ('ZADD', key, score, name),
        ('ZADD', key, score, name),
        ('ZADD', key, 'x', name),
        ('ZREM', key, name),
        ('ZSCORE', key, name),
        ('ZRANGE', key, 0, -1),
        ('ZRANGE', key, 0, 0, 'WITHSCORES'),
        ('ZRANGE', key, 0, 3, 'WITHSCORES'),
    ])


def stream_step(rng):
    key = one_of(rng, STREAMS)
    step = rng.choice([1, 2, 100])
    first = rng.choice(['-', some_id(rng), '(' + some_id(rng)])
    last = rng.choice(['+', some_id(rng)])
    return rng.choice([
        ('XADD', key, f'{rng.randrange(1, 6)}-*', 'e', some_bytes(rng)),
        ('XADD', key, f'{rng.randrange(1, 6)}-*', 'e', some_bytes(rng)),
        ('XADD', key, '3-*', 'e', some_bytes(rng)),
        ('XADD', key, 'x-*', 'e', b''),
        ('XLEN', key),
        ('XRANGE', key, first, last, 'COUNT', step),
        ('XRANGE', key, first, last, 'COUNT', step),
        ('XTRIM', key, 'MINID', '=', some_id(rng)),
        ('XSETID', key, f'{rng.randrange(1, 6)}-0'),
        ('XGROUP', 'CREATE', key, 'made', '$', 'MKSTREAM'),
        ('XGROUP', 'DESTROY', key, 'made'),
        ('XINFO', 'STREAM', key),
    ])


def any_step(rng):
    return rng.choice([
        ('EXISTS', rng.choice(KEYS)),
        ('DEL', rng.choice(KEYS)),
        ('UNLINK', rng.choice(KEYS), rng.choice(KEYS), rng.choice(KEYS)),
    ])


def commands(rng, count):
    kinds = [hash_step, set_step, stream_step, stream_step]
    return [('call', *(any_step(rng) if rng.random() < 0.04 else rng.choice(kinds)(rng)))
            for _ in range(count)]


def comparable(step, answer):
    """Without what Redis leaves open: the order of a hash's fields, and what else its version tells of a
    stream, of which the library reads the last id alone."""
    if step[1] == 'XINFO' and answer.startswith('['):
        return re.search(r'"last-generated-id","[^"]*"', answer)[0]
    if step[1] in ('HGETALL', 'HSCAN') and answer.startswith('['):
        texts = re.findall(r'"[^"]*"', answer)
        head, fields = (texts[:1], texts[1:]) if step[1] == 'HSCAN' else ([], texts)
        return head, sorted(zip(fields[::2], fields[1::2]))
    return answer


@pytest.mark.parametrize('seed', range(10))
def test_commands_answer_as_redis_does(both, seed):
    rng = random.Random(seed)
    for _ in range(20):
        compare(both, commands(rng, 60))


def test_every_command_of_the_library_is_compared():
    called = set(re.findall(r"\bcall\('([A-Z]+)'", library_source()))
    rng = random.Random(1)
    compared = {step[1] for step in commands(rng, 5000)}
    # Two answers are this very server's: its clock and its identity.
    assert called - {'TIME', 'INFO'} <= compared
    assert compared <= called | {'XREVRANGE'}


def test_clock_and_identity_have_the_same_form(both):
    real, simulated = both([('call', 'TIME'), ('call', 'INFO', 'server'), ('call', 'INFO', 'replication')])
    for answers in real, simulated:
        assert re.fullmatch(r'\["\d{10}","\d{1,6}"\]', answers[0])
        assert re.search(r'run\\095id:[0-9a-f]{40}\\013', answers[1])
        assert re.search(r'master\\095replid:[0-9a-f]{40}\\013', answers[2])


def formats_of_the_library():
    text = library_source()
    pieces = {name: layout for name, layout in re.findall(r"([A-Z_]+) = '([<BHIicd0-9]+)'", text)}
    found = set(re.findall(r"pack\('(<[BHIicd0-9]+)'", text)) | {p for p in pieces.values() if p.startswith('<')}
    assert len(found) > 40
    return sorted(found)


def options(layout):
    return re.findall(r'[BHd]|[Iic]\d*', layout)


def some_number(rng, option):
    if option == 'd':
        return repr(rng.choice([0.0, -1.0, 1.5, 2.0 ** 53, -2.0 ** 52, float(rng.randrange(2 ** 53))]))
    size = {'B': 1, 'H': 2}.get(option) or int(option[1:] or 4)
    most = min(2 ** (8 * size), 2 ** 53)
    value = rng.choice([0, 1, most - 1, most // 2, rng.randrange(most)])
    return str(-value if option[0] == 'i' and rng.random() < 0.5 else value)


def values_of(rng, layout):
    """Words for does.pack(): where c0 follows a number, that number is its length."""
    words, wanted = [], options(layout)
    for i, option in enumerate(wanted):
        if option == 'c0':
            text = some_bytes(rng)[:200]
            words[-1] = f'#{len(text)}'.encode()
            words.append(b'=' + text)
        elif option[0] == 'c':
            words.append(b'=' + bytes(rng.randrange(256) for _ in range(int(option[1:]))))
        else:
            words.append(b'#' + some_number(rng, option).encode())
    return words


def unquoted(shown):
    return re.sub(rb'\\(\d{3})', lambda m: bytes([int(m[1])]), shown.encode()[1:-1])


@pytest.mark.parametrize('layout', formats_of_the_library())
def test_packing_is_as_redis_has_it(both, layout):
    rng = random.Random(layout)
    for _ in range(8):
        packed = compare(both, [('pack', layout, *values_of(rng, layout))])[0]
        data = unquoted(packed)
        compare(both, [('unpack', layout, data, 1)])
        cut = data[:rng.randrange(len(data) + 1)]
        compare(both, [('unpack', layout, cut, 1), ('unpack', layout, b'?' + data, 2),
                       ('pack', layout, *values_of(rng, layout)[:-1])])
