#!/usr/bin/env python3
"""Compares the tokenizers of rwkv.h with others, on text made here: `make oracle`.

    oracle.py BUILD [SEED]

20B against npm's `tokenizers` (the Rust library; any difference is a failure) and
@huggingface/transformers (JavaScript's editions of Unicode and of white space are others: what
these explain is counted apart); World against a greedy search written here. What the tokens decode
to must be the text, in 20B after the Rust library's normal form. BUILD has the program `encode`;
the packages are installed into BUILD/oracle. Special tokens are not in the texts. The last line is
"N passed, M failed".
"""

import ast
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata
from array import array

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [TESTS, os.path.join(os.path.dirname(TESTS), 'tools')]
sys.dont_write_bytecode = True
import convert_pth
import test_convert

# The Rust library of this version has Unicode 9 in its normal form and 16 in its classes.
PACKAGES = ('tokenizers@0.23.2', '@huggingface/transformers@4.3.1')
COUNT = [0, 0]


# -------------------------------------------------------------------------------------------- text

def code_point_texts():
    """Every assigned code point alone, between letters, and after a space and a mark; all others
    in texts of 128."""
    others = []
    for c in (*range(0xD800), *range(0xE000, 0x110000)):
        s = chr(c)
        if unicodedata.category(s) in ('Cn', 'Co'):
            others.append(s)
        else:
            yield from (s, f'a{s}b', f" \u0323{s}'s")
    for i in range(0, len(others), 128):
        yield from (joint.join(others[i:i + 128]) for joint in ('', " 'll "))


def ranges(*bounds):
    return [chr(c) for first, last in bounds for c in range(first, last + 1)]


ASCII = ranges((32, 126))
MARKS = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
PRECOMPOSED = [chr(c) for c in range(0x110000) if unicodedata.decomposition(chr(c))[:1] not in '<'
               and not 0xAC00 <= c <= 0xD7A3]
SPACES = list(' \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000')
NEARLY_SPACES = list('\x1c\x1d\x1e\x1f\u180e\u200b\u200d\u2060\ufeff\0\x7f')
SCRIPTS = [ASCII, ranges((0xC0, 0x24F)), ranges((0x370, 0x3FF)), ranges((0x400, 0x52F)),
           ranges((0x5D0, 0x5EA), (0x591, 0x5C7)), ranges((0x600, 0x6FF)), ranges((0x900, 0x9FF)),
           ranges((0xB80, 0xBFF)), ranges((0xE00, 0xE7F)), ranges((0xF40, 0xFBC)),
           ranges((0x1000, 0x109F)), ranges((0x1100, 0x11FF)), ranges((0x1E00, 0x1FFF)),
           ranges((0x3040, 0x30FF)), ranges((0x4E00, 0x4FFF)), ranges((0xAC00, 0xAD00)),
           ranges((0xF900, 0xFA6D)), ranges((0x1D15E, 0x1D1C0)), ranges((0x1F300, 0x1F6FF)),
           ranges((0x2F800, 0x2F8FF)), ranges((0x660, 0x669), (0x2150, 0x218B), (0xB2, 0xB9))]
JAMO = ranges((0x1100, 0x1112), (0x1161, 0x1175), (0x11A7, 0x11C2), (0xAC00, 0xAC1C))
EMOJI = [*'👩👨🧑🏽🏿❤🔥🏳🌈🇩🇪🇫🇷👍', '\u200d', '\ufe0f', '\u20e3', '1']
WORDS = ["don't", "I'll", "DON'T", "'s", "'S", "we've", "they're", "'d'm", "''t", 'the', 'Hello',
         'naïve', 'nai\u0308ve', '\u212b', '日本語', 'Привет', '123', '٣', '½', '==', '->', '...',
         '-' * 300, '<|', '|>', 'endoftext', '\ufb01', '\ufeff', "\u2019s"]
CODE = ['def f(x):', 'return x', 'if (a[i] != b) {', '}', '/* ... */', '#include <stdio.h>',
        '0x1F;', 'for i in range(10):', '\t', 'x = "y"', '// é', '']


