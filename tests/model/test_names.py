# Lua finds out about a name that does not exist only when it gets there; this finds out before.
#
# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from support.wire import library_source

KNOWN = {'redis', 'struct', 'string', 'table', 'math', 'error', 'tonumber', 'tostring', 'type', 'ipairs',
         'pairs', 'pcall'}
KEYWORDS = set('and break do else elseif end false for function if in local nil not or repeat return then '
               'true until while'.split())
TOKEN = re.compile(r"""--[^\n]*|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[A-Za-z_]\w*|\d[\w.]*|\.\.\.|\.\.|[=~<>]=|\S""")


def names_of(tokens, i):
    """The names of a list that begins at i, and where it ends."""
    names = []
    while re.match(r'[A-Za-z_.]', tokens[i]):
        names.append(tokens[i])
        i += 1
        if tokens[i] != ',':
            break
        i += 1
    return names, i


def undeclared(text):
    tokens = [t for t in TOKEN.findall(text) if not t.startswith('--')] + ['', '']
    scopes, braces, missing, i, pending = [set()], 0, set(), 0, []
    while tokens[i]:
        token = tokens[i]
        if token == 'local':
            if tokens[i + 1] == 'function':
                scopes[-1].add(tokens[i + 2])
                i += 1
                continue
            names, i = names_of(tokens, i + 1)
            scopes[-1].update(names)
            continue
        if token == 'function':
            i += 1
            while tokens[i] != '(':
                i += 1
            names, i = names_of(tokens, i + 1)
            scopes.append(set(names))
        elif token == 'for':
            pending, i = names_of(tokens, i + 1)
            continue
        elif token in ('do', 'then', 'repeat'):
            scopes.append(set(pending))
            pending = []
        elif token in ('end', 'until', 'elseif'):
            scopes.pop()
        elif token == 'else':
            scopes[-1] = set()
        elif token in '{}':
            braces += 1 if token == '{' else -1
        elif re.match(r'[A-Za-z_]', token) and token not in KEYWORDS and tokens[i - 1] != '.' \
                and not (braces and tokens[i + 1] == '=') and token not in KNOWN \
                and not any(token in scope for scope in scopes):
            missing.add(token)
        i += 1
    assert len(scopes) == 1
    return missing


def test_library_uses_no_name_that_is_not_there():
    assert undeclared(library_source().split('\n', 1)[1]) == set()


@pytest.mark.parametrize('text,missing', [
    ('local a = b', {'b'}), ('do local a end return a', {'a'}), ('local function f(x) return x.y, f end', set()),
    ('for k, v in pairs(t) do k = v end', {'t'}), ('local t = { x = 1, y = z }', {'z'}),
    ('if a then local b else b = 1 end', {'a', 'b'})])
def test_missing_names_are_found(text, missing):
    assert undeclared(text) == missing
