#!/usr/bin/env python3
"""Tests of tools/convert_pth.py: every container, type and refusal, against a reader of its own.

Checkpoints are written here, byte by byte, into a temporary folder; what comes out is compared
element by element. With the reference folder (RWKV_REFERENCE, or ../shared/reference beside the
repository) the published files are converted too. The last line is "N passed, M failed".
"""

import contextlib
import errno
import importlib.util
import io
import json
import math
import os
import pickle
import random
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata
import zipfile
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict, namedtuple
from fractions import Fraction
from functools import partial

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.path.join(ROOT, 'tools', 'convert_pth.py')
NONE = 0xFFFFFFFF
SMALL = dict(V=37, D=24, A=24, F=96, L=2)
CASES, COUNT = [], [0, 0]


def case(function):
    CASES.append(function)
    return function


def check(what, good, detail=''):
    COUNT[0 if good else 1] += 1
    if not good:
        print(f'FAIL {what} {detail}')


def same(what, found, expected):
    check(what, found == expected, f': found {str(found)[:200]}, expected {str(expected)[:200]}')


# --------------------------------------------------------------------------- numbers, the slow way

def decode16(bits, exponent_bits, mantissa_bits):
    """A double, which has every 16-bit float."""
    bias = (1 << exponent_bits - 1) - 1
    exponent, mantissa = bits >> mantissa_bits, bits & (1 << mantissa_bits) - 1
    if exponent == 0:
        return math.ldexp(mantissa, 1 - bias - mantissa_bits)
    return math.ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits)


POSITIVE = {'f16': [decode16(b, 5, 10) for b in range(0x7C00)],
            'bf16': [decode16(b, 8, 7) for b in range(0x7F80)]}


def nearest16(value, kind):
    """Bits of the nearest 16-bit float, ties to even, by looking at both neighbours."""
    if math.isnan(value):
        return None
    table, sign = POSITIVE[kind], 0x8000 if math.copysign(1, value) < 0 else 0
    if math.isinf(value):
        return sign | len(table)
    up = bisect_left(table, abs(value))
    if up == 0 or up < len(table) and table[up] == abs(value):
        return sign | up
    x = Fraction(abs(value))
    above = Fraction(table[up]) if up < len(table) else Fraction(table[-1]) * 2 - Fraction(table[-2])
    below = x - Fraction(table[up - 1])
    if below == above - x:
        return sign | (up if up % 2 == 0 else up - 1)
    return sign | (up - 1 if below < above - x else up)


def f32_bits(value):
    return struct.unpack('<I', struct.pack('<f', value))[0]


def bits_of(value, kind):
    return f32_bits(value) if kind == 'f32' else nearest16(value, kind)


def encode(values, kind, order='<'):
    """Values as the bytes of a tensor of this type."""
    if kind in ('f32', 'f64'):
        return struct.pack(f'{order}{len(values)}{"f" if kind == "f32" else "d"}', *values)
    if kind == 'i64':
        return struct.pack(f'{order}{len(values)}q', *values)
    return struct.pack(f'{order}{len(values)}H', *(nearest16(v, kind) for v in values))


# ------------------------------------------------------------------------------- what is expected

def layout(V, D, A, F, L):
    parts = [('emb.weight', 'rows', (V, D)), ('blocks.0.ln0.weight', 'vector', (D,)),
             ('blocks.0.ln0.bias', 'vector', (D,))]
    for l in range(L):
        b = f'blocks.{l}.'
        parts += [(b + 'ln1.weight', 'vector', (D,)), (b + 'ln1.bias', 'vector', (D,))]
        parts += [(b + 'att.time_mix_' + c, 'vector', (D,)) for c in 'rkv']
        parts += [(b + 'att.receptance.weight', 'matrix', (A, D)),
                  (b + 'att.key.weight', 'matrix', (A, D)),
                  (b + 'att.value.weight', 'matrix', (A, D)),
                  (b + 'att.time_first', 'vector', (A,)),
                  (b + 'att.time_decay', 'vector', (A,)),
                  (b + 'att.output.weight', 'matrix', (D, A)), (b + 'ln2.weight', 'vector', (D,)),
                  (b + 'ln2.bias', 'vector', (D,)), (b + 'ffn.time_mix_r', 'vector', (D,)),
                  (b + 'ffn.time_mix_k', 'vector', (D,)),
                  (b + 'ffn.receptance.weight', 'matrix', (D, D)),
                  (b + 'ffn.key.weight', 'matrix', (F, D)),
                  (b + 'ffn.value.weight', 'columns', (D, F))]
    return parts + [('ln_out.weight', 'vector', (D,)), ('ln_out.bias', 'vector', (D,)),
                    ('head.weight', 'matrix', (V, D))]


def make_model(V, D, A, F, L, seed=1):
    """{name: (shape, values)}; the values are exact in every type."""
    draw, model = random.Random(seed), OrderedDict()
    for name, form, shape in layout(V, D, A, F, L):
        values = [draw.randint(-127, 127) / 64 for _ in range(math.prod(shape))]
        model[name] = ((1, 1) + shape if 'time_mix' in name else shape, values)
    return model


class Broken(Exception):
    pass


def need(good, what):
    if not good:
        raise Broken(what)