def random_text(draw):
    """A text of one of several kinds."""
    some = lambda kinds, most: ''.join(draw.choice(kinds) for _ in range(draw.randint(0, most)))
    kind = draw.randrange(9)
    if kind == 0:                                                                 # mixed scripts
        return ''.join(some(draw.choice(SCRIPTS), 6) + draw.choice(['', ' ', *SPACES])
                       for _ in range(draw.randint(1, 9)))
    if kind == 1:                                                                 # marks
        return ''.join(draw.choice(draw.choice((ASCII, PRECOMPOSED, JAMO))) + some(MARKS, 5)
                       for _ in range(draw.randint(1, 6)))
    if kind == 2:
        return draw.choice(ASCII) + some(MARKS, draw.choice((40, 400)))
    if kind == 3:
        return some(EMOJI, 12) + draw.choice(WORDS) + some(EMOJI, 5)
    if kind == 4:                                                                 # code
        return draw.choice(('\n', '\r\n', '\r')).join(
            ' ' * draw.randrange(30) + draw.choice(CODE) + ' ' * draw.randrange(3)
            for _ in range(draw.randint(1, 8)))
    if kind == 5:
        return ''.join(draw.choice(WORDS) + draw.choice((' ', '  ', '', '\n', '\u3000'))
                       for _ in range(draw.randint(1, 9)))
    if kind == 6:                                                                 # white space
        return ''.join(draw.choice(SPACES) * draw.choice((1, 1, 1, 2, 3, 25, 49)) +
                       draw.choice(('', '', 'a', '1', '!', *NEARLY_SPACES))
                       for _ in range(draw.randint(1, 8)))
    if kind == 7:
        return some(JAMO, 12)
    return ''.join(chr(c) for c in (draw.randrange(0x110000) for _ in range(draw.randint(1, 9)))
                   if not 0xD800 <= c < 0xE000)


def random_bytes(draw):
    """Bytes, most of which are nearly UTF-8."""
    data = bytearray(random_text(draw).encode()[:200])
    if draw.random() < .3:
        data = bytearray(draw.randrange(256) for _ in range(draw.randint(0, 40)))
    for _ in range(draw.randint(0, 4) if data else 0):
        data[draw.randrange(len(data))] = draw.choice((draw.randrange(256), 0x80, 0xC0, 0xED, 0xF5))
    return bytes(data[draw.randint(0, 2):])


def stretches(data):
    """Valid stretches of UTF-8 and bad bytes, by turns: text, bytes, text, ..., text."""
    parts = [[], []]
    for s in data.decode('utf-8', 'surrogateescape'):
        bad = 0xDC80 <= ord(s) <= 0xDCFF
        if bad != len(parts) % 2:
            parts.append([])
        parts[-1].append(s)
    return [''.join(part).encode('utf-8', 'surrogateescape') for part in parts[1:]]


# -------------------------------------------------------------------------------------- comparison

def ask(command, texts, as_text=False):
    """The answer of a filter to every text: bytes, a tuple of tokens, or a negative error."""
    records = b''.join(struct.pack('<I', len(text)) + text for text in texts)
    done = subprocess.run(command, input=records, stdout=subprocess.PIPE)
    out, at, rows = done.stdout, 0, []
    while at < len(out):
        n, = struct.unpack_from('<i', out, at)
        size = max(n, 0) * (1 if as_text else 4)
        row = out[at + 4:at + 4 + size]
        rows.append(n if n < 0 else row if as_text else struct.unpack(f'<{n}i', row))
        at += 4 + size
    if done.returncode or len(rows) != len(texts):
        print(f'FAIL {" ".join(command)}: status {done.returncode}, {len(rows)} answers to '
              f'{len(texts)} texts')
        COUNT[1] += 1
        return None
    return rows


def escaped(row):
    return ascii(row.decode('utf-8', 'backslashreplace') if isinstance(row, bytes) else row)[:300]


def compare(what, texts, found, expected, excuse=None):
    """Count the texts whose answers are equal, and show the first that are not."""
    if found is None or expected is None:
        return
    wrong = [i for i, row in enumerate(found) if row != expected[i]]
    excused = [i for i in wrong if excuse and excuse(texts[i])]
    wrong = sorted(set(wrong) - set(excused))
    COUNT[0] += len(texts) - len(wrong)
    COUNT[1] += len(wrong)
    note = f', {len(excused)} differ as explained' if excuse else ''
    print(f'{what}: {len(texts)} texts, {len(wrong)} differ{note}', flush=True)
    for i in wrong[:5]:
        print(f'FAIL {what}: {escaped(texts[i])}\n    found    {escaped(found[i])}\n'
              f'    expected {escaped(expected[i])}')


def later_unicode(properties):
    """Whether JavaScript may see a text otherwise: its \\s has U+FEFF and not U+0085, its normal
    form has all marks and decompositions of Unicode and not those up to 9 alone, its classes are of
    a later edition than 16. What this Python does not know counts as later."""
    newer = {0x85, 0xFEFF, *convert_pth.code_points(convert_pth.NEWER)}
    for c, p in enumerate(properties):
        s = chr(c)
        parts = unicodedata.decomposition(s)
        if (unicodedata.category(s) == 'Cn' or unicodedata.combining(s) and not p >> 2 & 255
                or parts and parts[0] != '<' and not p >> 10 & 1):
            newer.add(c)
    return lambda text: not newer.isdisjoint(map(ord, text.decode()))


def greedy(path):
    """World's encoder, slowly: the longest token that the text goes on with, again and again."""
    ids, longest = {}, {}
    with open(path, encoding='utf-8', newline='\n') as file:
        for line in file:
            number, literal = line.split(' ', 1)
            token = ast.literal_eval(literal.rsplit(' ', 1)[0])
            token = token.encode() if isinstance(token, str) else token
            ids[token] = int(number)
            longest[token[:2]] = max(longest.get(token[:2], 1), len(token))

    def encode(text):
        at, out = 0, []
        while at < len(text):
            n = longest.get(text[at:at + 2], 1)
            while text[at:at + n] not in ids:
                n -= 1
            out.append(ids[text[at:at + n]])
            at += len(text[at:at + n])
        return tuple(out)
    return encode


# -------------------------------------------------------------------------------------------- main

def install(folder):
    """Whether the packages are there; they are installed the first time."""
    names = [package[:package.rindex('@')] for package in PACKAGES]
    if all(os.path.isdir(os.path.join(folder, 'node_modules', name)) for name in names):
        return True
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'package.json'), 'w') as file:
        file.write('{"private": true}\n')
    print('installing', *PACKAGES, flush=True)
    command = ['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', *PACKAGES]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        print(done.stderr.decode('utf-8', 'replace')[-300:].strip())
    return done.returncode == 0


def make_model(work, vocabulary, V):
    """The path of a model of one layer with this vocabulary."""
    path = os.path.join(work, f'{V}.rwkv')
    checkpoint = test_convert.torch_of(test_convert.make_model(V, 1, 1, 1, 1), 'f16')
    code, errors, _ = test_convert.run(checkpoint.zip(path + '.pth'), path, '--vocab', vocabulary)
    if code:
        sys.exit(f'{vocabulary}: {errors}')
    return path


def compare_20b(build, work, vocabulary, texts, broken):
    model = make_model(work, vocabulary, 50277)
    encode = [os.path.join(build, 'encode'), model]
    oracle = lambda kind: ['node', os.path.join(TESTS, 'oracle.mjs'), os.path.join(build, 'oracle'),
                           kind, vocabulary]
    _, _, text = test_convert.read_vocabulary('20B', test_convert.read_model(model)[2], 50277)
    # Of broken text the oracles are given what is left without the bad bytes.
    texts = texts + [b''.join(stretches(data)[::2]) for data in broken]
    found = ask(encode, texts)
    rust = ask(oracle('rust'), texts)
    compare('20B, as the Rust library', texts, found, rust)
    compare('the JavaScript library, as the Rust one', texts, ask(oracle('js'), texts), rust,
            later_unicode(text.properties))
    compare('20B, decoded', texts, ask([*encode, '--text'], texts, True),
            ask(oracle('nfc'), texts, True))
    compare_broken(encode, oracle('nfc'), broken)


def compare_broken(encode, nfc, broken):
    """Bad bytes stay what they are, between stretches of text each in normal form; or an error."""
    parts = [part for data in broken for part in stretches(data)[::2]]
    normal = ask(nfc, parts, True)
    found = ask([*encode, '--text'], broken, True)
    if normal is None or found is None:
        return
    normal, expected, refused = iter(normal), [], 0
    for data, row in zip(broken, found):
        parts = stretches(data)
        parts[::2] = [next(normal) for _ in parts[::2]]
        refused += isinstance(row, int)
        expected.append(row if isinstance(row, int) else b''.join(parts))
    compare(f'20B, bytes decoded ({refused} refused)', broken, found, expected)


def compare_world(build, work, vocabulary, texts):
    encode = [os.path.join(build, 'encode'), make_model(work, vocabulary, 65536)]
    reference = greedy(vocabulary)
    compare('World, as a greedy search', texts, ask(encode, texts), list(map(reference, texts)))
    compare('World, decoded', texts, ask([*encode, '--text'], texts, True), texts)


def main():
    build, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder = os.path.join(os.environ.get('RWKV_REFERENCE') or os.path.join(
        test_convert.ROOT, '..', 'shared', 'reference'), 'tokenizers')
    draw = random.Random(seed)
    if not os.path.isdir(folder):
        print(f'skipped: oracle (no {folder} with the published vocabularies; set RWKV_REFERENCE)')
        return 0
    texts = [text.encode() for text in code_point_texts()]
    mixed = [random_text(draw).encode() for _ in range(60000)]
    broken = [random_bytes(draw) for _ in range(10000)]
    with tempfile.TemporaryDirectory() as work:
        compare_world(build, work, os.path.join(folder, 'rwkv_vocab_v20230424.txt'),
                      texts[::3] + mixed + broken)
        if not shutil.which('node') or not shutil.which('npm'):
            print('skipped: the 20B oracles (node or npm is not installed)')
        elif not install(os.path.join(build, 'oracle')):
            print('skipped: the 20B oracles (npm cannot install them; they come from the network)')
        else:
            compare_20b(build, work, os.path.join(folder, '20B_tokenizer.json'), texts + mixed,
                        broken)
    print(f'{COUNT[0]} passed, {COUNT[1] + test_convert.COUNT[1]} failed')
    return 1 if COUNT[1] + test_convert.COUNT[1] else 0


if __name__ == '__main__':
    sys.exit(main())