def read_model(path):
    """(header, {name: list of element bits}, vocabulary bytes), checking every byte on the way."""
    with open(path, 'rb') as file:
        data = file.read()
    need(data[:8] == b'RWKV\r\n\x1a\n', 'magic')
    names = ('format', 'version', 'type', 'tokenizer', 'V', 'D', 'A', 'F', 'L', 'heads')
    header = dict(zip(names, struct.unpack_from('<10I', data, 8)))
    header['bytes'], header['vocab_bytes'] = struct.unpack_from('<2Q', data, 48)
    need(struct.unpack_from('<f', data, 64)[0] == struct.unpack('<f', struct.pack('<f', 1e-5))[0],
         'eps')
    need(data[68:120] == bytes(52), 'reserved')
    crcs = struct.unpack_from('<2I', data, 120)
    need(crcs == (zlib.crc32(data[128:]), zlib.crc32(data[:124])), 'crc')
    need(header['bytes'] == len(data) and len(data) % 64 == 0, 'file size')
    need((header['format'], header['version'], header['heads']) == (2, 4, 0), 'versions')
    size, at, tensors = (4, 2, 2)[header['type'] - 1], 128, {}
    for name, form, shape in layout(*(header[k] for k in 'VDAFL')):
        code, width = ('I', 4) if form == 'vector' or size == 4 else ('H', 2)
        rows = -(-shape[0] // 16) * 16 if form in ('matrix', 'columns', 'vector') else shape[0]
        n = rows * (shape[1] if len(shape) > 1 else 1)
        block = array(code, data[at:at + n * width])
        need(len(block) == n, f'{name} is cut')
        at += n * width
        need(not any(data[at:-(-at // 64) * 64]), f'{name}: gap')
        at = -(-at // 64) * 64
        if form == 'matrix':
            K, out = shape[1], []
            for r in range(rows):
                row = block[r // 16 * 16 * K:(r // 16 + 1) * 16 * K][r % 16::16]
                need(r < shape[0] or not any(row), f'{name}: row {r} is not zero')
                out.extend(row if r < shape[0] else [])
            tensors[name] = out
        elif form == 'columns':
            need(not any(any(block[r::rows]) for r in range(shape[0], rows)), f'{name}: zero rows')
            tensors[name] = [x for r in range(shape[0]) for x in block[r::rows]]
        else:
            tensors[name] = list(block[:math.prod(shape)])
            need(not any(block[math.prod(shape):]), f'{name}: padding')
    need(at + header['vocab_bytes'] == len(data), 'vocabulary size')
    return header, tensors, data[at:]


def compare(what, path, model, kind='f32', decayed=False):
    """The converted file holds exactly this model."""
    try:
        header, tensors, vocabulary = read_model(path)
    except (Broken, OSError, struct.error) as error:
        check(what, False, repr(error))
        return None
    same(f'{what}: type', header['type'], {'f32': 1, 'f16': 2, 'bf16': 3}[kind])
    for name, (shape, values) in model.items():
        form = 'f32' if len([n for n in shape if n > 1]) < 2 and not name.endswith(
            ('emb.weight', 'head.weight', 'key.weight', 'value.weight', 'receptance.weight',
             'output.weight')) else kind
        if name.endswith('time_decay') and not decayed:
            values = [-math.exp(v) for v in values]
        expected = [bits_of(v, form) for v in values]
        if None in expected or tensors.get(name) != expected:
            bad = [(i, a, b) for i, (a, b) in enumerate(zip(tensors.get(name, []), expected))
                   if a != b and not (b is None and is_nan(a, form))]
            if bad or len(tensors.get(name, [])) != len(expected):
                check(f'{what}: {name}', False, str(bad[:3]))
                return None
    check(what, True)
    return header, vocabulary


def is_nan(bits, kind):
    return bits & {'f32': 0x7FFFFFFF, 'f16': 0x7FFF, 'bf16': 0x7FFF}[kind] > {
        'f32': 0x7F800000, 'f16': 0x7C00, 'bf16': 0x7F80}[kind]


# ------------------------------------------------------------------------- writers of checkpoints

TORCH = {'f32': 'Float', 'f16': 'Half', 'bf16': 'BFloat16', 'f64': 'Double', 'i64': 'Long'}


def text(s):
    return b'X' + struct.pack('<I', len(s.encode())) + s.encode()


def integer(n):
    if n < 1 << 31:
        return b'J' + struct.pack('<i', n)
    return b'\x8a\x09' + n.to_bytes(9, 'little')


def glob(name):
    module, _, last = name.rpartition('.')
    return b'c' + f'{module}\n{last}\n'.encode()


def pickled_tensor(kind, key, numel, offset, shape, strides, device='cpu', legacy=False):
    storage = (b'(' + text('storage') + glob(f'torch.{TORCH[kind]}Storage') + text(key)
               + text(device) + integer(numel) + (b'N' if legacy else b'') + b'tQ')
    return (glob('torch._utils._rebuild_tensor_v2') + b'(' + storage + integer(offset) + b'('
            + b''.join(map(integer, shape)) + b't(' + b''.join(map(integer, strides)) + b't\x89'
            + glob('collections.OrderedDict') + b')RtR')


def packed(shape):
    return [math.prod(shape[i + 1:]) for i in range(len(shape))]


def pickled_dict(items, start=b'}'):
    return start + b'(' + b''.join(text(k) + v for k, v in items) + b'u'


class Torch:
    """A torch.save file in the making."""

    def __init__(self, order='<', device='cpu'):
        self.storages, self.items, self.order, self.device = OrderedDict(), [], order, device

    def add(self, name, shape, values, kind='f32'):
        key = str(len(self.storages))
        self.storages[key] = kind, encode(values, kind, self.order)
        self.view(name, key, len(values), 0, shape, packed(shape))

    def view(self, name, key, numel, offset, shape, strides, legacy=False):
        kind = self.storages[key][0]
        self.items.append((name, pickled_tensor(kind, key, numel, offset, shape, strides,
                                                self.device, legacy)))

    def zip(self, path, body=None, folder='archive', force=False, method=zipfile.ZIP_STORED,
            skip=()):
        body = body or pickled_dict(self.items)
        with zipfile.ZipFile(path, 'w', method) as archive:
            entries = [('data.pkl', b'\x80\x02' + body + b'.')]
            entries += [(f'data/{k}', v) for k, (_, v) in self.storages.items() if k not in skip]
            entries += [('version', b'3\n')]
            entries += [('byteorder', b'big')] if self.order == '>' else []
            for name, data in entries:
                info = zipfile.ZipInfo(f'{folder}/{name}')
                info.compress_type = method
                with archive.open(info, 'w', force_zip64=force) as entry:
                    entry.write(data)
        return path


def torch_of(model, kind='f32', rename=lambda name: name, **options):
    made = Torch(**options)
    for name, (shape, values) in model.items():
        made.add(rename(name), shape, values, kind(name) if callable(kind) else kind)
    return made


def hf_name(name):
    for a, b in (('emb.', 'rwkv.embeddings.'), ('blocks.', 'rwkv.blocks.'),
                 ('ln_out', 'rwkv.ln_out'),
                 ('.ln0.', '.pre_ln.'), ('.att.', '.attention.'), ('.ffn.', '.feed_forward.')):
        name = name.replace(a, b)
    for a, b in (('_k', '_key'), ('_v', '_value'), ('_r', '_receptance')):
        if name.endswith('time_mix' + a):
            name = name[:-2] + b
    return name


def safetensors(path, tensors, edit=None, tail=b'', spaces=0):
    """tensors: (name, shape, values, kind)."""
    header, data = OrderedDict(__metadata__={'format': 'pt'}), b''
    for name, shape, values, kind in tensors:
        block = encode(values, kind)
        header[name] = {'dtype': kind.upper(), 'shape': list(shape),
                        'data_offsets': [len(data), len(data) + len(block)]}
        data += block
    if edit:
        edit(header)
    head = b' ' * spaces + json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(head)) + head + data + tail)
    return path


def st_of(model, kind='f32', rename=lambda name: name):
    return [(rename(n), shape, values, kind) for n, (shape, values) in model.items()]


def ggmf(path, model, kind='f32', order='<', decay=lambda v: -math.exp(v), header=None):
    sizes = header or (len(model['emb.weight'][1]) // model['emb.weight'][0][1],
                       model['emb.weight'][0][1], 1 + max(int(n.split('.')[1]) for n in model
                                                          if n.startswith('blocks')))
    with open(path, 'wb') as file:
        file.write(struct.pack(order + '6I', 0x67676d66, 101, *sizes, kind == 'f16'))
        for name, (shape, values) in model.items():
            shape = [n for n in shape if n > 1] if 'time_' in name else shape
            shape = shape or [1]
            one = 'f32' if len(shape) == 1 else kind
            if name.endswith('time_decay'):
                values = [decay(v) for v in values]
            file.write(struct.pack(order + '3I', len(shape), len(name), one == 'f16'))
            file.write(struct.pack(f'{order}{len(shape)}I', *reversed(shape)) + name.encode())
            file.write(encode(values, one, order))
    return path


# --------------------------------------------------------------------------------------- running it

def run(*arguments, before=None, kill=None):
    """(status, standard error, peak memory in MB) of the converter."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, '-S', '-W', 'error', TOOL, *arguments], stderr=errors,
                                   stdout=subprocess.DEVNULL, preexec_fn=before)
        if kill:
            kill(process)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        errors.seek(0)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        return code, errors.read().decode('utf-8', 'replace'), usage.ru_maxrss / 1024


def accepted(what, source, *options):
    target = source + '.rwkv'
    if os.path.exists(target):
        os.remove(target)
    code, errors, memory = run(source, target, *options)
    check(f'{what}: accepted', code == 0 and os.path.exists(target), f'{code} {errors}')
    return target, errors


def refused(what, source, words, *options, target=None, left=None, **how):
    """One line, exit 1, little memory, nothing left in the folder."""
    target = target or source + '.rwkv'
    before, start = sorted(os.listdir(os.path.dirname(source))), time.time()
    code, errors, memory = run(source, target, *options, **how)
    check(f'{what}: {time.time() - start:.0f} s', time.time() - start < 20)
    check(f'{what}: refused', code == 1, f'exit {code}: {errors}')
    check(f'{what}: one line', errors.count('\n') == 1 and 'Traceback' not in errors
          and len(errors) < 1000, errors[:1500])
    for word in words if isinstance(words, tuple) else (words,):
        check(f'{what}: says {word}', word in errors, errors)
    check(f'{what}: {memory:.0f} MB', memory < 200)
    same(f'{what}: nothing left', sorted(os.listdir(os.path.dirname(source))), before)


def in_folder(name):
    return os.path.join(FOLDER, name)


# ------------------------------------------------------------------------------------------- cases

@case
def containers():
    model = make_model(**SMALL)
    for kind in ('f32', 'f16', 'bf16'):
        path = torch_of(model, kind).zip(in_folder(f'plain-{kind}'), folder='some name')
        target, errors = accepted(f'torch {kind}', path)
        compare(f'torch {kind}', target, model, kind)
        check('says that there is no tokenizer', 'no tokenizer' in errors, errors)
        same('two lines', errors.count('\n'), 2)
        path = safetensors(in_folder(f'hf-{kind}'), st_of(model, kind, hf_name), spaces=7)
        compare(f'safetensors HF {kind}', accepted('hf', path)[0], model, kind)
        path = safetensors(in_folder(f'blink-{kind}'), st_of(model, kind))
        compare(f'safetensors BlinkDL {kind}', accepted('blink', path)[0], model, kind)
    for kind in ('f32', 'f16'):
        for order in '<>':
            path = ggmf(in_folder(f'ggmf-{kind}'), model, kind, order)
            compare(f'ggmf {kind} {order}', accepted('ggmf', path)[0], model, kind)
    path = torch_of(model, rename=hf_name).zip(in_folder('hf.bin'))
    compare('pytorch_model.bin', accepted('hf.bin', path)[0], model)
    same('the mode of a new file', stat.S_IMODE(os.stat(path + '.rwkv').st_mode),
         stat.S_IMODE(os.stat(path).st_mode))


@case
def nesting():
    model = make_model(**SMALL)
    for prefix in ('module.', '_forward_module.', 'module.module.'):
        path = torch_of(model, rename=lambda name: prefix + name).zip(in_folder('prefix'))
        compare(f'prefix {prefix}', accepted('prefix', path)[0], model)
    made = torch_of(model, device='cuda:0')
    ordered = glob('collections.OrderedDict') + b')R'
    meta = b'}(' + text('_metadata') + ordered + b'ub'
    for what, body in (
            ('OrderedDict with metadata', pickled_dict(made.items, ordered) + meta),
            ('state_dict', pickled_dict([('epoch', b'K\3'), ('lr', b'G' + bytes(8)),
                                         ('state_dict', pickled_dict(made.items))])),
            ('model', pickled_dict([('model', pickled_dict(made.items, ordered))])),
            ('nested twice', pickled_dict([('state_dict', pickled_dict(
                [('model', pickled_dict(made.items))]))])),
            ('memo, one by one', b'}q\0' + b''.join(
                b'h\0' + text(k) + v + b's0' for k, v in made.items) + b'h\0'),
            ('protocol 4', b'\x95' + bytes(8) + b'}\x94(' + b''.join(
                b'\x8c' + bytes([len(k)]) + k.encode() + b'\x94' + v for k,
                v in made.items) + b'u'),
            ('list of pairs', glob('collections.OrderedDict') + b'](' + b''.join(
                b'](' + text(k) + v + b'e' for k, v in made.items) + b'e\x85R'),
            ('nn.Parameter', pickled_dict([(k, glob('torch._utils._rebuild_parameter') + b'(' + v
                                            + b'\x88' + ordered + b'tR') for k, v in made.items]))):
        compare(what, accepted(what, made.zip(in_folder('nested'), body))[0], model)


def legacy_file(path, made, order_bytes=b'\x88'):
    keys = list(made.storages)
    with open(path, 'wb') as file:
        file.write(b'\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.')
        file.write(b'\x80\x02' + pickled_dict([('little_endian', order_bytes)]) + b'.')
        file.write(b'\x80\x02' + pickled_dict(made.items) + b'.')
        file.write(b'\x80\x02](' + b''.join(map(text, keys)) + b'e.')
        for key in keys:
            kind, data = made.storages[key]
            file.write(struct.pack('<q', len(data) // {'f32': 4, 'f64': 8}.get(kind, 2)) + data)
    return path


@case
def legacy():
    model = make_model(**SMALL)
    path = legacy_file(in_folder('legacy'), torch_of(model, 'f16'))
    compare('legacy', accepted('legacy', path)[0], model, 'f16')
    with open(path, 'rb') as file:
        data = file.read()
    for n in (20, 200, 6000, len(data) - 1):
        with open(path, 'wb') as file:
            file.write(data[:n])
        refused(f'legacy cut at {n}', path, 'legacy')


@case
def shapes():
    for V, D, A, F, L in ((2, 1, 1, 4, 1), (5, 1, 1, 1, 2), (17, 16, 16, 64, 1),
                          (33, 20, 28, 17, 2),
                          (16, 7, 3, 50, 3), (1, 33, 40, 31, 1)):
        model = make_model(V, D, A, F, L)
        for kind in ('f32', 'bf16'):
            path = torch_of(model, kind).zip(in_folder('odd'))
            result = compare(f'shape {V} {D} {A} {F} {L}', accepted('odd', path)[0], model, kind)
            if result:
                same('dimensions', [result[0][k] for k in 'VDAFL'], [V, D, A, F, L])
        compare('ggmf shape', accepted('odd', ggmf(in_folder('odd.bin'), model))[0], model)
    model = make_model(600, 300, 300, 1200, 1)                   # more than one chunk of rows
    compare('chunks', accepted('big', torch_of(model, 'f32').zip(in_folder('big')))[0], model)
    compare('chunks, converted', accepted('big', in_folder('big'), '--type', 'bf16')[0], model,
            'bf16')


def strided(model, kind):
    """Every tensor with other strides: columns first, gaps, offsets, all in one storage."""
    made, pool, views = Torch(), [], []
    for i, (name, (shape, values)) in enumerate(model.items()):
        offset = len(pool) + i % 3
        pool += [99.0] * (i % 3)
        if len(shape) == 2 and i % 2:
            R, K = shape
            strides = [1, R + 2]
            block = [77.0] * ((R + 2) * K)
            for r in range(R):
                for k in range(K):
                    block[r + k * (R + 2)] = values[r * K + k]
        elif len(shape) == 2:
            R, K = shape
            strides = [3 * K + 1, 3]
            block = [55.0] * (R * (3 * K + 1))
            for r in range(R):
                for k in range(K):
                    block[r * (3 * K + 1) + 3 * k] = values[r * K + k]
        else:
            strides = [12345] * (len(shape) - 1) + [2]           # strides of 1 mean nothing
            block = [v for value in values for v in (value, 33.0)]
        pool += block
        views.append((name, offset, shape, strides))
    made.storages['7'] = kind, encode(pool, kind)
    for name, offset, shape, strides in views:
        made.view(name, '7', len(pool), offset, shape, strides)
    return made


@case
def strides_and_storages():
    for sizes in (SMALL, dict(V=50, D=20, A=36, F=70, L=1), dict(V=3, D=1, A=1, F=2, L=1)):
        model = make_model(**sizes)
        for kind in ('f32', 'bf16'):
            path = strided(model, kind).zip(in_folder('strided'))
            compare(f'strides {kind} {sizes}', accepted('strided', path)[0], model, kind)
    model = make_model(**SMALL)
    model['head.weight'] = model['emb.weight']                   # tied: one storage, two names
    made = Torch()
    for name, (shape, values) in model.items():
        if name != 'head.weight':
            made.add(name, shape, values)
    made.view('head.weight', '0', 37 * 24, 0, (37, 24), (24, 1))
    compare('tied head', accepted('tied', made.zip(in_folder('tied')))[0], model)
    model['head.weight'] = ((37, 24), [0.5] * (37 * 24))         # one number, expanded
    made.items.pop()
    made.storages['one'] = 'f32', encode([0.5], 'f32')
    made.view('head.weight', 'one', 1, 0, (37, 24), (0, 0))
    compare('stride 0', accepted('expanded', made.zip(in_folder('expanded')))[0], model)


@case
def byte_order_and_zip64():
    model = make_model(**SMALL)
    for kind in ('f32', 'f16', 'bf16', 'f64'):
        path = torch_of(model, kind, order='>').zip(in_folder('big-endian'))
        compare(f'big-endian {kind}', accepted('big', path)[0], model, kind if kind != 'f64'
                else 'f32')
    path = torch_of(model).zip(in_folder('zip64'), force=True)
    compare('zip64 local headers', accepted('zip64', path)[0], model)
    compare('zip64 directory', accepted('zip64', widen_zip(path))[0], model)


def widen_zip(path):
    """The same archive with all sizes and positions in zip64 fields."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        start = archive.start_dir
    with open(path, 'rb') as file:
        data = file.read(start)
    directory = b''
    for info in infos:
        name = info.filename.encode()
        extra = b'\xff\xff\2\0ab' + struct.pack('<HH3Q', 1, 24, info.file_size, info.file_size,
                                                info.header_offset)
        directory += b'PK\1\2' + struct.pack('<6H3I5H2I', 45, 45, 0, 0, 0, 0, info.CRC, NONE, NONE,
                                             len(name), len(extra), 0, 0, 0, 0, NONE) + name + extra
    with open(path + '64', 'wb') as file:
        file.write(data + directory + b'PK\6\6' + struct.pack(
            '<Q2H2I4Q', 44, 45, 45, 0, 0, len(infos), len(infos), len(directory), start))
        file.write(b'PK\6\7' + struct.pack('<IQI', 0, start + len(directory), 1))
        file.write(b'PK\5\6' + struct.pack('<4H2IH', 0, 0, 65535, 65535, NONE, NONE, 3) + b'hey')
    return path + '64'


HARD = [0.0, -0.0, 1.0, 1.00390625, 1.01171875, 1.00390626, 1.00390624, -1.00390625, 5.9604645e-08,
        2.9802322e-08, 2.9802326e-08, 8.940697e-08, 6.1e-05, 6.1035156e-05, 6.0975552e-05, 1e-40,
        9.18e-41, 4.6e-41, 1e-45, 2049.0, 2051.0, 65504.0, 65519.0, -65519.996, 0.1, 1 / 3,
        1.17549435e-38, 1.1754942e-38]
WIDE = [3e38, 2.9e38, 1.7014118e38, 1.7e38, 3.3895314e38, -3.3895314e38, 3.3953138e38, math.inf,
        -math.inf, math.nan]


def hard_model(values, kind):
    """A model whose head holds these values, as the type stores them, and some thousands more."""
    model, draw = make_model(**SMALL), random.Random(3)
    more = [draw.uniform(-1, 1) * 2.0 ** draw.randint(-30, 15)
            for _ in range(37 * 24 - len(values))]
    values = list(values) + more
    if kind == 'f32':
        values = list(struct.unpack(f'{len(values)}f', struct.pack(f'{len(values)}f', *values)))
    elif kind != 'f64':
        values = [v for v in values if abs(v) < 60000]
        values += [0.0] * (37 * 24 - len(values))
        table = POSITIVE[kind]
        values = [math.copysign(table[nearest16(abs(v), kind)], v) for v in values]
    model['head.weight'] = ((37, 24), values)
    return model


@case
def conversions():
    for source in ('f32', 'f64', 'f16', 'bf16'):
        model = hard_model(HARD, source)
        path = torch_of(model, source).zip(in_folder(f'hard-{source}'))
        for target in ('f32', 'f16', 'bf16'):
            result = accepted(f'{source} to {target}', path, '--type', target)[0]
            compare(f'{source} to {target}', result, model, target)
    model = hard_model(WIDE, 'f32')
    path = torch_of(model).zip(in_folder('wide'))
    compare('f32 to bf16 near the top', accepted('wide', path, '--type', 'bf16')[0], model, 'bf16')
    compare('f32 kept', accepted('wide', path)[0], model)
    ties = [1.00390625 + 2.0 ** -40, 1.00390625 - 2.0 ** -40, 1.01171875 + 2.0 ** -40,
            -1.01171875 + 2.0 ** -40, -1.00390625 - 2.0 ** -45, 1.00390625, 1.01171875,
            1.00048828125 + 2.0 ** -45, 1.00048828125 - 2.0 ** -45]
    path = torch_of(hard_model(ties, 'f64'), 'f64').zip(in_folder('ties'))
    for target in ('f16', 'bf16', 'f32'):
        compare(f'f64 to {target}, once', accepted('ties', path, '--type', target)[0],
                hard_model(ties, 'f64'), target)
    for value, options, words in ((65520.0, ('--type', 'f16'),
                                   ('head.weight', '65520', '65504', 'bf16')),
                                  (-1e6, ('--type', 'f16'), ('head.weight', '-1000000', '65504')),
                                  (3.4e38, ('--type', 'bf16'), ('head.weight', '3.39999995e+38'))):
        path = torch_of(hard_model([value], 'f32')).zip(in_folder('over'))
        refused(f'overflow {value}', path, words, *options)
    path = torch_of(hard_model([1e300], 'f64'), 'f64').zip(in_folder('over64'))
    refused('overflow f64', path, ('head.weight', '1e+300'))


@case
def default_type():
    model = make_model(**SMALL)
    mixed = torch_of(model, lambda name: 'bf16' if 'head' in name
                     else 'f16').zip(in_folder('mixed'))
    target, errors = accepted('mixed', mixed)
    compare('mixed', target, model)
    check('mixed is said', 'bf16 and f16' in errors, errors)
    vectors = torch_of(model, lambda name: 'f32' if 'time_' in name
                       else 'bf16').zip(in_folder('vec'))
    compare('vectors of another type', accepted('vectors', vectors)[0], model, 'bf16')
    target, errors = accepted('f64', torch_of(model, 'f64').zip(in_folder('f64')))
    compare('f64', target, model)
    check('f64 is said', 'f64' in errors, errors)


@case
def decay_and_vectors():
    model = make_model(**SMALL)
    values = [-20.0, 8.0, 0.0, 88.0, -110.0, -750.0, 0.1, 1 / 3] + [0.5] * 16
    model['blocks.0.att.time_decay'] = ((24,),
                                        [struct.unpack('f', struct.pack('f', v))[0]
                                         for v in values])
    compare('decay', accepted('decay', torch_of(model).zip(in_folder('decay')))[0], model)
    path = ggmf(in_folder('raw.bin'), make_model(**SMALL), decay=lambda v: v)
    refused('untransformed ggmf', path, ('blocks.0.att.time_decay', '-exp'))
    for value in (math.nan, math.inf, -math.inf):
        for name in ('blocks.1.ln1.weight', 'blocks.0.att.time_decay', 'blocks.1.ffn.time_mix_k'):
            model = make_model(**SMALL)
            model[name][1][5] = value
            path = safetensors(in_folder('nan.st'), st_of(model, 'f32'))
            refused(f'{value} in {name}', path, (name, '5', str(value)))
    model = make_model(**SMALL)
    model['blocks.0.att.time_decay'][1][3] = 89.0
    refused('decay overflow', torch_of(model).zip(in_folder('hot')), ('time_decay', '89'))


@case
def names_and_shapes():
    model = make_model(**SMALL)
    for name in ('head.weight', 'emb.weight', 'blocks.0.ln0.bias', 'blocks.1.ffn.value.weight'):
        part = OrderedDict((k, v) for k, v in model.items() if k != name)
        refused(f'without {name}', torch_of(part).zip(in_folder('part')), (in_folder('part'), name))
    for name, shape in (('blocks.1.att.key.weight', (24, 23)), ('head.weight', (36, 24)),
                        ('blocks.0.att.time_mix_k', (1, 2, 12)), ('ln_out.bias', (23,)),
                        ('blocks.0.ffn.value.weight', (96, 24)), ('emb.weight', (888,)),
                        ('head.weight', (1, 37, 24))):
        wrong = OrderedDict(model)
        wrong[name] = (shape, [0.5] * math.prod(shape))
        words = (name,) if name == 'emb.weight' else (name, 'x'.join(map(str, shape)))
        refused(f'{name} {shape}', torch_of(wrong).zip(in_folder('wrong')), words)
    made = torch_of(model)
    made.add('extra.scalar', (), [1.0])
    made.add('extra.empty', (0,), [])
    made.add('extra.int', (4,), [1, 2, 3, 4], 'i64')
    target, errors = accepted('extras', made.zip(in_folder('extras')))
    compare('extras', target, model)
    check('extras are said', 'extra.scalar, extra.empty, extra.int' in errors, errors)
    made.add('module.head.weight', (37, 24), [0.5] * 888)
    refused('two heads', made.zip(in_folder('two')), 'head.weight')
    whole = torch_of(OrderedDict((k, v) for k, v in model.items() if k != 'ln_out.bias'))
    whole.add('ln_out.bias', (24,), list(range(24)), 'i64')
    refused('integers', whole.zip(in_folder('ints')), ('ln_out.bias', 'i64'))


@case
def other_models():
    model = make_model(**SMALL)
    for names, words in (
            (('blocks.0.att.ln_x.weight',), 'RWKV-5.0'),
            (('blocks.0.att.ln_x.weight', 'blocks.0.att.gate.weight'), 'RWKV-5.1'),
            (('blocks.0.att.gate.weight', 'blocks.0.att.time_faaaa'), 'RWKV-5.2'),
            (('blocks.0.att.time_maa_x', 'blocks.0.att.ln_x.weight'), 'RWKV-6'),
            (('blocks.0.att.k_k', 'blocks.0.att.ln_x.weight'), 'RWKV-7'),
            (('blocks.3.tiny_q.weight',), 'tiny'), (('blocks.0.att.qq.weight',), 'tiny'),
            (('blocks.0.att.time_mix_qq',), 'tiny'), (('pos_emb_x',), 'position'),
            (('blocks.0.ffnPre.key.weight',), 'pre-FFN'), (('head_q.weight',), 'copy'),
            (('blocks.0.ffn.aa.weight',), 'MishGLU'), (('copy_mask',), 'copy'),
            (('blocks.0.att.key.lora_A',), 'LoRA'), (('blocks.0.att.mystery',), 'mystery'),
            (('blocks.9999999999.att.key.weight',), 'blocks.9999999999'),
            (('blocks.5000.ln1.weight',), ('5001', '4096'))):
        made = torch_of(model)
        for name in names:
            made.add(name, (24,), [0.5] * 24)
        refused(f'{names}', made.zip(in_folder('other')), words)
        path = safetensors(in_folder('other.st'), st_of(model, 'f32', hf_name)
                           + [(hf_name(n), (24,), [0.5] * 24, 'f32') for n in names])
        refused(f'{names} HF', path, words)
    made = torch_of(OrderedDict((k, v) for k, v in model.items() if not k.endswith('time_decay')))
    made.add('blocks.0.att.gate.weight', (24, 24), [0.5] * 576)
    made.add('blocks.0.att.time_decay', (4, 6), [0.5] * 24)
    refused('two-dimensional decay', made.zip(in_folder('other')), 'RWKV-5.2')


def raw_zip(path, body, storages=()):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', body)
        for key, data in storages:
            archive.writestr(f'archive/data/{key}', data)
        archive.writestr('archive/version', '3\n')
    return path


@case
def hostile_pickles():
    marker = in_folder('PWNED')
    touch = text(f'touch {marker}')
    call = lambda name, args: b'\x80\x02' + glob(name) + args + b'\x85R.'
    tensor = pickled_tensor
    big = 1 << 51
    bodies = {
        'os.system': call('os.system', touch), 'posix.system': call('posix.system', touch),
        'eval': call('builtins.eval', text(f'open({marker!r},"w")')),
        'exec': call('__builtin__.exec', text(f'open({marker!r},"w")')),
        'stack global': b'\x80\x04\x8c\x05posix\x8c\x06system\x93' + touch + b'\x85R.',
        'stack global of lists': b'\x80\x04]]\x93.',
        'inst': b'(' + touch + b'iposix\nsystem\n.', 'obj': b'(cposix\nsystem\n' + touch + b'o.',
        'getattr': b'\x80\x02cbuiltins\ngetattr\n(cos\nsystem\n' + text('x') + b'tR.',
        'attrgetter': call('operator.attrgetter', text('system')),
        'dotted name': b'\x80\x04\x8c\x05torch\x8c\x0c_utils.x.y.z\x93.',
        'allowed name, more dots': call('torch._utils._rebuild_tensor_v2.__globals__', text('x')),
        'torch.load': call('torch.load', text('x')), 'codecs': call('_codecs.encode', text('x')),
        'newobj': b'\x80\x02cposix\nsystem\n' + touch + b'\x85\x81.',
        'extension': b'\x80\x02\x82\x01.', 'storage called': call('torch.FloatStorage', b'K\1'),
        'string called': b'\x80\x02' + text('os.system') + touch + b'\x85R.',
        'marks': b'\x80\x02' + b'(' * 200000 + b'.', 'lists': b']' * 200000 + b'.',
        'nested tuples': b')' + b'\x85' * 900000 + b'.',
        'nested tuple as key': b'}' + b')' + b'\x85' * 900000 + b'K\1s.',
        'nested lists in a version': b']' * 10 + b'a' * 9 + b'.',
        'many lists': b'](' + b']' * 60000 + b'e' + b'(' + b']' * 60000 + b'e' * 2 + b'.',
        'dup bomb': b'\x80\x02]q\0' + b'h\0' * 1000 + b'.',
        'opcodes without end': b'\x80\x02' + b'N0' * 1900000 + b'.',
        'too long': b'\x80\x02' + text('x' * (5 << 20)) + b'.',
        'memo index': b'\x80\x02}r\xff\xff\xff\xff.', 'memo unset': b'\x80\x02h\7.',
        'memo unset, long': b'\x80\x02j\xff\xff\xff\x7f.',
        'string beyond': b'X\xff\xff\xff\xffabc.',
        'bad utf-8': b'X\2\0\0\0\xff\xff.', 'no stop': b'\x80\x02}', 'empty': b'',
        'only stop': b'.',
        'pop below': b'0.', 'pop below a mark': b'N(0.', 'setitem below a mark': b'}(K\1K\2s.',
        'odd items': b'}(K\1u.', 'items of a list': b'](K\1K\2u.', 'append to a dict': b'}K\1a.',
        'build a list': b']}b.', 'tuple without mark': b't.', 'global without end': b'cos' * 200,
        'number': b'K\5.', 'list of nothing': b'].',
        'self': b'}q\0' + text('state_dict') + b'h\0s.',
        'persistent id': b'K\1Q.', 'persistent tuple': b'(' + text('module') + b'NNNNtQ.',
        'rebuild of nothing': glob('torch._utils._rebuild_tensor_v2') + b')R.',
        'rebuild of strings': glob('torch._utils._rebuild_tensor_v2') + b'('
                              + text('a') * 6 + b'tR.',
        'parameter of nothing': glob('torch._utils._rebuild_parameter') + b'(NNNtR.',
        'ordered dict of numbers': glob('collections.OrderedDict') + b'](K\1K\2e\x85R.',
        'newlines in names': b'\x80\x02' + pickled_dict([('a\nb\r\x1b[31m', tensor(
            'f32', '0', 16, 99, [1], [1]))]) + b'.',
    }
    for what, args in (('one past the end', (16, 1, [4, 4], [4, 1])),
                       ('stride past the end', (16, 0, [4, 4], [5, 1])),
                       ('huge stride', (16, 0, [2, 2], [big, 1])),
                       ('huge shape, stride 0', (16, 0, [big, 2], [0, 0])),
                       ('huge storage', (big, 0, [4, 4], [4, 1])),
                       ('storage too small', (15, 0, [3, 5], [5, 1])),
                       ('negative offset', (16, -1, [4, 4], [4, 1])),
                       ('negative stride', (16, 15, [4, 4], [-4, 1])),
                       ('negative shape', (16, 0, [-4, -4], [4, 1])),
                       ('ranks differ', (16, 0, [4, 4], [1])),
                       ('many dimensions', (16, 0, [1] * 50, [1] * 50))):
        bodies[what] = b'\x80\x02' + pickled_dict([('emb.weight',
                                                    tensor('f32', '0', *args))]) + b'.'
    for what, body in bodies.items():
        path = raw_zip(in_folder('evil'), body, [('0', bytes(64))])
        refused(f'pickle, {what}', path, 'evil: ')
    check('nothing was run', not os.path.exists(marker))
    model = make_model(V=2, D=1, A=1, F=1, L=1)
    made = torch_of(model)
    made.items = [i for i in made.items if i[0] not in ('emb.weight', 'head.weight')]
    for name in ('emb.weight', 'head.weight'):
        made.view(name, '0', 2, 0, (1 << 24, 1), (0, 1))
    refused('a small file makes a huge model', made.zip(in_folder('evil')), 'bytes in a file of')


@case
def hostile_zips():
    model = make_model(**SMALL)
    made = torch_of(model)
    path = in_folder('bad.zip')
    refused('deflated', made.zip(path, method=zipfile.ZIP_DEFLATED), 'stored')
    refused('missing storage', made.zip(path, skip=('11',)), 'data/11')
    made.zip(path)
    with open(path, 'rb') as file:
        good = file.read()
    for n in list(range(0, 40)) + [len(good) // 2, len(good) - 1, len(good) - 22, len(good) - 100]:
        with open(path, 'wb') as file:
            file.write(good[:n])
        refused(f'cut at {n}', path, 'bad.zip')
    end = good.rfind(b'PK\5\6')
    for at, value in ((end + 10, 0xFFFE), (end + 12, 0xFFFFFFF0), (end + 16, 0xFFFFFFF0),
                      (end + 16, 5), (end + 12, 100)):
        data = bytearray(good)
        struct.pack_into('<H' if at == end + 10 else '<I', data, at, value)
        with open(path, 'wb') as file:
            file.write(data)
        refused(f'zip end record {at - end} {value:x}', path, 'zip')
    first = good.find(b'PK\1\2')
    for at, form, value in ((8, '<H', 1), (10, '<H', 8), (20, '<I', 5), (24, '<I', NONE - 1),
                            (42, '<I', NONE - 1), (42, '<I', NONE), (28, '<H', 65535),
                            (42, '<I', 7)):
        data = bytearray(good)
        struct.pack_into(form, data, first + at, value)
        with open(path, 'wb') as file:
            file.write(data)
        refused(f'zip entry {at} {value:x}', path, 'bad.zip')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'no checkpoint')
    refused('another zip', path, 'data.pkl')
    with open(widen_zip(made.zip(path)), 'r+b') as file:
        file.seek(-(22 + 3 + 12), 2)
        file.write(struct.pack('<Q', (1 << 64) - 1))
    refused('zip64 record far away', path + '64', 'bad.zip64')
    made.order = '>'
    made.zip(path)
    with open(path, 'rb') as file:
        data = file.read().replace(b'big', b'mid')
    with open(path, 'wb') as file:
        file.write(data)
    refused('unknown byte order', path, 'mid')


@case
def hostile_safetensors():
    model = make_model(**SMALL)
    path = in_folder('bad.st')

    def edited(what, words, edit, **more):
        refused(f'safetensors, {what}', safetensors(path, st_of(model), edit, **more), words)

    def put(key, value):
        return lambda header: header['emb.weight'].__setitem__(key, value)
    n = 37 * 24 * 4
    edited('hole', 'expected', lambda h: h['emb.weight'].update(shape=[36, 24],
                                                                data_offsets=[96, n]))
    edited('overlap', 'expected', lambda h: h['ln_out.bias'].update(data_offsets=[0, 96]))
    edited('bytes after', 'the file at', None, tail=b'xyz')
    edited('beyond the file', 'emb.weight', put('data_offsets', [1 << 40, (1 << 40) + n]))
    edited('unknown dtype', ('emb.weight', 'F4'), put('dtype', 'F4'))
    edited('dtype is a list', 'emb.weight', put('dtype', [[]]))
    edited('wrong dtype', 'emb.weight', put('dtype', 'F16'))
    edited('shape product', ('emb.weight', str(n)), put('shape', [1 << 32, 1 << 32, 24]))
    edited('negative', 'JSON', put('shape', [-37, -24]))
    edited('fraction', 'emb.weight', put('shape', [37.0, 24]))
    edited('true', 'emb.weight', put('shape', [True, 888]))
    edited('huge number', 'JSON', put('shape', [10 ** 4000]))
    edited('backwards', 'emb.weight', put('data_offsets', [n, 0]))
    edited('three offsets', 'emb.weight', put('data_offsets', [0, n, n]))
    edited('extra field', 'emb.weight', put('more', 1))
    edited('not an object', 'emb.weight', lambda h: h.update({'emb.weight': 5}))
    edited('long name', 'x...', lambda h: h.update({'x' * 100000: h['emb.weight']}))
    for what, head in (('deep', b'{"__metadata__":' + b'[' * 100000 + b']' * 100000 + b'}'),
                       ('deep objects', b'{"a":' * 100000),
                       ('two keys', b'{"head.weight":1,"head.weight":2}'), ('cut', b'{"a":'),
                       ('not utf-8', b'{"\xff":1}'), ('NaN', b'{"a":NaN}'),
                       ('many lists', b'{"a":[' + b'[],' * 1300000 + b'[]]}'),
                       ('no tensors', b'{}')):
        with open(path, 'wb') as file:
            file.write(struct.pack('<Q', len(head)) + head)
        refused(f'safetensors, {what}', path, 'bad.st')
    for length in (1 << 62, (1 << 64) - 1, 1000, 100 << 20):
        with open(path, 'wb') as file:
            file.write(struct.pack('<Q', length) + b'{}')
        refused(f'safetensors, header of {length}', path, str(length))


@case
def hostile_ggmf():
    model = make_model(**SMALL)
    path = ggmf(in_folder('bad.bin'), model)
    with open(path, 'rb') as file:
        good = file.read()
    for what, at, value, words in (
            ('version', 4, 102, '102'), ('quantized', 20, 7, 'Q5_0'),
        ('tensor type', 32, 8, 'Q5_1'),
            ('rank', 24, 0, 'dimensions'), ('rank', 24, 9, 'dimensions'),
        ('name', 28, NONE, 'dimensions'),
            ('shape', 36, NONE, 'bad.bin'), ('vocabulary', 8, 38, ('n_vocab', '37', '38')),
            ('width', 12, 25, ('n_embd', '24', '25')), ('layers', 16, 3, ('n_layer', '2', '3'))):
        data = bytearray(good)
        struct.pack_into('<I', data, at, value)
        with open(path, 'wb') as file:
            file.write(data)
        refused(f'ggmf, {what}', path, words)
    for n in (4, 20, 24, 30, 40, 100, len(good) - 1):
        with open(path, 'wb') as file:
            file.write(good[:n])
        refused(f'ggmf cut at {n}', path, 'bad.bin')
    with open(path, 'wb') as file:
        file.write(good + good[24:24 + 12 + 8 + 10 + 37 * 24 * 4])
    refused('ggmf, a tensor twice', path, 'emb.weight')


@case
def other_files():
    for what, data, words in (
            ('nothing', b'', 'empty'), ('noise', bytes(range(200, 250)), 'kind of checkpoint'),
            ('GGUF', b'GGUF' + bytes(60), 'GGUF'),
        ('own', b'RWKV\r\n\x1a\n' + bytes(99), 'converted'),
            ('pickle', b'\x80\x04N.', 'pickle'),
        ('LFS', b'version https://git-lfs.github.com/spec/v1\n',
                                                 'LFS'), ('page', b'<!DOCTYPE html>', 'web page')):
        path = in_folder('file\nname')
        with open(path, 'wb') as file:
            file.write(data)
        refused(what, path, words)
    refused('no file', in_folder('none'), 'none')
    os.mkdir(in_folder('folder'))
    refused('a folder', in_folder('folder'), 'directory', target=in_folder('x'))
    if hasattr(os, 'mkfifo'):
        os.mkfifo(in_folder('pipe'))
        refused('a pipe', in_folder('pipe'), 'regular')


@case
def output_file():
    model = make_model(**SMALL)
    path = torch_of(model).zip(in_folder('in.pth'))
    with open(path, 'rb') as file:
        before = file.read()
    os.link(path, in_folder('hard'))
    os.symlink('in.pth', in_folder('soft'))
    for name in ('in.pth', 'hard', 'soft', './in.pth'):
        refused(f'output {name} is the input', path, 'input', target=in_folder(name))
    with open(path, 'rb') as file:
        same('the input is whole', file.read(), before)
    refused('no such folder', path, 'nowhere', target=in_folder('nowhere/x'))
    refused('output is a folder', path, 'regular', target=FOLDER)
    if os.path.exists('/dev/full'):
        refused('a device', path, '/dev/full', target='/dev/full')
        check('the device is still one', stat.S_ISCHR(os.stat('/dev/full').st_mode))
    with open(in_folder('old'), 'wb') as file:
        file.write(b'old')
    refused('no room', path, ('old', 'too large'), target=in_folder('old'), before=limit_size)
    with open(in_folder('old'), 'rb') as file:
        same('the old file stays', file.read(), b'old')
    os.symlink('old', in_folder('link'))
    same('through a link', run(path, in_folder('link'))[0], 0)
    check('the link stays', os.path.islink(in_folder('link')))
    compare('an old file is replaced', in_folder('old'), model)
    if os.getuid() != 0:
        os.mkdir(in_folder('locked'), 0o500)
        refused('a locked folder', path, 'denied', target=in_folder('locked/x'))


def limit_size():
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))


def hear_signals():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell's background jobs ignore


@case
def interrupted():
    path = torch_of(make_model(V=3000, D=200, A=200, F=800, L=1)).zip(in_folder('slow'))
    for number in (signal.SIGINT, signal.SIGTERM):
        seen = []

        def kill(process):
            stop = time.time() + 20
            while time.time() < stop and process.poll() is None:
                if any(name.endswith('.part') for name in os.listdir(FOLDER)):
                    seen.append(1)
                    process.send_signal(number)
                    return
        code, errors, _ = run(path, path + '.rwkv', '--type', 'f16', before=hear_signals, kill=kill)
        check(f'signal {number}', not seen or code == 130 and errors.count('\n') == 1,
              f'{code} {errors}')
        same('nothing left', [n for n in os.listdir(FOLDER) if n != 'slow'
                              and not (code == 0 and n.endswith('.rwkv'))], [])


class System:
    """Calls of the tool on files are counted, and one of them fails, or it and all later ones."""
    CALLS = ('open', 'fstat', 'read', 'readinto', 'readline', 'seek', 'write', 'close', 'replace',
             'remove')

    def __init__(self, calls=CALLS, at=0, failure=None, for_ever=False):
        self.calls, self.at, self.failure, self.for_ever = calls, at, failure, for_ever
        self.count, self.hit, self.paths = 0, None, {}

    def open(self, path, *arguments, **options):
        return Watched(self, self.call(path, 'open', open, path, *arguments, **options), path)

    def call(self, path, name, function, *arguments, **options):
        self.count += name in self.calls
        due = self.count == self.at or self.for_ever and self.count > self.at
        if name not in self.calls or not self.at or not due:
            return function(*arguments, **options)
        self.hit = self.hit or (name, path)
        return self.failure(name, function, *arguments)


class Watched:
    """A file, or the module os."""

    def __init__(self, system, real, about=None):
        self.system, self.real, self.about = system, real, about

    def __getattr__(self, name):
        real = getattr(self.real, name)
        counts = name in System.CALLS and not getattr(self.real, 'closed', False)
        return partial(self.system.call, self.about, name, real) if counts else real

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.real.close()


def broken(name, function, *arguments):
    if name == 'close':
        function()
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def half(name, function, *arguments):
    """Does a half of what was asked for, and says so."""
    if name == 'read':
        return function(arguments[0] // 2)
    data = memoryview(arguments[0]).cast('B')
    return function(data[:(len(data) + 1) // 2])


def no_memory(*arguments):
    raise MemoryError


def control_c(*arguments):
    raise KeyboardInterrupt


def convert_with(tool, system, *arguments):
    """(status, standard error); -1: an exception gets out."""
    tool.open, tool.os = system.open, Watched(system, os)
    before, heard = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = [TOOL, *arguments]
    try:
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = tool.main()
    except BaseException as error:
        return -1, repr(error)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, heard)
    return code, errors.getvalue()


def check_failing(tool, arguments, good, system):
    """One conversion; False if nothing has failed in it."""
    path = arguments[1]
    with open(path, 'wb') as file:
        file.write(b'old')
    before = sorted(os.listdir(FOLDER))
    code, errors = convert_with(tool, system, *arguments)
    what = f'{system.hit} {getattr(system.failure, "__name__", "")} {system.at}' + '+' * system.for_ever
    with open(path, 'rb') as file:
        same(f'{what}: the output', file.read(), good if code == 0 else b'old')
    if not system.hit:
        same(f'{what}: no failure', (code, errors.count('Error')), (0, 0))
        return False
    name, about = system.hit
    expected = {broken: (1,), no_memory: (1,), control_c: (130,),
                half: (0,) if name == 'write' else (0, 1)}[system.failure]
    check(f'{what}: status', code in expected, f'{code} {errors}')
    if code:
        check(f'{what}: one line', errors.count('\n') == 1 and len(errors) < 1000, errors)
    if code and system.failure is broken and about and not (system.for_ever and 'write' in system.calls):
        about = path if about.endswith('.part') else about
        same(f'{what}: message', errors, f'{about}: {os.strerror(errno.EIO)}\n')
    for left in set(os.listdir(FOLDER)) - set(before):       # only if it cannot even be removed
        check(f'{what}: {left} is left', system.for_ever and 'remove' in system.calls)
        with open(in_folder(left), 'rb') as file:
            data = file.read()
            check(f'{what}: {left} looks like a model', data[:4] != b'RWKV' or data == good)
        os.remove(in_folder(left))
    return True


@case
def every_call_fails():
    """Each call on a file fails, is cut short, or finds no memory; and the user gives up at each."""
    spec = importlib.util.spec_from_file_location('convert_pth', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    model, words = make_model(V=20, D=4, A=4, F=4, L=1), make_model(V=260, D=4, A=4, F=4, L=1)
    inputs = ((1, torch_of(model).zip(in_folder('zip'))),
              (1, legacy_file(in_folder('legacy'), torch_of(model))),
              (1, safetensors(in_folder('safetensors'), st_of(model))),
              (1, ggmf(in_folder('ggmf'), model)),
              (9, torch_of(words).zip(in_folder('words')), '--vocab', write_vocab(world_lines(WORDS[:3]))))
    reads = ('read', 'readinto')
    for i, (step, path, *options) in enumerate(inputs):
        arguments = (path, in_folder('out'), *options)
        code, errors = convert_with(tool, System(), *arguments)
        same(f'{path}: converted', (code, errors.count('Error')), (0, 0))
        with open(arguments[1], 'rb') as file:
            good = file.read()
        check(f'{path}: a model', good[:4] == b'RWKV' and len(good) > 2000)
        for calls, failure, for_ever in (
                (System.CALLS, broken, False), (System.CALLS, broken, True),
                (('write', 'close'), broken, True), (('write',), half, False), (('write',), half, True),
                (reads, half, False), (reads, half, True),
                (System.CALLS, no_memory, False), (System.CALLS, control_c, False)):
            if i and calls != reads and failure != broken:     # what follows is the same for all
                continue
            at = 1
            while check_failing(tool, arguments, good, System(calls, at, failure, for_ever)):
                at += step
            check(f'{path}: {calls}: {at} calls', at > 20)
            check_failing(tool, arguments, good, System())


@case
def usage():
    code, errors, _ = run('-h')
    same('help', (code, errors), (0, ''))
    for arguments in ((), ('a',), ('a', 'b', 'c'), ('a', 'b', '--type', 'q8'),
                      ('a', 'b', '--what')):
        same(f'usage {arguments}', run(*arguments)[0], 2)


# ------------------------------------------------------------------------------------ vocabularies

# What a 20B section has besides: merges {(left, right): merged}, runs {spaces: id}, specials
# [(id, text)], bytes of the Unicode tables, properties of all code points, decompositions
# {code point: text}, compositions {(first, second): composite}.
Text20B = namedtuple('Text20B', 'merges runs specials unicode properties decomposed composed')


class Words:
    """Takes arrays from a section, one after another."""

    def __init__(self, section):
        self.section, self.at = section, 0

    def take(self, n, code='I'):
        run = array(code)
        begin, self.at = self.at, self.at + n * run.itemsize
        run.frombytes(self.section[begin:self.at])
        return run


def groups(run, n):
    return list(zip(*(run[i::n] for i in range(n))))


def read_vocabulary(what, section, V):
    """(tokens by id, cells, Text20B or None), after checking all of the section's rules."""
    words = Words(section)
    n_cells, n_bytes, n_pairs, n_words = words.take(4)
    offsets, cells = words.take(V + 1), words.take(3 * n_cells)
    first, pairs = (words.take(V + 1), words.take(2 * n_pairs)) if n_pairs else ([], [])
    begin = words.at
    blob = section[begin + 4 * n_words:][:n_bytes]
    text = read_20b(what, words, V, first, pairs, blob, offsets[V]) if n_words else None
    check(f'{what}: section', offsets[0] == 0 and words.at == begin + 4 * n_words
          and all(a <= b for a, b in zip(offsets, offsets[1:])) and len(section) % 64 == 0
          and (n_words or offsets[V] == n_bytes and n_pairs == 0) and len(blob) == n_bytes
          and len(section) - words.at - n_bytes < 64 and not any(section[words.at + n_bytes:]))
    return [blob[offsets[i]:offsets[i + 1]] for i in range(V)], cells, text


def read_20b(what, words, V, first, pairs, blob, end):
    n_runs, n_specials, n_blocks, n_decomposed, n_sequence, n_composed, *none = words.take(8)
    runs, specials = words.take(n_runs), groups(words.take(3 * n_specials), 3)
    begin = words.at
    blocks, properties = words.take(8704, 'H'), words.take(128 * n_blocks, 'H')
    decomposed, sequence = groups(words.take(2 * n_decomposed), 2), words.take(n_sequence)
    composed = groups(words.take(3 * n_composed), 3)
    pairs = groups(pairs, 2)
    merges = {(i, right): made for i in range(V) for right, made in pairs[first[i]:first[i + 1]]}
    for part, rows in (('merges', list(merges)), ('decompositions', decomposed),
                       ('compositions', composed)):
        check(f'{what}: {part} ascend', all(a < b for a, b in zip(rows, rows[1:])))
    check(f'{what}: merges, all', len(merges) == len(pairs) and first[0] == 0)
    check(f'{what}: texts', none == [0, 0] and set(blocks) == set(range(n_blocks))
          and blocks[0] == 0 and specials == sorted(specials, key=lambda row: (-row[2], row[0]))
          and end + sum(length for _, _, length in specials) == len(blob)
          and all(end <= begin for _, begin, _ in specials))
    return Text20B(merges, {n: i for n, i in enumerate(runs, 1) if i != NONE},
                   [(i, blob[begin:begin + length]) for i, begin, length in specials],
                   words.section[begin:words.at],
                   array('H', (p for b in blocks for p in properties[128 * b:128 * b + 128])),
                   {c: ''.join(map(chr, sequence[n >> 3:(n >> 3) + (n & 7)]))
                    for c, n in decomposed},
                   {(a, b): c for a, b, c in composed})


def check_trie(what, tokens, cells):
    """Every token is found, the cells hold no other, and unused ones are as they must be."""
    n = len(cells) // 3
    base, parent, token = cells[0::3], cells[1::3], cells[2::3]
    good = base[0] == 1 and parent[0] == NONE
    reached = {0}
    for i, text_ in enumerate(tokens):
        cell = 0
        for c in text_:
            step = base[cell] + c
            if base[cell] > n or step >= n or parent[step] != cell:
                good = False
                break
            cell = step
            reached.add(cell)
        good = good and (not text_ or token[cell] == i + 1)
    check(f'{what}: every token is in the trie', good)
    inner = {parent[c] for c in reached if c}
    same(f'{what}: tokens in the trie', sum(t > 0 for t in token), sum(1 for t in tokens if t))
    check(f'{what}: cells', all(
        (base[c] <= n if c in inner else base[c] == NONE) if c in reached
        else (base[c], parent[c], token[c]) == (0, NONE, 0) for c in range(n)))


def world_lines(words):
    """Ids 1..256 for the bytes, then the words."""
    lines = [f'{b + 1} {ascii(chr(b)) if b < 128 else repr(bytes([b]))} 1' for b in range(256)]
    for i, word in enumerate(words, 257):
        lines.append(f'{i} {word!r} {len(word.encode() if isinstance(word, str) else word)}')
    return lines


WORDS = ['the', 'then', 'the ', "don't", 'a"b', "'\"", 'é', '日本', '日本語', '🙂', b'\xe6\x97',
         b'\xff\xfe',
         'x' * 128, '\t\t', '\r\n', '\\\\', '\\n', ' ' * 20, 'zzzzy', b"'\"\xff\\"]


def write_vocab(lines, end='\n', name='vocab.txt'):
    path = in_folder(name)
    with open(path, 'wb') as file:
        file.write(''.join(line + end for line in lines).encode('utf-8', 'surrogateescape'))
    return path


@case
def world_vocabulary():
    lines = world_lines(WORDS)
    count = 257 + len(WORDS)
    expected = [b''] + [bytes([b]) for b in range(256)] + [
        w.encode() if isinstance(w, str) else w for w in WORDS]
    for V, end in ((count, '\n'), (count + 5, '\r\n'), (384, '\n')):
        model = make_model(V, 2, 2, 2, 1)
        path = torch_of(model, 'f16').zip(in_folder(f'world{V}'))
        target, errors = accepted('world', path, '--vocab', write_vocab(lines, end))
        header, section = compare(f'World {V}', target, model, 'f16')
        same('kind', header['tokenizer'], 2)
        same('one line', errors.count('\n'), 1)
        tokens, cells, text = read_vocabulary(f'World {V}', section, V)
        same(f'World {V}: tokens', tokens, expected + [b''] * (V - count))
        check_trie(f'World {V}', tokens, cells)
        same('no merges', text, None)
    for V in (count - 1, 385, 1024):
        path = torch_of(make_model(V, 2, 2, 2, 1)).zip(in_folder('misfit'))
        refused(f'World of {count} for {V}', path, (str(V), 'vocab.txt'), '--vocab',
                write_vocab(lines))
    draw = random.Random(9)
    words = sorted({''.join(draw.choice('abcdé') for _ in range(draw.randint(2, 9)))
                    for _ in range(4000)})
    V = 257 + len(words)
    path = torch_of(make_model(V, 1, 1, 1, 1)).zip(in_folder('many'))
    target, _ = accepted('many words', path, '--vocab', write_vocab(world_lines(words)))
    tokens, cells, _ = read_vocabulary('many words', read_model(target)[2], V)
    same('many words', tokens[257:], [w.encode() for w in words])
    check_trie('many words', tokens, cells)
    check('the trie is dense', len(cells) // 3 < 1.1 * sum(c != NONE for c in cells[1::3]) + 300)


@case
def hostile_world():
    path = torch_of(make_model(300, 2, 2, 2, 1)).zip(in_folder('m'))
    good = world_lines([])
    evil = "__import__('os').system('touch PWNED')"
    for what, line, words in (
            ('wrong length', "257 'abc' 4", ('3', '4')), ('empty', "257 '' 0", ('0', '1024')),
            ('long', f"257 {'y' * 1025!r} 1025", ('1025', '1024')),
        ('escape', r"257 '\q' 2", 'escape'),
            ('half escape', r"257 '\x4' 2", 'escape'), ('surrogate', r"257 '\ud800' 3", 'literal'),
            ('beyond Unicode', r"257 '\UFFFFFFFF' 4", 'literal'),
        ('u in bytes', r"257 b'\u0041' 1", 'escape'),
            ('not ascii', "257 b'é' 2", 'literal'), ('octal', r"257 '\101' 1", 'escape'),
            ('id twice', "256 'zz' 2", ('256', 'line 256')),
        ('token twice', "257 'a' 1", ('257', 'line 98')),
            ('id 0', "0 'zz' 2", 'id 0'), ('id too large', "300 'zz' 2", ('300', 'n_vocab')),
            ('huge id', "999999999 'zz' 2", '999999999'),
        ('huger id', "9" * 4000 + " 'zz' 2", 'expected'),
            ('negative id', "-1 'zz' 2", 'expected'), ('expression', f'257 {evil} 3', 'expected'),
            ('sum', "257 'a'+'b' 2", 'expected'), ('f-string', "257 f'{1}' 1", 'expected'),
            ('list', '257 ' + '[' * 2000 + ' 1', 'expected'), ('quotes', "257 'a'b' 3", 'expected'),
            ('open', "257 'abc 3", 'expected'), ('no length', "257 'abc'", 'expected'),
            ('control', "257 \x1b[31m 3", 'expected'), ('a long line', 'x' * (10 << 20), '8192'),
            ('bad utf-8', "257 '\udcff' 1", 'literal')):
        vocab = write_vocab(good + [line])
        refused(f'World, {what}', path, (vocab, 'line 257') + (words
                                                               if isinstance(words, tuple)
                                                               else (words,)),
                '--vocab', vocab)
    refused('a byte is missing', path, ('255', '32'), '--vocab', write_vocab(good[:32] + good[33:]))
    refused('an empty vocabulary', path, ('0 of', '256'), '--vocab', write_vocab([]))
    refused('blank lines', path, 'at most', '--vocab', write_vocab(good + [' ' * 8000] * 1000))
    refused('no vocabulary', path, 'none.txt', '--vocab', in_folder('none.txt'))
    refused('a folder', path, 'irectory', '--vocab', FOLDER)
    check('nothing was run', not os.path.exists('PWNED') and not os.path.exists(in_folder('PWNED')))
    refused('the output is the vocabulary', path, 'input', '--vocab', write_vocab(good),
            target=in_folder('vocab.txt'))


@case
def byte_vocabulary():
    for V, options in ((256, ()), (256, ('--vocab', 'bytes')), (300, ('--vocab', 'bytes'))):
        model = make_model(V, 3, 3, 3, 1)
        target, errors = accepted('bytes', torch_of(model).zip(in_folder(f'bytes{V}')), *options)
        header, section = compare(f'bytes {V}', target, model)
        same('kind', header['tokenizer'], 1)
        tokens, cells, _ = read_vocabulary('bytes', section, V)
        same('bytes: tokens', tokens, [bytes([b]) for b in range(256)] + [b''] * (V - 256))
        check_trie('bytes', tokens, cells)
    for V in (255, 50277):
        path = torch_of(make_model(V, 1, 1, 1, 1)).zip(in_folder('misfit'))
        refused(f'bytes for {V}', path, ('256', str(V)), '--vocab', 'bytes')


def gpt2():
    direct = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b]
    rest = [b for b in range(256) if b not in direct]
    return {**{b: chr(b) for b in direct}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


MERGES = ['Ġ Ġ', 't h', 'th e', 'Ã ©', 'b c', 'a b', 'ab c']     # abc is never reached: bc is made


def tokenizer_json():
    """A tokenizer of the 20B kind: 2 specials, 243 bytes, 7 merges, 3 runs of spaces."""
    char = gpt2()
    usable = [b for b in range(256) if b not in (0xC0, 0xC1) and b < 0xF5]
    vocab = {'<|endoftext|>': 0, '<|é|>': 1}
    for b in usable:
        vocab[char[b]] = len(vocab)
    for merge in MERGES:
        vocab[merge.replace(' ', '')] = len(vocab)
    flags = {'single_word': False, 'lstrip': False, 'rstrip': False}
    added = [{'id': i, 'content': text, 'special': True, 'normalized': False, **flags}
             for text, i in list(vocab.items())[:2]]
    added += [{'id': len(vocab) + i, 'content': ' ' * (4 - i), 'special': False,
               'normalized': True, **flags} for i in range(3)]
    tokens = [b'', b''] + [bytes([b]) for b in usable] + [
        b'  ', b'th', b'the', 'é'.encode(), b'bc', b'ab', b'abc', b'    ', b'   ', b'  ']
    root = {'version': '1.0', 'added_tokens': added, 'normalizer': {'type': 'NFC'},
            'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': False},
            'model': {'type': 'BPE', 'dropout': None, 'vocab': vocab, 'merges': list(MERGES)}}
    return root, tokens


def write_json(root, name='tokenizer.json'):
    with open(in_folder(name), 'w', encoding='utf-8') as file:
        json.dump(root, file)
    return in_folder(name)


def encode_slowly(token, tokens, merges):
    """Byte-pair encoding, word for word: the merge of lowest rank first, the leftmost of these."""
    parts, id_of = [bytes([b]) for b in token], {t: i for i, t in enumerate(tokens)}
    rank_of = {(tokens[a], tokens[b]): made for (a, b), made in merges.items()}
    while True:
        ranks = [rank_of.get(pair, NONE) for pair in zip(parts, parts[1:])]
        if min(ranks, default=NONE) == NONE:
            return [id_of[part] for part in parts]
        at = ranks.index(min(ranks))
        parts[at:at + 2] = [parts[at] + parts[at + 1]]


@case
def bpe_vocabulary():
    root, expected = tokenizer_json()
    ids = root['model']['vocab']
    merges = {tuple(ids[half] for half in m.split(' ')): ids[m.replace(' ', '')] for m in MERGES}
    pairs = json.loads(json.dumps(root))
    pairs['model']['merges'] = [m.split(' ') for m in MERGES]
    bare = json.loads(json.dumps(root))
    del bare['added_tokens'][2:]
    for entry in bare['added_tokens']:
        del entry['normalized'], entry['lstrip']
    V = len(expected) + 1
    model = make_model(V, 2, 2, 2, 1)
    path = torch_of(model).zip(in_folder('bpe'))
    for what, made, count, runs in (
            ('20B', root, V - 1, {4: 252, 3: 253, 2: 254}), ('20B, no runs', bare, V - 4, {}),
            ('20B, merges as pairs', pairs, V - 1, {4: 252, 3: 253, 2: 254})):
        target, _ = accepted(what, path, '--vocab', write_json(made))
        header, section = compare(what, target, model)
        same('kind', header['tokenizer'], 3)
        tokens, cells, text = read_vocabulary(what, section, V)
        same(f'{what}: tokens', tokens, expected[:count] + [b''] * (V - count))
        same(f'{what}: merges', text.merges, merges)
        same(f'{what}: runs', text.runs, runs)
        same(f'{what}: specials', text.specials, [(0, b'<|endoftext|>'), (1, '<|é|>'.encode())])
        base = tokens[:252]
        same('abc', encode_slowly(b'abc', base, merges), [ids['a'], ids['bc']])
        check_trie(what, [t if encode_slowly(t, base, merges) == [i] else b''
                          for i, t in enumerate(base)], cells)
    char = gpt2()[0xC0]                       # a token of bytes that none of their own stands for
    root['model']['vocab'].update({char + char: 255, char + char + 'a': 256})
    root['model']['merges'].append(char + char + ' a')
    path = torch_of(make_model(257, 1, 1, 1, 1)).zip(in_folder('c0'))
    target, _ = accepted('20B, bytes that are never text', path, '--vocab', write_json(root))
    tokens, _, text = read_vocabulary('20B, C0', read_model(target)[2], 257)
    same('20B, C0', (tokens[256], text.merges[255, root['model']['vocab']['a']]),
         (b'\xc0\xc0a', 256))
    root, _ = tokenizer_json()
    for wrong in (len(expected) - 1, 257 + 128, 65536):
        bad = torch_of(make_model(wrong, 1, 1, 1, 1)).zip(in_folder('misfit'))
        refused(f'20B for {wrong}', bad, (str(len(expected)), str(wrong)), '--vocab',
                write_json(root))


@case
def unicode_tables():
    """Against unicodedata, whatever edition it is of; a constant says that all give the same."""
    root, expected = tokenizer_json()
    path = torch_of(make_model(len(expected), 1, 1, 1, 1)).zip(in_folder('m'))
    target, _ = accepted('20B', path, '--vocab', write_json(root))
    _, _, text = read_vocabulary('20B', read_model(target)[2], len(expected))
    edition = tuple(map(int, unicodedata.unidata_version.split('.')))
    same(f'the tables, made of Unicode {edition[0]}', zlib.crc32(text.unicode), 0xB00052B1)
    check_classes(text.properties, edition)
    check_normal_form(text)


def check_classes(properties, edition):
    """All that this Python knows of Unicode 16 must be so; what later editions add is `other`."""
    white = '\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000' + ''.join(
        map(chr, range(0x2000, 0x200B)))
    same('classes', [sum(p & 3 == kind for p in properties) for kind in (1, 2, 3)],
         [141028, 1911, 25])
    wrong = []
    for c, p in enumerate(properties):
        category = unicodedata.category(chr(c))
        kind = 3 if chr(c) in white else {'L': 1, 'N': 2}.get(category[0], 0)
        if p & 3 != kind and category != 'Cn' and (edition < (16, 1) or p & 3):
            wrong.append(f'{c:04X}')
    same('classes against unicodedata', wrong, [])


def check_normal_form(text):
    """Unicode 9 has 814 marks of a class above 0 and 2060 decompositions besides Hangul."""
    marks = {c: p >> 2 & 255 for c, p in enumerate(text.properties) if p >> 2 & 255}
    same('marks', (len(marks), len(text.decomposed), len(text.composed)), (814, 2060, 940))
    same('classes of marks', [c for c, mark in marks.items()
                              if mark != unicodedata.combining(chr(c))], [])
    same('marks of Unicode 3.2', [c for c in range(0x110000) if c not in marks
                                  and unicodedata.ucd_3_2_0.combining(chr(c))], [])
    same('decompositions', [c for c, parts in text.decomposed.items()
                            if parts != unicodedata.normalize('NFD', chr(c))], [])
    same('bit 10', {c for c, p in enumerate(text.properties) if p >> 10 & 1}, set(text.decomposed))
    same('bit 12', {c for c, p in enumerate(text.properties) if p >> 12},
         {c for c in text.decomposed if unicodedata.normalize('NFC', chr(c)) != chr(c)})
    pairs = {tuple(int(part, 16) for part in unicodedata.decomposition(chr(c)).split()): c
             for c in text.decomposed if unicodedata.normalize('NFC', chr(c)) == chr(c)}
    same('compositions', text.composed, pairs)
    same('bit 11', {c for c, p in enumerate(text.properties) if p >> 11 & 1},
         {b for _, b in pairs} | {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)})
    for c, mark in ((0x1DF6, 0), (0x1DF5, 230), (0x08D3, 0), (0x08D4, 230), (0x1E944, 230),
                    (0x0EBA, 0), (0x11938, 0)):                # at both sides of the edge of 9
        same(f'{c:04X}', (marks.get(c, 0), c in text.decomposed), (mark, False))


@case
def hostile_bpe():
    path = torch_of(make_model(256, 2, 2, 2, 1)).zip(in_folder('m'))

    def edited(what, words, edit):
        root, _ = tokenizer_json()
        edit(root)
        words = words if isinstance(words, tuple) else (words,)
        refused(f'20B, {what}', path, ('tokenizer.json',) + words, '--vocab', write_json(root))

    def model(what, words, **changes):
        edited(what, words, lambda r: r['model'].update(changes))

    def vocab(what, words, text, i=255):
        edited(what, words, lambda r: r['model']['vocab'].update({text: i}))

    def merge(what, words, *merges, at=7):
        def edit(root):
            root['model']['vocab'].update({'y' * 256: 255, 'y' * 257: 256, 'y' * 513: 257})
            root['model']['merges'][at:at] = merges
        edited(what, words, edit)

    def added(what, words, content, i=255, special=False, **flags):
        edited(what, words, lambda r: r['added_tokens'].append(
            {'id': i, 'content': content, 'special': special, **flags}))
    model('kind', 'WordPiece', type='WordPiece')
    edited('normalizer', 'NFKC', lambda r: r['normalizer'].update(type='NFKC'))
    edited('no normalizer', 'normalizer', lambda r: r.update(normalizer=None))
    edited('prefix space', 'True', lambda r: r['pre_tokenizer'].update(add_prefix_space=True))
    edited('no pattern', 'use_regex', lambda r: r['pre_tokenizer'].update(use_regex=False))
    edited('no model', 'model', lambda r: r.pop('model'))
    edited('too many specials', ('259', 'at most 256'), lambda r: r['added_tokens'].extend(
        {'id': 1000 + i, 'content': f'<{i}>', 'special': True} for i in range(257)))
    for name, value in (('dropout', .1), ('unk_token', '<unk>'), ('byte_fallback', True),
                        ('ignore_merges', True), ('end_of_word_suffix', '</w>'),
                        ('continuing_subword_prefix', '##')):
        model(name, (name, str(value)), **{name: value})
    model('vocab is a list', 'vocab', vocab=[])
    model('an empty vocab', ('0 single bytes', 'byte 0'), vocab={}, merges=['t h'])
    model('some bytes', ('2 single bytes', 'byte 0'), vocab={'a': 5, 'b': 6}, merges=['a b'])
    vocab('id twice', ('th', '4'), 'th', 4)
    vocab('id too large', ('99999999', '16777215'), 'th', 99999999)
    vocab('a hole below a large id', ('16777216', '256'), 'zz', (1 << 24) - 1)
    vocab('id is negative', '-1', 'th', -1)
    vocab('id is true', 'th', 'th', True)
    vocab('id is a string', 'th', 'th', '4')
    vocab('id is a fraction', '4.5', 'th', 4.5)
    vocab('no such byte', '\\u65e5', '日')
    vocab('a surrogate', '\\ud800', '\ud800')
    vocab('empty token', ('255', '0 bytes', '1024'), '')
    vocab('long token', ('255', '1025', '1024'), 'y' * 1025)
    edited('missing byte', '65', lambda r: r['model']['vocab'].pop('A'))
    model('no merges', '0 entries', merges=[])
    merge('unknown merge', ('merge 7', 'q'), 'qz q')
    merge('unknown merged', ('merge 7', 'qz'), 'q z')
    merge('merge of a special', ('merge 7', 'endoftext'), '<|endoftext|> t')
    merge('merge of one', 'merge 7', 'q')
    merge('merge of three', 'merge 7', 't h e')
    merge('merge of nothing', 'merge 7', '')
    merge('merge of an empty half', 'merge 7', ' th')
    merge('merge of numbers', 'merge 7', [1, 2])
    merge('merge of lists', 'merge 7', ['t', ['h']])
    merge('merge is null', 'merge 7', None)
    merge('merge twice', ('merge 7', '246', '251'), 't h')
    merge('merges in disorder', ('merge 3', '247', '250'), 'a b', at=2)
    merge('a long merge', ('merge 7', '257', '513', '512'), 'y' * 256 + ' ' + 'y' * 257)
    added('added word', ('255', 'hello'), 'hello')
    added('added nothing', ('255', '0 characters'), '')
    added('added tabs', '255', '\t\t')
    added('added hard spaces', '255', '\xa0\xa0')
    added('added long run', ('255', '256', '257'), ' ' * 257)
    added('added run twice', ('255', 'text is taken'), ' ' * 3)
    added('added id taken', ('7', 'taken'), '     ', 7)
    added('added id twice', ('252', 'taken'), '     ', 252)
    added('added id large', ('16777216', 'range'), '     ', 1 << 24)
    added('special without text', ('255', '0 characters'), '', special=True)
    added('special long', ('255', '1025', '1024'), 'y' * 1025, special=True)
    added('special twice', ('255', 'not its id'), '<|endoftext|>', special=True)
    added('special surrogate', ('255', '\\udcff'), '<\udcff>', special=True)
    added('special normalized', ('255', 'normalized'), '<a>', special=True, normalized=True)
    added('run not normalized', ('255', 'normalized'), '     ', normalized=False)
    added('run stripped', ('255', 'lstrip'), '     ', lstrip=True)
    added('special is a word', ('255', 'single_word', 'None'), '<a>', special=True,
          single_word=None)
    edited('added tokens are numbers', 'id', lambda r: r['added_tokens'].append(5))
    edited('many specials', ('60002', '256'), lambda r: r['added_tokens'].extend(
        {'id': 255 + i, 'content': f'<{i}>', 'special': True} for i in range(60000)))
    long = b'{"model":{"type":"BPE","vocab":{"' + b'y' * 4000000
    for what, data, words in (
            ('deep', b'{"model":' + b'[' * 200000, 'deep'), ('cut', b'{"model":{', 'JSON'),
            ('two models', b'{"model":{},"model":{}}', 'model'),
            ('large', b'{' + b' ' * (10 << 20) + b'}', (str((10 << 20) + 2), str(4 << 20))),
            ('a line of 10 MB', b'{"' + b'y' * (10 << 20) + b'":0}', str(4 << 20)),
            ('a long key', long + b'":1}}}', 'missing'), ('a long key, cut', long, 'JSON'),
            ('number', b'{"model":' + b'1' * 1000000 + b'}', 'JSON'),
            ('bad escape', b'{"model":"\\q"}', 'escape'), ('half escape', b'{"\\u12":0}', 'JSON'),
            ('bad utf-8', b'{"\xff":0}', 'JSON'), ('NUL', b'{\0}', 'JSON'),
            ('NaN', b'{"model":NaN}', 'JSON')):
        with open(in_folder('tokenizer.json'), 'wb') as file:
            file.write(data)
        refused(f'20B, {what}', path, ('tokenizer.json',)
                + (words if isinstance(words, tuple) else (words,)), '--vocab',
                in_folder('tokenizer.json'))


@case
def damaged_bytes():
    """Some hundred files with a few wrong bytes: converted, or refused in one line."""
    sys.path.insert(0, os.path.dirname(TOOL))
    sys.dont_write_bytecode = True
    import convert_pth
    model, draw = make_model(5, 3, 3, 4, 1), random.Random(5)
    sources = [torch_of(model).zip(in_folder('a')), safetensors(in_folder('b'), st_of(model)),
               ggmf(in_folder('c'), model), legacy_file(in_folder('d'), torch_of(model)),
               widen_zip(torch_of(model).zip(in_folder('e')))]
    options = type('Options', (), dict(input=in_folder('z'), output=in_folder('out'), type=None,
                                       vocab=None))
    wrong = []
    for source in sources:
        with open(source, 'rb') as file:
            good = file.read()
        for _ in range(400):
            data = bytearray(good)
            for _ in range(draw.choice((1, 1, 2, 8))):
                data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF,
                                                               draw.randrange(256)))
            if draw.random() < 0.1:
                del data[draw.randrange(len(data)):]
            with open(in_folder('z'), 'wb') as file:
                file.write(data)
            try:
                convert_pth.run(options)
            except convert_pth.Refused as error:
                if '\n' in str(error) or not str(error).startswith(in_folder('z')):
                    wrong.append(str(error))
            except Exception as error:
                wrong.append(f'{source}: {error!r}')
    same('damaged files', wrong[:3], [])


# --------------------------------------------------------------------------------------- reference

class Loader(pickle.Unpickler):
    """Reads torch.save pickles with the standard module, for good files only."""

    def find_class(self, module, name):
        if name == '_rebuild_tensor_v2':
            return lambda storage, offset, shape, strides, *rest: (storage, offset, shape, strides)
        if name == 'OrderedDict':
            return OrderedDict
        return name

    def persistent_load(self, args):
        return args[1], args[2]


def load_torch(path):
    """{name: (shape, values)} of a little-endian file with packed tensors, and its main type."""
    with zipfile.ZipFile(path) as archive:
        folder = next(n for n in archive.namelist() if n.endswith('data.pkl'))[:-8]
        tensors = Loader(io.BytesIO(archive.read(folder + 'data.pkl'))).load()
        model, kinds = OrderedDict(), {}
        for name, ((kind, key), offset, shape, strides) in tensors.items():
            kind = {'FloatStorage': 'f', 'HalfStorage': 'e'}[kind]
            data = archive.read(f'{folder}data/{key}')
            numel, size = math.prod(shape), struct.calcsize(kind)
            model[name] = shape, struct.unpack_from(f'<{numel}{kind}', data, offset * size)
            kinds[name] = kind
    return model, {'f': 'f32', 'e': 'f16'}[kinds['head.weight']]


def compare_quickly(what, path, model, kind):
    """As compare(), with struct doing the conversions: for models of millions of elements."""
    try:
        _, tensors, vocabulary = read_model(path)
    except Broken as error:
        check(what, False, str(error))
        return b''
    for name, (shape, values) in model.items():
        wide = len([n for n in shape if n > 1]) > 1 or name.startswith(('emb', 'head')) or (
            '.weight' in name and '.ln' not in name and not name.startswith('ln'))
        code = 'e' if wide and kind == 'f16' else 'f'
        if name.endswith('time_decay'):
            values = [-math.exp(v) for v in values]
        bits = array('H' if code == 'e' else 'I', struct.pack(f'<{len(values)}{code}', *values))
        if tensors[name] != list(bits):
            check(what, False, name)
            return vocabulary
    check(what, True)
    return vocabulary


def load_npz(path):
    """numpy's .npy files are a header of text before the raw numbers."""
    model = OrderedDict()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            length = struct.unpack_from('<H', data, 8)[0]
            head = data[10:10 + length].decode()
            shape = [int(n) for n in head.split("'shape': (")[1].split(')')[0].split(',')
                     if n.strip()]
            model[name[:-4]] = shape, struct.unpack(f'<{math.prod(shape)}f', data[10 + length:])
    return model


def reference_checkpoints(folder):
    expected = load_npz(os.path.join(folder, 'small.npz'))
    with open(os.path.join(folder, 'manifest.tsv')) as file:
        rows = [line.rstrip('\n').split('\t') for line in file][1:]
    for name, _, outcome, _ in rows:
        source, target = os.path.join(folder, name), in_folder('out.rwkv')
        code, errors, memory = run(source, target)
        if code == 0:
            check(f'{name}: may be accepted', outcome.startswith('ok') or 'empty dict' in outcome)
            header, _, _ = read_model(target)
            if name != 'nan-value.pth':
                kind = {1: 'f32', 2: 'f16', 3: 'bf16'}[header['type']]
                if kind != 'f32':                # vectors were rounded when the file was made, too
                    rounded = OrderedDict(
                        (k, (s, [math.copysign(POSITIVE[kind][nearest16(abs(v), kind)], v) for v in values]))
                        for k, (s, values) in expected.items())
                compare(name, target, expected if kind == 'f32' else rounded, kind)
            os.remove(target)
        else:
            check(f'{name}: may be refused', 'refusal' in outcome, errors)
            check(f'{name}: cleanly', code == 1 and errors.count('\n') == 1 and name in errors
                  and memory < 200, f'{code} {memory} {errors[:300]}')
        same(f'{name}: nothing left', os.listdir(FOLDER), [])
    check('no marker', not os.path.exists('PWNED'))


def reference_models(folder):
    for sub in ('logits', 'storyteller'):
        for name in sorted(os.listdir(os.path.join(folder, sub))):
            if not name.endswith('.pth'):
                continue
            source, target = os.path.join(folder, sub, name), in_folder('out.rwkv')
            vocab = source[:-4] + '.vocab.txt'
            options = ('--vocab', vocab) if os.path.exists(vocab) else ()
            same(f'{name}: accepted', run(source, target, *options)[0], 0)
            model, kind = load_torch(source)
            section = compare_quickly(name, target, model, kind)
            if options:
                tokens, cells, _ = read_vocabulary(name, section, len(model['emb.weight'][1])
                                                   // model['emb.weight'][0][1])
                check_trie(name, tokens, cells)
                with open(vocab, 'rb') as file:
                    same(f'{name}: lengths of the tokens', [len(t) for t in tokens[1:]],
                         [int(line.split()[-1]) for line in file])


def reference_ggmf(folder):
    name = 'tiny-rwkv-4v0-660K-FP32.bin'
    target, other = in_folder('ggmf.rwkv'), in_folder('pth.rwkv')
    with open(os.path.join(folder, 'rwkv.cpp', name), 'rb') as file:
        magic = file.read(4)
    if magic != b'fmgg':
        print(f'skipped: rwkv.cpp/{name} (the reference file is damaged: it begins with {magic}, '
              "must be b'fmgg')")
        return
    code, errors, _ = run(os.path.join(folder, 'rwkv.cpp', name), target)
    check(f'{name}: accepted', code == 0, errors)
    if code == 0:
        run(os.path.join(folder, 'logits', 'tiny4v0.pth'), other)
        a, b = read_model(target)[1], read_model(other)[1]
        check(f'{name}: as tiny4v0.pth', all(
            a[k] == b[k] or k.endswith('time_decay') and max(
                abs(x - y) for x, y in zip(a[k], b[k])) < 64 for k in b))


def reference_tokenizers(folder):
    for vocab, V, other in (('rwkv_vocab_v20230424.txt', 65536, 50277),
                            ('20B_tokenizer.json', 50277, 65536)):
        vocab = os.path.join(folder, 'tokenizers', vocab)
        path = torch_of(make_model(V, 1, 1, 1, 1), 'f16').zip(in_folder('model'))
        target, _ = accepted(vocab, path, '--vocab', vocab)
        tokens, cells, text = read_vocabulary(vocab, read_model(target)[2], V)
        path = torch_of(make_model(other, 1, 1, 1, 1), 'f16').zip(in_folder('other'))
        refused(f'{vocab} for {other}', path, str(other), '--vocab', vocab)
        if V == 65536:
            check_trie('World', tokens, cells)
            same('World: count', (sum(1 for t in tokens if t), sum(map(len, tokens))),
                 (65529, 373358))
            same('World: some', [tokens[i] for i in (0, 1, 11, 261, 33155, 40213, 13053)],
                 [b'', b'\0', b'\n', b'\n\n', b'Hello', b' world', '日'.encode()])
        else:
            same('20B: some', [tokens[i] for i in (0, 1, 187, 535, 12092, 1533, 50276, 50254)],
                 [b'', b'', b'\n', b'\n\n', b'Hello', b' world', b'  ', b' ' * 24])
            check_reference_20b(vocab, tokens, cells, text)
        with open(os.path.join(folder, 'tokenizers', 'world.tsv' if V == 65536
                               else 'bpe20b.tsv')) as file:
            rows = [line.rstrip('\n').split('\t') for line in file if '\t' in line]
        bad = 0
        for hexa, ids in rows:
            ids = [int(i) for i in ids.split()]
            plain = bytes.fromhex(hexa)
            if V != 65536:
                plain = unicodedata.normalize('NFC', plain.decode()).encode()
                for _, special in text.specials:
                    plain = plain.replace(special, b'')
            bad += b''.join(tokens[i] for i in ids) != plain
        same(f'{os.path.basename(vocab)}: vectors decode', bad, 0)


def check_reference_20b(path, tokens, cells, text):
    """Against the file itself, which has no token that its own bytes do not become."""
    with open(path, encoding='utf-8') as file:
        root = json.load(file)
    ids, byte_of = root['model']['vocab'], {c: b for b, c in gpt2().items()}
    base = {i: bytes(byte_of[c] for c in t) for t, i in ids.items() if i > 1}
    same('20B: the vocabulary', tokens[:50254], [base.get(i, b'') for i in range(50254)])
    same('20B: runs', tokens[50254:], [b' ' * n for n in range(24, 1, -1)])
    same('20B: run tokens', text.runs, {n: 50278 - n for n in range(2, 25)})
    same('20B: specials', text.specials, [(0, b'<|endoftext|>'), (1, b'<|padding|>')])
    merges = [m.split(' ') for m in root['model']['merges']]
    same('20B: merges', text.merges, {(ids[a], ids[b]): ids[a + b] for a, b in merges})
    check_trie('20B', tokens[:50254], cells)


@case
def reference():
    folder = os.environ.get('RWKV_REFERENCE') or os.path.join(os.path.dirname(ROOT), 'shared',
                                                              'reference')
    if not os.path.isdir(folder):
        print('skipped: the reference files (checkpoints, logits, rwkv.cpp, storyteller, '
              'tokenizers); RWKV_REFERENCE names no folder')
        return
    reference_checkpoints(os.path.join(folder, 'checkpoints'))
    reference_ggmf(folder)
    reference_tokenizers(folder)
    reference_models(folder)             # last: a child's peak memory counts from its parent's size


def main():
    global FOLDER
    wanted = sys.argv[1:]
    for function in CASES:
        if wanted and function.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory() as FOLDER:
            try:
                function()
            except Exception as error:
                line = error.__traceback__.tb_next.tb_lineno if error.__traceback__.tb_next else 0
                check(function.__name__, False, f'stopped at line {line}: {error!r}')
    print(f'{COUNT[0]} passed, {COUNT[1]} failed')
    return 1 if COUNT[1] else 0


if __name__ == '__main__':
    sys.exit(main())
