#!/usr/bin/env python3
"""Convert an RWKV-4 checkpoint into a model file for rwkv.h.

    convert_pth.py INPUT OUTPUT [--type f32|f16|bf16] [--vocab FILE]

INPUT   what the file holds decides, not its name:
          BlinkDL .pth or Hugging Face pytorch_model.bin (torch.save, zip or the older kind)
          .safetensors, with Hugging Face or BlinkDL names
          rwkv.cpp .bin, FP32 or FP16
OUTPUT  the model file; it appears under this name only when it is complete

Needs Python 3.8 or later and nothing else. Weights are streamed, so memory does not grow with the
model. Nothing in a checkpoint is ever executed: its pickle is read by an interpreter that knows
tensors and containers of tensors, and refuses everything else.
"""

import argparse
import json
import math
import os
import re
import signal
import stat
import struct
import sys
import unicodedata
import zlib
from array import array
from collections import namedtuple
from contextlib import contextmanager

DESCRIPTION = __doc__.replace(__doc__.split('\n\n')[1] + '\n\n', '')      # argparse has its own
USAGE = """\
vocabularies:
  rwkv_vocab_v20230424.txt   World models, or any file of that format: lines of "id literal length"
  20B_tokenizer.json         Pile and Raven models
  bytes                      the word, not a file: token b is the byte b
A model of 256 tokens gets "bytes" unasked. Without a vocabulary the model still runs, on token ids.
A vocabulary of n ids (the highest id + 1) fits a model whose n_vocab is n or a little more: up to
the next multiple of 128 above n, since heads are often padded.

examples:
  convert_pth.py RWKV-4-World-0.4B.pth world.rwkv --vocab rwkv_vocab_v20230424.txt
  convert_pth.py model.safetensors pile.rwkv --type f16 --vocab 20B_tokenizer.json

exit status: 0 done, 1 refused or failed (one line on standard error, no output), 2 bad usage
"""

BIG_HOST = sys.byteorder == 'big'
HIGH = 0 if BIG_HOST else 1      # which of the two 16-bit halves of a 32-bit word is the upper one

INDEX_MAX = 4 << 20       # bytes of a pickle, a JSON header, a zip directory, a vocabulary file
STEPS_MAX = 1 << 20       # pickle opcodes; a 14B checkpoint has 40 thousand
STACK_MAX = 1 << 16       # pickle stack and marks; torch writes containers in batches of 1000
CHUNK = 1 << 18           # bytes of a matrix held at once (or 16 rows, if more): stays in cache
BLOCK = 1 << 16           # elements converted at once: Python numbers take 32 bytes each
LINE_MAX = 8192           # bytes of a line of a vocabulary
TOKEN_MAX = 1024          # bytes of a token
MERGED_MAX = 512          # bytes of a token that merges make
RUN_MAX = 256             # spaces of a run that is one token
SPECIALS_MAX = 256
DIMS_MAX = {'n_vocab': 1 << 24, 'n_embd': 1 << 20, 'n_att': 1 << 20, 'n_ffn': 1 << 20,
            'n_layer': 4096}
NONE = 0xFFFFFFFF

# Element types: array code (of a carrier of the same size where Python has no such number), bytes.
DTYPES = {'f64': ('d', 8), 'f32': ('f', 4), 'f16': ('H', 2), 'bf16': ('H', 2), 'i64': ('q', 8),
          'i32': ('i', 4), 'i16': ('h', 2), 'i8': ('b', 1), 'u8': ('B', 1), 'bool': ('B', 1),
          'u16': ('H', 2), 'u32': ('I', 4), 'u64': ('Q', 8), 'f8': ('B', 1), 'c64': ('d', 8)}
FLOATS = ('f32', 'f16', 'bf16', 'f64')


class Refused(Exception):
    """The input cannot be converted; the message is what the user reads."""
    complete = False


@contextmanager
def about(name, last=False):
    """Puts the name of the thing in question before a refusal; nothing comes before a last one."""
    try:
        yield
    except Refused as error:
        refusal = error if error.complete else Refused(f'{shown(name, 500)}: {error}')
        refusal.complete = error.complete or last
        raise refusal from None


@contextmanager
def on(path, instead_of=None):
    """An error of the system that names no file, or this other one, is about this one."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, instead_of):
            error.filename = path
        raise


def shown(text, limit=80):
    """Anything from a file as printable text of bounded length."""
    if not isinstance(text, str):
        plain = isinstance(text, (bytes, int, float, type(None)))
        text = ascii(text) if plain else f'a {type(text).__name__}'
    text = ''.join(c if c.isprintable() else c.encode('unicode_escape', 'replace').decode()
                   for c in text[:limit + 1])
    return text if len(text) <= limit else text[:limit] + '...'


def dims(shape):
    return 'x'.join(map(str, shape)) or 'scalar'


def file_bytes(file):
    return os.fstat(file.fileno()).st_size


def read_at(file, position, size):
    end = file_bytes(file)
    if size > end - position:
        raise Refused(f'the file ends at byte {end}, needs {position + size}')
    file.seek(position)
    data = file.read(size)
    if len(data) != size:
        raise Refused('the file became shorter while it was read')
    return data


# ------------------------------------------------------------------------------ tensors in a file
# Every container stores its weights uncompressed, so a tensor is a strided view of the file itself.

View = namedtuple('View', 'dtype shape strides start big')      # start: byte offset in the file
Checkpoint = namedtuple('Checkpoint', 'kind tensors decayed header', defaults=(False, None))


def packed_strides(shape):
    strides, step = [], 1
    for n in reversed(shape):
        strides.insert(0, step)
        step *= n
    return tuple(strides)


def packed_view(dtype, shape, start, big=False):
    return View(dtype, tuple(shape), packed_strides(shape), start, big)


def read_run(file, view, first, n):
    """n neighbouring elements from element `first` of the view on."""
    code, size = DTYPES[view.dtype]
    run = array(code, bytes(n * size))
    file.seek(view.start + first * size)
    if file.readinto(run) != n * size:
        raise Refused('the file became shorter while it was read')
    if view.big != BIG_HOST:
        run.byteswap()
    return run


def read_spaced(file, view, first, n, step):
    """n elements, `step` apart."""
    code, size = DTYPES[view.dtype]
    if step == 1 or n == 1:
        return read_run(file, view, first, n)
    if step == 0:
        return read_run(file, view, first, 1) * n
    out, per = array(code), max(1, CHUNK // (step * size))
    for i in range(0, n, per):
        m = min(per, n - i)
        out.extend(read_run(file, view, first + i * step, (m - 1) * step + 1)[::step])
    return out


def read_rows(file, view, first, n):
    """Rows first .. first + n - 1 of a matrix, side by side."""
    code, size = DTYPES[view.dtype]
    K, (row, column) = view.shape[1], view.strides
    if column == 1 and row == K:
        return read_run(file, view, first * K, n * K)
    out = array(code, bytes(n * K * size))
    if row >= column:
        for i in range(n):
            out[i * K:(i + 1) * K] = read_spaced(file, view, (first + i) * row, K, column)
    else:
        for k in range(K):
            out[k::K] = read_spaced(file, view, first * row + k * column, n, row)
    return out


# ------------------------------------------------------------------------------------------ pickle
# The subset of the pickle language that torch.save writes for dictionaries of tensors. A global is
# a name and nothing more; the few that are "called" build the records below.

Global = namedtuple('Global', 'name')
Storage = namedtuple('Storage', 'key dtype numel')
Tensor = namedtuple('Tensor', 'storage offset shape strides')

STORAGES = {'torch.' + name + 'Storage': dtype for name, dtype in (
    ('Float', 'f32'), ('BFloat16', 'bf16'), ('Half', 'f16'), ('Double', 'f64'), ('Long', 'i64'),
    ('Int', 'i32'), ('Short', 'i16'), ('Char', 'i8'), ('Byte', 'u8'), ('Bool', 'bool'))}
CALLABLES = ('torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter',
             'collections.OrderedDict')


def is_count(value, limit=1 << 62):
    return type(value) is int and 0 <= value < limit


def rebuild(name, args):
    """What REDUCE makes of one of CALLABLES."""
    if name.endswith('_rebuild_tensor_v2') and 6 <= len(args) <= 7:
        storage, offset, shape, strides = args[:4]
        if (isinstance(storage, Storage) and is_count(offset) and isinstance(shape, tuple)
                and isinstance(strides, tuple) and len(shape) == len(strides) <= 8
                and all(map(is_count, shape + strides))):
            return Tensor(storage, offset, shape, strides)
    elif name.endswith('_rebuild_parameter') and args and isinstance(args[0], Tensor):
        return args[0]
    elif name.endswith('OrderedDict') and not args:
        return {}
    elif name.endswith('OrderedDict') and len(args) == 1 and isinstance(args[0], list):
        made = {}
        for pair in args[0]:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                break
            put(made, *pair)
        else:
            return made
    raise Refused(f'pickle: {name} is called with arguments that no checkpoint has')


def put(target, key, value):
    # Hashing a tuple recurses as deep as the tuple does, so only plain keys are let in.
    if not isinstance(target, dict) or type(key) not in (str, bytes, int, float, bool, type(None)):
        raise Refused('pickle: an item is set that is no entry of a dictionary')
    target[key] = value


class Pickle:
    """One pickle after another, from a buffer."""

    def __init__(self, data):
        self.data, self.at, self.steps = data, 0, 0

    def load(self):
        self.stack, self.marks, self.memo = [], [], {}
        while True:
            at = self.at
            op = self.take(1)
            if op == b'.':
                return self.pop()
            if op not in OPCODES:
                raise Refused(f'pickle: opcode 0x{op.hex()} at byte {at} is none that tensors need')
            OPCODES[op](self)
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise Refused(f'pickle: more than {STEPS_MAX} opcodes')
            if len(self.stack) + len(self.marks) > STACK_MAX:
                raise Refused(f'pickle: more than {STACK_MAX} values on the stack at byte {at}')

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Refused(f'pickle: ends at byte {len(self.data)}, needs {self.at + n}')
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, size, signed=False):
        return int.from_bytes(self.take(size), 'little', signed=signed)

    def text(self, n, encoding='utf-8'):
        at = self.at
        try:
            return self.take(n).decode(encoding)
        except UnicodeDecodeError:
            raise Refused(f'pickle: the string at byte {at} is not {encoding}') from None

    def line(self):
        end = self.data.find(b'\n', self.at, self.at + 256)
        if end < 0:
            raise Refused(f'pickle: no end of the name at byte {self.at}')
        text = self.text(end - self.at)
        self.at += 1
        return text

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Refused(f'pickle: nothing on the stack at byte {self.at - 1}')
        return self.stack.pop()

    def top(self):
        self.push(self.pop())
        return self.stack[-1]

    def pop_mark(self):
        if not self.marks:
            raise Refused(f'pickle: no mark on the stack at byte {self.at - 1}')
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def pop_tuple(self, n):
        self.push(tuple([self.pop() for _ in range(n)][::-1]))

    def find_global(self, module, name):
        full = f'{module}.{name}'
        if full not in STORAGES and full not in CALLABLES:
            raise Refused(f'pickle: asks for {shown(full)}, but only tensors are read and nothing '
                          'is run: save the state_dict alone')
        self.push(Global(full))

    def find_stacked(self):
        name, module = self.pop(), self.pop()
        self.find_global(shown(module), shown(name))

    def persistent(self):
        # ('storage', type, key, device, numel), and in the oldest files a view, always None here.
        args = self.pop()
        if not (isinstance(args, tuple) and len(args) in (5, 6) and args[0] == 'storage'
                and isinstance(args[1], Global) and args[1].name in STORAGES
                and isinstance(args[2], str) and is_count(args[4]) and args[5:] in ((), (None,))):
            raise Refused('pickle: a persistent id that is not a storage')
        self.push(Storage(args[2], STORAGES[args[1].name], args[4]))

    def reduce(self):
        args, what = self.pop(), self.pop()
        if (not isinstance(what, Global) or what.name not in CALLABLES
                or not isinstance(args, tuple)):
            raise Refused('pickle: calls something that is not a tensor')
        self.push(rebuild(what.name, args))

    def build(self):
        self.pop()                  # attributes of an OrderedDict, like _metadata, are no weights
        if not isinstance(self.top(), dict):
            raise Refused('pickle: sets the state of something that is not a dictionary')

    def get(self, index):
        if index not in self.memo:
            raise Refused(f'pickle: memo {index} is read before it is written')
        self.push(self.memo[index])

    def memoize(self, index):
        self.memo[index] = self.top()

    def append(self, values):
        if not isinstance(self.top(), list):
            raise Refused('pickle: appends to something that is not a list')
        self.stack[-1].extend(values)

    def set_items(self, values):
        target = self.top()
        if len(values) % 2:
            raise Refused('pickle: a key without a value')
        for i in range(0, len(values), 2):
            put(target, values[i], values[i + 1])


OPCODES = {
    b'\x80': lambda p: p.take(1),                                              # PROTO
    b'\x95': lambda p: p.take(8),                                              # FRAME
    b'(': lambda p: p.marks.append(len(p.stack)),                              # MARK
    b'0': lambda p: p.pop(),                                                   # POP
    b'N': lambda p: p.push(None),
    b'\x88': lambda p: p.push(True),
    b'\x89': lambda p: p.push(False),
    b'K': lambda p: p.push(p.number(1)),                                       # BININT1
    b'M': lambda p: p.push(p.number(2)),                                       # BININT2
    b'J': lambda p: p.push(p.number(4, True)),                                 # BININT
    b'\x8a': lambda p: p.push(p.number(p.number(1), True)),                    # LONG1
    b'G': lambda p: p.push(struct.unpack('>d', p.take(8))[0]),                 # BINFLOAT
    b'X': lambda p: p.push(p.text(p.number(4))),                               # BINUNICODE
    b'\x8c': lambda p: p.push(p.text(p.number(1))),                            # SHORT_BINUNICODE
    b'U': lambda p: p.push(p.text(p.number(1), 'latin-1')),                    # SHORT_BINSTRING
    b'T': lambda p: p.push(p.text(p.number(4), 'latin-1')),                    # BINSTRING
    b'C': lambda p: p.push(p.take(p.number(1))),                               # SHORT_BINBYTES
    b'B': lambda p: p.push(p.take(p.number(4))),                               # BINBYTES
    b')': lambda p: p.push(()),                                                # EMPTY_TUPLE
    b']': lambda p: p.push([]),                                                # EMPTY_LIST
    b'}': lambda p: p.push({}),                                                # EMPTY_DICT
    b'\x85': lambda p: p.pop_tuple(1),
    b'\x86': lambda p: p.pop_tuple(2),
    b'\x87': lambda p: p.pop_tuple(3),
    b't': lambda p: p.push(tuple(p.pop_mark())),                               # TUPLE
    b'l': lambda p: p.push(p.pop_mark()),                                      # LIST
    b'a': lambda p: p.append([p.pop()]),                                       # APPEND
    b'e': lambda p: p.append(p.pop_mark()),                                    # APPENDS
    b's': lambda p: p.set_items([p.pop(), p.pop()][::-1]),                     # SETITEM
    b'u': lambda p: p.set_items(p.pop_mark()),                                 # SETITEMS
    b'c': lambda p: p.find_global(p.line(), p.line()),                         # GLOBAL
    b'\x93': lambda p: p.find_stacked(),                                       # STACK_GLOBAL
    b'Q': lambda p: p.persistent(),                                            # BINPERSID
    b'R': lambda p: p.reduce(),
    b'b': lambda p: p.build(),
    b'q': lambda p: p.memoize(p.number(1)),                                    # BINPUT
    b'r': lambda p: p.memoize(p.number(4)),                                    # LONG_BINPUT
    b'\x94': lambda p: p.memoize(len(p.memo)),                                 # MEMOIZE
    b'h': lambda p: p.get(p.number(1)),                                        # BINGET
    b'j': lambda p: p.get(p.number(4)),                                        # LONG_BINGET
}


# ---------------------------------------------------------------------------- torch.save: zip, old

def zip_directory(file, size):
    """(position, bytes, entries) of the central directory."""
    at = max(0, size - 65535 - 22 - 20)           # the longest comment, the end record, the locator
    tail = read_at(file, at, size - at)
    end = tail.rfind(b'PK\5\6')
    if end < 0 or len(tail) - end < 22:
        raise Refused(f'no zip directory at the end of its {size} bytes: cut short?')
    count, length, start = struct.unpack_from('<HII', tail, end + 10)
    if end >= 20 and tail[end - 20:end - 16] == b'PK\6\7':
        record = read_at(file, struct.unpack_from('<Q', tail, end - 12)[0], 56)
        if record[:4] != b'PK\6\6':
            raise Refused('zip64: the locator does not point at an end record')
        count, length, start = struct.unpack_from('<3Q', record, 32)
    if length > INDEX_MAX:
        raise Refused(f'zip: a directory of {length} bytes, at most {INDEX_MAX} are read')
    if start + length > at + end:
        raise Refused(f'zip: the directory ends at byte {start + length}, its end record is at '
                      f'{at + end}')
    return start, length, count


def zip_wide_fields(extra, sizes):
    """Sizes and position with the 64-bit values that stand in the extra field, in that order."""
    at, wide = 0, b''
    while at + 4 <= len(extra):
        kind, n = struct.unpack_from('<HH', extra, at)
        if kind == 1:
            wide = extra[at + 4:at + 4 + n]
        at += 4 + n
    out, used = [], 0
    for value in sizes:
        if value == NONE:
            if used + 8 > len(wide):
                raise Refused('zip64: an entry lacks its 64-bit size')
            value = struct.unpack_from('<Q', wide, used)[0]
            used += 8
        out.append(value)
    return out


def zip_entries(file, size):
    """{name: (position of the data, bytes)}; sizes come from the central directory, since torch
    writes none into the local headers."""
    start, length, count = zip_directory(file, size)
    data, at, entries = read_at(file, start, length), 0, {}
    while at + 46 <= length and data[at:at + 4] == b'PK\1\2':
        flags, method = struct.unpack_from('<HH', data, at + 8)
        packed, plain, n, extra, comment = struct.unpack_from('<IIHHH', data, at + 20)
        local = struct.unpack_from('<I', data, at + 42)[0]
        name = data[at + 46:at + 46 + n].decode('utf-8', 'replace')
        extras = data[at + 46 + n:at + 46 + n + extra]
        at += 46 + n + extra + comment
        plain, packed, local = zip_wide_fields(extras, (plain, packed, local))
        if method or flags & 1 or plain != packed:
            raise Refused(f'zip: {shown(name)} is compressed (method {method}), must be stored')
        if name in entries:
            raise Refused(f'zip: two entries named {shown(name)}')
        entries[name] = zip_data(file, name, local, plain, start)
    if len(entries) != count or at > length:
        raise Refused(f'zip: {len(entries)} entries in the directory, expected {count}')
    return entries


def zip_data(file, name, local, size, end):
    head = read_at(file, local, 30)
    if head[:4] != b'PK\3\4':
        raise Refused(f'zip: no local header of {shown(name)} at byte {local}')
    data = local + 30 + sum(struct.unpack_from('<HH', head, 26))
    if data + size > end:
        raise Refused(f'zip: {shown(name)} ends at byte {data + size}, the directory starts at '
                      f'{end}')
    return data, size


def tensor_view(name, tensor, locate, big):
    """The part of the file that a pickled tensor refers to."""
    storage = tensor.storage
    size = DTYPES[storage.dtype][1]
    position, available = locate(storage)
    if storage.numel * size != available:
        raise Refused(f'{shown(name)}: storage {shown(storage.key)} has {available} bytes, '
                      f'expected {storage.numel} x {size}')
    last, strides = tensor.offset, []
    for n, step, default in zip(tensor.shape, tensor.strides, packed_strides(tensor.shape)):
        last += (n - 1) * step
        strides.append(step if n != 1 else default)       # torch leaves anything in the stride of 1
    if 0 not in tensor.shape and last >= storage.numel:
        raise Refused(f'{shown(name)}: reaches element {last} of a storage of {storage.numel}')
    return View(storage.dtype, tensor.shape, tuple(strides), position + tensor.offset * size, big)


def find_tensors(root):
    """The dictionary of tensors, which trainers put inside others."""
    for _ in range(4):
        if not isinstance(root, dict):
            break
        inner = [root[k] for k in ('state_dict', 'model', 'module', 'model_state_dict')
                 if isinstance(root.get(k), dict)]
        if not inner:
            return {k: v for k, v in root.items() if isinstance(k, str) and isinstance(v, Tensor)}
        root = inner[0]
    raise Refused('the pickle holds no dictionary of tensors')


def open_torch_zip(file, size):
    entries = zip_entries(file, size)
    pickles = [name for name in entries if name == 'data.pkl' or name.endswith('/data.pkl')]
    if len(pickles) != 1:
        raise Refused(f'zip: {len(pickles)} entries named data.pkl, expected 1: not of torch.save')
    folder = pickles[0][:-len('data.pkl')]
    position, length = entries[pickles[0]]
    if length > INDEX_MAX:
        raise Refused(f'{shown(pickles[0])}: {length} bytes, at most {INDEX_MAX} are read')
    order = b'little'
    if folder + 'byteorder' in entries:
        position_order, n = entries[folder + 'byteorder']
        order = read_at(file, position_order, min(n, 16))
    if order not in (b'little', b'big'):
        raise Refused(f'zip: byteorder is {shown(order)}, expected little or big')

    def locate(storage):
        name = f'{folder}data/{storage.key}'
        if name not in entries:
            raise Refused(f'zip: entry {shown(name)} is missing')
        return entries[name]

    found = find_tensors(Pickle(read_at(file, position, length)).load())
    return Checkpoint('torch zip', {name: tensor_view(name, tensor, locate, order == b'big')
                                    for name, tensor in found.items()})


LEGACY_MAGIC = b'\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.'


def open_torch_legacy(file, size):
    """Before torch 1.6: five pickles (magic, version, machine, tensors, keys), then the storages,
    each an int64 count and that many elements, always little-endian."""
    pickles = Pickle(read_at(file, 0, min(size, INDEX_MAX)))
    _, version, _, root, keys = [pickles.load() for _ in range(5)]
    if version != 1001 or not isinstance(keys, list):
        raise Refused(f'torch legacy file of version {shown(version)}, expected 1001')
    found = find_tensors(root)
    storages = {tensor.storage.key: tensor.storage for tensor in found.values()}
    positions, at = {}, pickles.at
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise Refused(f'storage {shown(key)} belongs to no tensor: save the state_dict alone, '
                          'with a torch of version 1.6 or later')
        count = struct.unpack('<Q', read_at(file, at, 8))[0]
        positions[key] = at + 8, count * DTYPES[storages[key].dtype][1]
        at += 8 + positions[key][1]
        if at > size:
            raise Refused(f'storage {shown(key)} ends at byte {at}, the file at {size}')

    def locate(storage):
        if storage.key not in positions or storages[storage.key].dtype != storage.dtype:
            raise Refused(f'storage {shown(storage.key)} is missing')
        return positions[storage.key]

    return Checkpoint('torch legacy', {name: tensor_view(name, tensor, locate, False)
                                       for name, tensor in found.items()})


# ------------------------------------------------------------------------------------- safetensors

SAFETENSORS = {'F64': 'f64', 'F32': 'f32', 'F16': 'f16', 'BF16': 'bf16', 'I64': 'i64', 'I32': 'i32',
               'I16': 'i16', 'I8': 'i8', 'U64': 'u64', 'U32': 'u32', 'U16': 'u16', 'U8': 'u8',
               'BOOL': 'bool', 'F8_E4M3': 'f8', 'F8_E5M2': 'f8', 'C64': 'c64'}


def json_pairs(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        seen = set()
        name = next(k for k, _ in pairs if k in seen or seen.add(k))
        raise Refused(f'JSON: two entries named {shown(name)}')
    return made


def json_number(text):
    if len(text) > 19 or not text.isdigit():
        raise Refused(f'JSON: {shown(text, 24)} is not a count')
    return int(text)


def parse_json(data):
    try:
        return json.loads(data.decode('utf-8'), object_pairs_hook=json_pairs,
                          parse_int=json_number, parse_constant=json_number)
    except RecursionError:
        raise Refused('JSON: nested too deep') from None
    except ValueError as error:
        raise Refused(f'JSON: {shown(str(error))}') from None


def safetensors_entry(name, entry, start, size):
    """(begin, end, view), or a refusal: the entry is checked on its own here."""
    if not isinstance(entry, dict) or set(entry) != {'dtype', 'shape', 'data_offsets'}:
        raise Refused(f'{shown(name)}: needs dtype, shape and data_offsets')
    dtype, shape, offsets = entry['dtype'], entry['shape'], entry['data_offsets']
    if not isinstance(dtype, str) or dtype not in SAFETENSORS:
        raise Refused(f'{shown(name)}: unknown dtype {shown(dtype)}')
    if not (isinstance(shape, list) and len(shape) <= 8 and all(map(is_count, shape))
            and isinstance(offsets, list) and len(offsets) == 2 and all(map(is_count, offsets))):
        raise Refused(f'{shown(name)}: shape and data_offsets must be lists of counts')
    begin, end = offsets
    numel = math.prod(shape)
    if end - begin != numel * DTYPES[SAFETENSORS[dtype]][1]:
        raise Refused(f'{shown(name)}: {end - begin} bytes, but its shape {dims(shape)} in {dtype} '
                      f'needs {shown(str(numel * DTYPES[SAFETENSORS[dtype]][1]))}')
    if start + end > size:
        raise Refused(f'{shown(name)}: ends at byte {start + end}, the file at {size}')
    return begin, end, packed_view(SAFETENSORS[dtype], shape, start + begin)


def open_safetensors(file, size):
    length = struct.unpack('<Q', read_at(file, 0, 8))[0]
    if length > min(size - 8, INDEX_MAX):
        raise Refused(f'a header of {length} bytes, the file has {size}, at most {INDEX_MAX} are '
                      'read')
    header = parse_json(read_at(file, 8, length))
    if not isinstance(header, dict):
        raise Refused('the header is not a JSON object')
    header.pop('__metadata__', None)
    entries = sorted(((name, *safetensors_entry(name, entry, 8 + length, size))
                      for name, entry in header.items()), key=lambda e: e[1:3])
    at = 0
    for name, begin, end, _ in entries:                       # no overlap and no hole
        if begin != at:
            raise Refused(f'{shown(name)}: starts at data byte {begin}, expected {at}')
        at = end
    if 8 + length + at != size:
        raise Refused(f'the tensors end at byte {8 + length + at}, the file at {size}')
    return Checkpoint('safetensors', {name: view for name, _, _, view in entries})


# ----------------------------------------------------------------------------------- rwkv.cpp ggmf

GGMF_TYPES = {0: 'F32', 1: 'F16', 2: 'Q4_0', 3: 'Q4_1', 4: 'Q4_1_O', 5: 'Q4_2', 6: 'Q4_3',
              7: 'Q5_0', 8: 'Q5_1', 9: 'Q8_0'}


def open_ggmf(file, size, order):
    """Header, then for each tensor: dimensions (reversed), name and data."""
    version, *header = struct.unpack(order + '5I', read_at(file, 4, 20))
    if version not in (100, 101):
        raise Refused(f'rwkv.cpp file of version {version}, expected 100 or 101')
    refuse_quantized('the file', header[3])
    tensors, at = {}, 24
    while at < size:
        rank, n, kind = struct.unpack(order + '3I', read_at(file, at, 12))
        if not 1 <= rank <= 4 or not 1 <= n <= 1024:
            raise Refused(f'at byte {at}: a tensor of {rank} dimensions and a name of {n} bytes, '
                          'expected 1 to 4 and 1 to 1024')
        shape = struct.unpack(order + f'{rank}I', read_at(file, at + 12, 4 * rank))[::-1]
        name = read_at(file, at + 12 + 4 * rank, n).decode('utf-8', 'replace')
        refuse_quantized(shown(name), kind)
        at += 12 + 4 * rank + n
        view = packed_view('f16' if kind else 'f32', shape, at, order == '>')
        at += math.prod(shape) * (2 if kind else 4)
        if at > size:
            raise Refused(f'{shown(name)}: ends at byte {at}, the file at {size}')
        if name in tensors or len(tensors) == 1 << 17:
            raise Refused(f'{shown(name)}: a second tensor of this name, or too many tensors')
        tensors[name] = view
    V, D, L, _ = header
    return Checkpoint('rwkv.cpp', tensors, True, {'n_vocab': V, 'n_embd': D, 'n_layer': L})


def refuse_quantized(what, kind):
    if kind > 1:
        raise Refused(f'{what} is of type {GGMF_TYPES.get(kind, kind)}: quantized weights are not '
                      'read, convert the FP32 or FP16 file')


# --------------------------------------------------------------------------------- kind of a file

FOREIGN = ((b'GGUF', 'a GGUF file, which does not exist for RWKV-4'),
           (b'ggjt', 'a ggjt file of llama.cpp'), (b'tjgg', 'a ggjt file of llama.cpp'),
           (b'lmgg', 'a ggml file without version; convert the original checkpoint'),
           (b'RWKV\r\n\x1a\n', 'a converted model file already'),
           (b'version https://git-lfs', 'a Git LFS pointer; download the file it stands for'),
           (b'<', 'a web page; download the file itself'),
           (b'\x80', 'a pickle, but not one of torch.save'))


def open_checkpoint(file):
    size = file_bytes(file)
    head = read_at(file, 0, min(size, 32))
    if not size:
        raise Refused('the file is empty')
    if head[:4] in (b'PK\3\4', b'PK\5\6'):
        return open_torch_zip(file, size)
    if head.startswith(LEGACY_MAGIC):
        return open_torch_legacy(file, size)
    if head[:4] in (b'fmgg', b'ggmf'):
        return open_ggmf(file, size, '<' if head[:4] == b'fmgg' else '>')
    if head[8:].lstrip()[:1] == b'{':
        return open_safetensors(file, size)
    what = next((text for start, text in FOREIGN if head.startswith(start)), None)
    raise Refused(f'is {what}' if what else
                  f'no kind of checkpoint known here; it starts with the bytes {head[:8].hex(" ")}')


# ------------------------------------------------------------------------------------------- names

PREFIXES = ('module.', '_forward_module.', '_orig_mod.', 'model.')
HF_PARTS = {'embeddings': 'emb', 'pre_ln': 'ln0', 'attention': 'att', 'feed_forward': 'ffn',
            'time_mix_key': 'time_mix_k', 'time_mix_value': 'time_mix_v',
            'time_mix_receptance': 'time_mix_r'}

# The first of these that matches the name of a tensor names the model.
OTHER_MODELS = (
    (r'\.att\.(x_[rwkvag]|[kr]_k|k_a|[wav]0)$', 'RWKV-7'),
    (r'\.time_maa|\.att\.time_mix_([xw]|w1|w2)$|time_decay_w[12]$', 'RWKV-6'),
    (r'\.att\.time_faaaa$', 'RWKV-5.2'),
    (r'\.att\.gate\.', 'RWKV-5.1'),
    (r'\.att\.ln_x\.', 'RWKV-5.0'),
    (r'\.tiny_(ln|q|k|v|mask)|(^|\.)(att\.(qq|kk|vv|oo)|time_mix_(qq|kk|vv))',
     'RWKV-4 with tiny attention'),
    (r'(^|\.)pos_emb_[xy]$', 'RWKV-4 with position embeddings'),
    (r'\.ffnPre\.', 'RWKV-4 with pre-FFN'),
    (r'^(head_q|head_k|copy_mask)', 'RWKV-4 with a copy head'),
    (r'\.ffn\.(aa|bb)\.', 'RWKV-4 with MishGLU'),
    (r'lora', 'a LoRA, or a model with an unmerged one'),
    (r'\.time_state$', 'a tuned state of RWKV-5 or later'))


def canonical(name):
    """BlinkDL's name of a tensor."""
    while name.startswith(PREFIXES):
        name = name[len(next(p for p in PREFIXES if name.startswith(p))):]
    if name.startswith('rwkv.'):
        name = name[5:]
    return '.'.join(HF_PARTS.get(part, part) for part in name.split('.'))


def rename(tensors):
    renamed = {}
    for name, view in tensors.items():
        new = canonical(name)
        if new in renamed:
            raise Refused(f'{shown(name)}: a second tensor for {shown(new)}')
        renamed[new] = view
    return renamed


def refuse_other_models(tensors):
    for pattern, what in OTHER_MODELS:
        name = next((name for name in tensors if re.search(pattern, name)), None)
        if name:
            if what == 'RWKV-5.1' and 'blocks.0.att.time_decay' in tensors:
                if len([n for n in tensors['blocks.0.att.time_decay'].shape if n > 1]) > 1:
                    what = 'RWKV-5.2'
            raise Refused(f'{shown(name)}: this is {what}; only plain RWKV-4 is supported')


# ------------------------------------------------------------------------------------------ layout

Dims = namedtuple('Dims', 'n_vocab n_embd n_att n_ffn n_layer')
Part = namedtuple('Part', 'name form shape')


MATRICES = ('rows', 'panels', 'columns')


def layout(V, D, A, F, L):
    """The tensors of a model file, in order: as rows, in panels of 16 rows, by columns, or as a
    vector."""
    yield Part('emb.weight', 'rows', (V, D))
    yield Part('blocks.0.ln0.weight', 'vector', (D,))
    yield Part('blocks.0.ln0.bias', 'vector', (D,))
    for l in range(L):
        for name, form, shape in (
                ('ln1.weight', 'vector', (D,)), ('ln1.bias', 'vector', (D,)),
                ('att.time_mix_r', 'vector', (D,)), ('att.time_mix_k', 'vector', (D,)),
                ('att.time_mix_v', 'vector', (D,)), ('att.receptance.weight', 'panels', (A, D)),
                ('att.key.weight', 'panels', (A, D)), ('att.value.weight', 'panels', (A, D)),
                ('att.time_first', 'vector', (A,)), ('att.time_decay', 'decay', (A,)),
                ('att.output.weight', 'panels', (D, A)),
                ('ln2.weight', 'vector', (D,)), ('ln2.bias', 'vector', (D,)),
                ('ffn.time_mix_r', 'vector', (D,)), ('ffn.time_mix_k', 'vector', (D,)),
                ('ffn.receptance.weight', 'panels', (D, D)), ('ffn.key.weight', 'panels', (F, D)),
                ('ffn.value.weight', 'columns', (D, F))):
            yield Part(f'blocks.{l}.{name}', form, shape)
    yield Part('ln_out.weight', 'vector', (D,))
    yield Part('ln_out.bias', 'vector', (D,))
    yield Part('head.weight', 'panels', (V, D))


def up(n, multiple):
    return -(-n // multiple) * multiple


def part_bytes(part, size):
    """Bytes of a part in the file, `size` being those of an element of a matrix."""
    if part.form in ('panels', 'columns'):
        return up(up(part.shape[0], 16) * part.shape[1] * size, 64)
    return up(math.prod(part.shape) * (size if part.form == 'rows' else 4), 64)


# ------------------------------------------------------------------------------------------ checks

def matrix_shape(tensors, name):
    if name not in tensors:
        first = shown(next(iter(tensors), 'none'))
        raise Refused(f'{name} is missing: not an RWKV-4 checkpoint? (of {len(tensors)} tensors '
                      f'the first is {first})')
    shape = tensors[name].shape
    if len(shape) != 2:
        raise Refused(f'{name}: {len(shape)} dimensions, expected 2')
    return shape


def dimensions(checkpoint, tensors):
    """The sizes that the tensors themselves show."""
    V, D = matrix_shape(tensors, 'emb.weight')
    A = matrix_shape(tensors, 'blocks.0.att.key.weight')[0]
    F = matrix_shape(tensors, 'blocks.0.ffn.key.weight')[0]
    blocks = [re.match(r'blocks\.([0-9]{1,9})\.', name) for name in tensors]
    found = Dims(V, D, A, F, 1 + max(int(match.group(1)) for match in blocks if match))
    for name, n in found._asdict().items():
        if not 1 <= n <= DIMS_MAX[name]:
            raise Refused(f'{name} is {n}, must be 1 to {DIMS_MAX[name]}')
        if checkpoint.header and checkpoint.header.get(name, n) != n:
            raise Refused(f'{name} is {n} by its tensors, {checkpoint.header[name]} by its header')
    return found


def check_part(part, tensors):
    view = tensors.get(part.name)
    if view is None:
        raise Refused(f'{part.name} is missing, expected {dims(part.shape)}')
    shape = view.shape
    if len(part.shape) == 1:                                     # [1, 1, n] and [n, 1] are vectors
        shape = tuple(n for n in shape if n != 1) or (1,)
    if shape != part.shape:
        raise Refused(f'{part.name}: shape {dims(view.shape)}, expected {dims(part.shape)}')
    if view.dtype not in FLOATS:
        raise Refused(f'{part.name}: type {view.dtype}, expected one of {", ".join(FLOATS)}')


def check_tensors(parts, tensors, file_size):
    """Everything is there, of the right shape, and nothing else is that would change the model.
    Returns a note on tensors that are left out."""
    for part in parts:
        check_part(part, tensors)
    known = {part.name for part in parts}
    extra = [name for name in tensors if name not in known]
    for name in extra:
        if name.startswith('blocks.'):
            raise Refused(f'{shown(name)}: unknown tensor in a block: a variant of RWKV-4 that is '
                          'not supported')
    viewed = sum(math.prod(part.shape) * DTYPES[tensors[part.name].dtype][1] for part in parts)
    if viewed > 4 * file_size:               # views that overlap: a small file makes a huge model
        raise Refused(f'its tensors have {viewed} bytes in a file of {file_size}')
    more = f' and {len(extra) - 3} more' if len(extra) > 3 else ''
    return f'ignored: {", ".join(shown(n, 40) for n in extra[:3])}{more}' if extra else None


def choose_type(asked, parts, tensors):
    """(type, note): that of the input's matrices, unless they differ or are of one not written."""
    kinds = sorted({tensors[p.name].dtype for p in parts if p.form in MATRICES})
    if asked:
        return asked, None
    if len(kinds) == 1 and kinds[0] != 'f64':
        return kinds[0], None
    return 'f32', f'matrices of type {" and ".join(kinds)}: written as f32'


# ---------------------------------------------------------------------------------------- elements
# Whole blocks at a time: struct and array do the loops. One Python step per element is allowed only
# where such elements are rare.

def widen_bf16(run):
    words = array('H', bytes(4 * len(run)))
    words[HIGH::2] = run
    return array('f', words.tobytes())


def widen_f16(run):
    return array('f', struct.unpack(f'={len(run)}e', run))


def pack_floats(run, code, carrier, limit, hint):
    """Round to the nearest number of a narrower type, ties to even: struct does. Its native mode
    ("f" without "=") would turn an overflow into infinity."""
    try:
        return array(carrier, struct.pack(f'={len(run)}{code}', *run))
    except OverflowError:
        worst = max((x for x in run if math.isfinite(x)), key=abs)
        raise Refused(f'value {worst:.9g} is beyond the largest of the type, {limit}{hint}'
                      ) from None


def narrow_f32(run):
    return pack_floats(run, 'f', 'f', '3.40282347e+38', '')


def narrow_f16(run):
    return pack_floats(run, 'e', 'H', '65504', ' (--type bf16 holds it)')


LANES = int.from_bytes(array('I', [1]) * BLOCK, sys.byteorder)     # 1 in each 32-bit lane
HALVES = LANES * 0x7FFF


def narrow_bf16(run):
    """Add just under half of the last kept bit, or half if that bit is odd, and cut: all lanes of
    the block as one integer. No lane reaches 2^32 while every exponent is below the top ones."""
    raw = run.tobytes()
    top = raw[3::4] if not BIG_HOST else raw[0::4]
    if b'\x7f' in top or b'\xff' in top:
        return array('H', map(bf16_of_bits, array('I', raw)))
    bits = int.from_bytes(raw, sys.byteorder)
    mask = LANES if len(run) == BLOCK else LANES >> 32 * (BLOCK - len(run))
    half = HALVES if len(run) == BLOCK else HALVES >> 32 * (BLOCK - len(run))
    bits += (bits >> 16 & mask) + half
    return array('H', bits.to_bytes(len(raw), sys.byteorder))[HIGH::2]


def bf16_of_bits(bits):
    size = bits & 0x7FFFFFFF
    if size > 0x7F800000:
        return bits >> 16 | 0x40                                # NaN stays one when it is cut
    cut = bits + 0x7FFF + (bits >> 16 & 1) >> 16
    if cut & 0x7FFF == 0x7F80 and size != 0x7F800000:
        value = struct.unpack('f', struct.pack('I', bits))[0]
        raise Refused(f'value {value:.9g} is beyond the largest of the type, 3.38953139e+38')
    return cut


def narrow_f64_bf16(run):
    """Rounding twice is wrong where the first step lands on a tie of the second: step off it, to
    the side where the double was."""
    floats = narrow_f32(run)
    bits = array('I', floats.tobytes())
    for i in [i for i, word in enumerate(bits) if word & 0xFFFF == 0x8000]:
        if floats[i] != run[i]:
            bits[i] += 1 if abs(run[i]) > abs(floats[i]) else -1
    return narrow_bf16(array('f', bits.tobytes()))


CONVERSIONS = {
    ('bf16', 'f32'): widen_bf16, ('f16', 'f32'): widen_f16, ('f64', 'f32'): narrow_f32,
    ('f32', 'f16'): narrow_f16, ('f64', 'f16'): narrow_f16,
    ('bf16', 'f16'): lambda run: narrow_f16(widen_bf16(run)),
    ('f32', 'bf16'): narrow_bf16, ('f64', 'bf16'): narrow_f64_bf16,
    ('f16', 'bf16'): lambda run: narrow_bf16(widen_f16(run))}


def convert(run, source, target):
    if source == target:
        return run
    out, step = array(DTYPES[target][0]), CONVERSIONS[source, target]
    for i in range(0, len(run), BLOCK):
        out.extend(step(run[i:i + BLOCK]))
    return out


# ----------------------------------------------------------------------------------- parts to file

def little(run):
    """An array as the file has it."""
    if BIG_HOST:
        run = run[:]
        run.byteswap()
    return run


def write_part(out, file, view, part, target, decayed):
    if part.form in MATRICES:
        for chunk in matrix_chunks(file, view, part.form, target):
            out.write(little(chunk))
    else:
        values = vector_values(file, view, part.shape[0])
        if part.form == 'decay':
            values = check_decayed(values) if decayed else transform_decay(values)
        floats = narrow_f32(array('d', values))
        out.write(little(floats + array('f', bytes(4 * (-len(floats) % 16)))))
    out.pad()


def matrix_chunks(file, view, form, target):
    """The matrix from its first row to its last, some panels of 16 rows at a time; by columns: the
    same of the turned matrix, each row of it padded to whole panels."""
    if form == 'columns':
        view = view._replace(shape=view.shape[::-1], strides=view.strides[::-1])
    R, K = view.shape
    by_column = view.strides[0] < view.strides[1]           # one read per column: make them longer
    n = max(16, CHUNK * (32 if by_column else 1) // (K * DTYPES[view.dtype][1]) // 16 * 16)
    for first in range(0, R, n):
        rows = convert(read_rows(file, view, first, min(n, R - first)), view.dtype, target)
        yield (interleave(rows, K) if form == 'panels' else
               widened(rows, K) if form == 'columns' else rows)


def widened(rows, K):
    """Rows of K elements with zeros to a multiple of 16."""
    if K % 16 == 0:
        return rows
    R, wide = len(rows) // K, up(K, 16)
    out = array(rows.typecode, bytes(R * wide * rows.itemsize))
    for k in range(K):
        out[k::wide] = rows[k::K]
    return out


def interleave(rows, K):
    """Element (r, k) goes to (r/16)*16*K + k*16 + r%16; missing rows are zero."""
    R = len(rows) // K
    out = array(rows.typecode, bytes(up(R, 16) * K * rows.itemsize))
    for r in range(R):
        panel = r // 16 * 16 * K
        out[panel + r % 16:panel + 16 * K:16] = rows[r * K:(r + 1) * K]
    return out


def vector_values(file, view, n):
    """A vector as a list of numbers, all finite."""
    step = next((s for s, size in zip(view.strides, view.shape) if size != 1), 1)
    run = read_spaced(file, view, 0, n, step)
    values = list(run if view.dtype in ('f32', 'f64') else convert(run, view.dtype, 'f32'))
    for i, value in enumerate(values):
        if not math.isfinite(value):
            raise Refused(f'element {i} of {n} is {value}, expected a finite number')
    return values


def transform_decay(values):
    """w = -exp(time_decay), in double."""
    for i, value in enumerate(values):
        if value > 88.7228:
            raise Refused(f'element {i} is {value:.9g}: its exponential does not fit a float '
                          '(largest 88.7228)')
    return [-math.exp(value) for value in values]


def check_decayed(values):
    for i, value in enumerate(values):
        if math.copysign(1, value) > 0:
            raise Refused(f'element {i} is {value:.9g}, but rwkv.cpp files hold -exp(time_decay), '
                          'which is below 0')
    return values


# -------------------------------------------------------------------------------------- vocabulary

TOKENIZERS = ('none', 'bytes', 'World', '20B')

# tokens: {id: bytes}, without special tokens. Of 20B: merged: {(left, right): merged}, ids all, in
# order of rank; runs: {spaces: id}; specials: {id: bytes}.
Vocabulary = namedtuple('Vocabulary', 'kind tokens merged runs specials', defaults=({}, {}, {}))

WORLD_LINE = re.compile(rb'([0-9]{1,9}) '
                        rb'(b?)(\'(?:[^\'\\]|\\.)*\'|"(?:[^"\\]|\\.)*") '
                        rb'([0-9]{1,9})\r?\n?')
TEXT_ESCAPE = re.compile(r'\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)', re.DOTALL)
BYTES_ESCAPE = re.compile(r'\\(x[0-9a-fA-F]{2}|.)', re.DOTALL)
SIMPLE_ESCAPES = {'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', "'": "'", '"': '"'}


def unescape(match):
    body = match.group(1)
    if body in SIMPLE_ESCAPES:
        return SIMPLE_ESCAPES[body]
    if len(body) == 1:
        raise ValueError(f'bad escape \\{shown(body)}')
    return chr(int(body[1:], 16))


def literal_bytes(literal, as_bytes):
    """The bytes of a Python literal, without quotes: '...' is UTF-8 text, b'...' is bytes."""
    if as_bytes:
        return BYTES_ESCAPE.sub(unescape, literal.decode('ascii')).encode('latin-1')
    return TEXT_ESCAPE.sub(unescape, literal.decode('utf-8')).encode('utf-8')


def parse_world_line(line):
    """(id, bytes) of `id literal length`."""
    match = WORLD_LINE.fullmatch(line) if len(line) <= LINE_MAX else None
    if not match:
        raise Refused(f'longer than {LINE_MAX} bytes' if len(line) > LINE_MAX else
                      f'expected id, literal, length, found {shown(line.strip(), 40)}')
    number, prefix, literal, length = match.groups()
    try:
        token = literal_bytes(literal[1:-1], bool(prefix))
    except (ValueError, OverflowError) as error:
        raise Refused(f'not a Python literal: {shown(str(error))}') from None
    if len(token) != int(length):
        raise Refused(f'the token has {len(token)} bytes, the line says {int(length)}')
    if not 1 <= len(token) <= TOKEN_MAX:
        raise Refused(f'the token has {len(token)} bytes, must be 1 to {TOKEN_MAX}')
    return int(number), token


def parse_world(file, n_vocab):
    """Lines of `id literal length`. Refusals name the line."""
    tokens, line_of_id, line_of_token, total = {}, {}, {}, 0
    for number, line in enumerate(iter(lambda: file.readline(LINE_MAX + 1), b''), 1):
        total += len(line)
        with about(f'line {number}'):
            if total > INDEX_MAX:
                raise Refused(f'the file has {total} bytes so far, at most {INDEX_MAX} are read')
            if not line.strip():
                continue
            i, token = parse_world_line(line)
            if not 1 <= i < DIMS_MAX['n_vocab']:
                raise Refused(f'id {i}, must be 1 to {DIMS_MAX["n_vocab"] - 1}')
            if i >= n_vocab:
                raise Refused(f'id {i}, but the model has n_vocab {n_vocab}')
            if i in line_of_id:
                raise Refused(f'id {i} stands in line {line_of_id[i]} already')
            if token in line_of_token:
                raise Refused(f'the token of id {i} stands in line {line_of_token[token]} already')
        tokens[i], line_of_id[i], line_of_token[token] = token, number, number
    missing = [b for b in range(256) if bytes([b]) not in line_of_token]
    if missing:
        raise Refused(f'{256 - len(missing)} of the 256 single bytes have a token; byte '
                      f'{missing[0]} has none')
    return Vocabulary(2, tokens)


def gpt2_bytes():
    """The character that stands for each byte in a GPT-2 vocabulary -> the byte."""
    direct = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in direct]
    return {**{chr(b): b for b in direct}, **{chr(256 + i): b for i, b in enumerate(others)}}


def parse_20b(data):
    """A tokenizer.json of the 20B kind: NFC, byte-level BPE, added runs of spaces."""
    root = parse_json(data)
    model = field(root, 'model', dict)
    check_20b_kind(model, field(root, 'normalizer', dict), field(root, 'pre_tokenizer', dict))
    ids, merges = field(model, 'vocab', dict), field(model, 'merges', list)
    for text, i in ids.items():
        if not is_count(i, DIMS_MAX['n_vocab']):
            raise Refused(f'token {shown(text)}: id {shown(i)}, must be 0 to '
                          f'{DIMS_MAX["n_vocab"] - 1}')
    runs, specials = added_tokens(field(root, 'added_tokens', list), ids)
    texts = set(specials.values())
    base = {text: i for text, i in ids.items() if text not in texts}
    tokens = base_tokens(base)
    check_20b_bytes(tokens)
    taken = next((i for i in (*runs.values(), *specials) if i in tokens), None)
    if taken is not None:
        raise Refused(f'added token {taken}: the id is taken by another token')
    merged = merge_ids(merges, base, tokens)
    tokens.update((i, b' ' * n) for n, i in runs.items())
    return Vocabulary(3, tokens, merged, runs,
                      {i: utf8(f'special token {i}', text) for i, text in specials.items()})


def check_20b_kind(model, normalizer, splitter):
    for name, found, wanted in (
            ('model.type', model.get('type'), 'BPE'),
            ('normalizer.type', normalizer.get('type'), 'NFC'),
            ('pre_tokenizer.type', splitter.get('type'), 'ByteLevel'),
            ('add_prefix_space', splitter.get('add_prefix_space'), False),
            ('use_regex', splitter.get('use_regex', True), True),
            *((name, model.get(name) or None, None) for name in (
                'dropout', 'unk_token', 'continuing_subword_prefix', 'end_of_word_suffix',
                'byte_fallback', 'ignore_merges'))):
        if found != wanted or type(found) is not type(wanted):
            raise Refused(f'{name} is {shown(found)}, but the 20B tokenizer has {wanted}')


def field(owner, name, kind):
    value = owner.get(name) if isinstance(owner, dict) else None
    if not isinstance(value, kind):
        raise Refused(f'{name} is missing: not a 20B tokenizer')
    return value


def utf8(what, text):
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Refused(f'{what}: {shown(text[error.start])} is no character') from None


def added_tokens(entries, ids):
    """{spaces: id} of the runs of spaces, {id: text} of the special tokens."""
    runs, specials, seen = {}, {}, {}
    for entry in entries:
        i, text = field(entry, 'id', int), field(entry, 'content', str)
        special = entry.get('special') is True
        with about(f'added token {shown(text)}'):
            if not is_count(i, DIMS_MAX['n_vocab']) or ids.get(text, i) != i:
                raise Refused(f'id {shown(i)} is out of range, or not its id in the vocabulary')
            for key, value in (('id', i), ('text', text)):
                if seen.setdefault((key, value), entry) is not entry:
                    raise Refused(f'id {i}: the {key} is taken by another added token')
            for name, wanted in (('single_word', False), ('lstrip', False), ('rstrip', False),
                                 ('normalized', not special)):
                if entry.get(name, wanted) is not wanted:
                    raise Refused(f'id {i}: {name} is {shown(entry[name])}, must be {wanted}')
            if special and 1 <= len(text) <= TOKEN_MAX:
                specials[i] = text
            elif not special and 1 <= len(text) <= RUN_MAX and not text.strip(' '):
                runs[len(text)] = i
            else:
                raise Refused(f'id {i}: special tokens have 1 to {TOKEN_MAX} characters, others '
                              f'are 1 to {RUN_MAX} spaces; this has {len(text)} characters')
    if len(specials) > SPECIALS_MAX:
        raise Refused(f'{len(specials)} special tokens, at most {SPECIALS_MAX} can be kept')
    return runs, specials


def base_tokens(ids):
    """{id: bytes} of the vocabulary proper."""
    byte_of, tokens = gpt2_bytes(), {}
    for text, i in ids.items():
        try:
            token = bytes([byte_of[c] for c in text])
        except KeyError as error:
            raise Refused(f'token {i}, {shown(text)}: {ascii(error.args[0])} stands for no byte'
                          ) from None
        if i in tokens:
            raise Refused(f'token {shown(text)}: id {i} stands twice')
        if not 1 <= len(token) <= TOKEN_MAX:
            raise Refused(f'token {i} has {len(token)} bytes, must be 1 to {TOKEN_MAX}')
        tokens[i] = token
    return tokens


def check_20b_bytes(tokens):
    have = {token for token in tokens.values() if len(token) == 1}
    for b in range(256):
        if bytes([b]) not in have and b not in (0xC0, 0xC1) and b < 0xF5:     # never in UTF-8
            raise Refused(f'{len(have)} single bytes have a token; byte {b} has none')


def merge_ids(merges, ids, tokens):
    """{(left, right): merged} in order of rank."""
    merged, previous = {}, -1
    if not merges:
        raise Refused('merges has 0 entries: not a 20B tokenizer')
    for rank, merge in enumerate(merges):
        with about(f'merge {rank}'):
            left, right, made = merge_names(merge, ids)
            if made <= previous:
                raise Refused(f'makes token {made}, but the merge before makes {previous}: the '
                              'ids must ascend')
            if len(tokens[made]) > MERGED_MAX:
                raise Refused(f'makes token {made} of {len(tokens[made])} bytes, at most '
                              f'{MERGED_MAX} are merged')
            merged[left, right] = previous = made
    return merged


def merge_names(merge, ids):
    """The ids of the halves and the whole of "left right" or [left, right]."""
    pair = merge.split(' ') if isinstance(merge, str) else merge
    if (not isinstance(pair, list) or len(pair) != 2
            or not all(isinstance(half, str) for half in pair)):
        raise Refused('is not a pair')
    names = (*pair, ''.join(pair))
    unknown = next((s for s in names if s not in ids), None)
    if unknown is not None:
        raise Refused(f'{shown(unknown)} is not in the vocabulary')
    return [ids[name] for name in names]


def choose_vocabulary(name, n_vocab):
    """The vocabulary that --vocab names, or none, or bytes for a model of 256 tokens."""
    if name == 'bytes' or name is None and n_vocab == 256:
        vocabulary = Vocabulary(1, {b: bytes([b]) for b in range(256)})
        check_fit(vocabulary, n_vocab)
        return vocabulary
    if name is None:
        return Vocabulary(0, {})
    with about(name, last=True), on(name), open_regular(name) as file:
        if file.read(1) == b'{':
            size = file_bytes(file)
            if size > INDEX_MAX:
                raise Refused(f'{size} bytes, at most {INDEX_MAX} are read')
            vocabulary = parse_20b(read_at(file, 0, size))
        else:
            file.seek(0)
            vocabulary = parse_world(file, n_vocab)
        check_fit(vocabulary, n_vocab)
    return vocabulary


def check_fit(vocabulary, n_vocab):
    n = 1 + max((*vocabulary.tokens, *vocabulary.specials))
    if not n <= n_vocab <= (n // 128 + 1) * 128:
        raise Refused(f'the {TOKENIZERS[vocabulary.kind]} vocabulary has {n} ids, the model '
                      f'n_vocab {n_vocab}: not the vocabulary of this model')


# -------------------------------------------------------------------------------- double-array trie

def trie_nodes(tokens):
    """(parent, byte, token + 1) of the nodes of the plain trie, parents first; 0 is the root."""
    parent, label, token = array('I', [0]), bytearray(1), array('I', [0])
    path, previous = [0], b''
    for text, i in sorted((text, i) for i, text in tokens.items() if text):
        common = 0
        while common < len(previous) and text[common] == previous[common]:
            common += 1
        del path[common + 1:]
        for c in text[common:]:
            parent.append(path[-1])
            label.append(c)
            token.append(0)
            path.append(len(parent) - 1)
        token[-1] = i + 1
        previous = text
    return parent, label, token


def place_nodes(parent, label):
    """(cell of each node, base of each node): the child by byte c lies at base + c."""
    count = array('H', bytes(2 * len(parent)))
    for node in range(1, len(parent)):
        count[parent[node]] += 1
    families, only = {}, array('I')
    for node in range(1, len(parent)):
        if count[parent[node]] > 1:
            families.setdefault(parent[node], []).append(node)
        else:
            only.append(node)
    cell = array('I', bytes(4 * len(parent)))
    base = array('I', [NONE]) * len(parent)
    taken = place_families(families, label, cell, base)
    at = 1
    for node in only:                        # children without siblings fill the holes
        at = taken.find(0, at)
        at = at if at > 0 else len(taken)
        taken[at:at + 1] = b'\1'
        cell[node], base[parent[node]] = at, at - label[node]
    return cell, base


def place_families(families, label, cell, base):
    """Put brothers into the first cells that fit, the largest families ahead; the root's own are
    the cells 1..256, all of them, so that no base is negative. Bit i of `used` says that cell
    floor + i is taken, so one shift tests a brother everywhere."""
    floor, used, taken = 1, (1 << 256) - 1, bytearray(b'\1' * 257)
    base[0] = 1
    for child in families.pop(0):
        cell[child] = 1 + label[child]
    for node in sorted(families, key=lambda node: (-len(families[node]), node)):
        first = label[families[node][0]]
        steps = [label[child] - first for child in families[node]]
        clash = used
        for step in steps[1:]:
            clash |= used >> step
        at = (~clash & clash + 1).bit_length() - 1              # the lowest zero bit
        base[node] = floor + at - first
        taken.extend(bytes(max(0, floor + at + steps[-1] + 1 - len(taken))))
        for child, step in zip(families[node], steps):
            used |= 1 << at + step
            cell[child] = floor + at + step
            taken[cell[child]] = 1
        if used.bit_length() > 8192:                # few holes remain down there: leave them behind
            used >>= 4096
            floor += 4096
    return taken


def build_trie(tokens):
    """Cells of {base, parent, token + 1}."""
    parent, label, token = trie_nodes(tokens)
    cell, base = place_nodes(parent, label)
    cells = array('I', [0, NONE, 0]) * (max(cell) + 1)
    for node in range(len(parent)):
        at = 3 * cell[node]
        cells[at], cells[at + 1], cells[at + 2] = base[node], cell[parent[node]], token[node]
    cells[1] = NONE
    return cells


# ---------------------------------------------------------------------------- tables of 20B's text

# The original has two editions of Unicode in it: 9 for the normal form, 16 for classes. Whatever
# edition this Python knows (3.8 has 12.1), these tables make both out of it; HEX-HEX is a range.

# Letters and numbers of Unicode 13 to 16, which Python 3.8 does not know.
LETTERS = '''
    870-887 889-88E 8B5 8BE-8C9 C5D CDD D04 170D 171F 1B4C 1C89-1C8A 2C2F 2C5F 31BB-31BF 4DB6-4DBF
    9FF0-9FFF A7C0-A7C1 A7C7-A7CD A7D0-A7D1 A7D3 A7D5-A7DC A7F2-A7F6 AB68-AB69 10570-1057A
    1057C-1058A 1058C-10592 10594-10595 10597-105A1 105A3-105B1 105B3-105B9 105BB-105BC
    105C0-105F3 10780-10785 10787-107B0 107B2-107BA 10D4A-10D65 10D6F-10D85 10E80-10EA9
    10EB0-10EB1 10EC2-10EC4 10F70-10F81 10FB0-10FC4 11071-11072 11075 11147 1123F-11240
    11380-11389 1138B 1138E 11390-113B5 113B7 113D1 113D3 11460-11461 11740-11746 11900-11906
    11909 1190C-11913 11915-11916 11918-1192F 1193F 11941 11AB0-11ABF 11BC0-11BE0 11F02
    11F04-11F10 11F12-11F33 11FB0 12F90-12FF0 1342F 13441-13446 13460-143FA 16100-1611D
    16A70-16ABE 16D40-16D6C 18AF3-18CD5 18CFF-18D08 1AFF0-1AFF3 1AFF5-1AFFB 1AFFD-1AFFE
    1B11F-1B122 1B132 1B155 1DF00-1DF1E 1DF25-1DF2A 1E030-1E06D 1E290-1E2AD 1E4D0-1E4EB
    1E5D0-1E5ED 1E5F0 1E7E0-1E7E6 1E7E8-1E7EB 1E7ED-1E7EE 1E7F0-1E7FE 2A6D7-2A6DF 2B735-2B739
    2EBF0-2EE5D 30000-3134A 31350-323AF'''
NUMBERS = '''
    10D40-10D49 10FC5-10FCB 116D0-116E3 11950-11959 11BF0-11BF9 11F50-11F59 16130-16139
    16AC0-16AC9 16D70-16D79 1CCF0-1CCF9 1D2C0-1D2D3 1E4F0-1E4F9 1E5F1-1E5FA 1FBF0-1FBF9'''

# Letters and numbers of Unicode 17; those of later editions go here, too.
NEWER = '''
    88F C5C CDC A7CE-A7CF A7D2 A7D4 A7F1 10940-10959 10EC5-10EC7 11DB0-11DDB 11DE0-11DE9
    16EA0-16EB8 16EBB-16ED3 16FF2-16FF6 187F8-187FF 18D09-18D1E 18D80-18DF2 1E6C0-1E6DE
    1E6E0-1E6E2 1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2CEA2-2CEAD
    323B0-33479'''

# White_Space.
WHITE_SPACE = '''
    9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000'''

# The marks and decompositions that came after Unicode 3.2, which every Python knows, up to 9. All
# else in the ranges is neither: combining classes and decompositions never change.
MARKS = '''
    350-35F 487 5A2-5C7 610-61A 656-65F 7EB-7F3 816-82D 859-85B 8D4-8FF CBC 103A-108D 135D-135F
    17DD 1939-193B 1A17-1A18 1A60-1A7C 1A7F 1AB0-1ABD 1B06-1B44 1B6B-1B73 1BAA-1BF3 1C37 1CD0-1CF9
    1DC0-1DF5 1DFB-1DFF 20EB-20F0 2CEF-2CF1 2D7F 2DE0-2DFF A66F-A6F1 A806 A8C4 A8E0-A953 A9B3-A9C0
    AAB0-AAC1 AAF6 ABED FA2E-FA6D FA70-FAD9 FE24-FE2F 101FD 102E0 10376-1037A 10A0D-10A0F
    10A38-10A3A 10A3F 10AE5-10AE6 11046 1107F-110BA 11100-11134 11173 111C0-111CA 11235-11236
    112E9-112EA 1133C 1134B-1134D 11366-1136C 11370-11374 11442-11446 114BB-114C3 115BA-115C0
    1163F 116B6-116B7 1172B 11C3F 16AF0-16AF4 16B30-16B36 1BC9E 1D242-1D244 1E000-1E006
    1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E8D0-1E8D6 1E944-1E94A'''

# Vowels and final consonants.
HANGUL_SECONDS = '1161-1175 11A8-11C2'


def code_points(ranges):
    """Every number of "hex-hex hex ..."."""
    for run in ranges.split():
        first, _, last = run.partition('-')
        yield from range(int(first, 16), int(last or first, 16) + 1)


def classes_of_characters():
    """0 other, 1 letter, 2 number, 3 white space, of every code point, as of Unicode 16."""
    number = {'L': 1, 'N': 2}
    classes = array('H', (number.get(unicodedata.category(chr(c))[0], 0) for c in range(0x110000)))
    for kind, ranges in ((0, NEWER), (1, LETTERS), (2, NUMBERS), (3, WHITE_SPACE)):
        for c in code_points(ranges):
            classes[c] = kind
    return classes


def canonical_data():
    """({code point: class} of marks, {code point: decomposition}, {(first, second): composite}), as
    of Unicode 9, without Hangul syllables."""
    marks, decomposed, composed, old = {}, {}, {}, set(code_points(MARKS))
    for c in range(0x110000):
        s = chr(c)
        parts = unicodedata.normalize('NFD', s)
        mark = unicodedata.combining(s)
        if (not mark and parts == s or 0xAC00 <= c <= 0xD7A3
                or c not in old and unicodedata.ucd_3_2_0.category(s) == 'Cn'):
            continue
        if mark:
            marks[c] = mark
        if parts != s:
            decomposed[c] = parts
            pair = [int(part, 16) for part in unicodedata.decomposition(s).split()]
            if len(pair) == 2 and unicodedata.normalize('NFC', s) == s:
                composed[tuple(pair)] = c
    return marks, decomposed, composed


def character_tables():
    """(blocks, properties), both u16, and (decomposed, sequence, composed), u32."""
    marks, decompositions, composites = canonical_data()
    properties = classes_of_characters()
    for c, mark in marks.items():
        properties[c] |= mark << 2
    decomposed, sequence = array('I'), array('I')
    for c, parts in sorted(decompositions.items()):
        changes = unicodedata.normalize('NFC', chr(c)) != chr(c)
        properties[c] |= 1 << 10 | changes << 12
        decomposed.extend((c, len(sequence) * 8 + len(parts)))
        sequence.extend(map(ord, parts))
    for c in {*(second for _, second in composites), *code_points(HANGUL_SECONDS)}:
        properties[c] |= 1 << 11
    composed = array('I', [n for pair, c in sorted(composites.items()) for n in (*pair, c)])
    blocks, kept = array('H'), {}
    for c in range(0, len(properties), 128):
        blocks.append(kept.setdefault(properties[c:c + 128].tobytes(), len(kept)))
    return blocks, array('H', b''.join(kept)), decomposed, sequence, composed


def encode_bytes(text, byte_ids, merged):
    """The tokens that byte-pair encoding makes of a text."""
    parts = [byte_ids.get(b, NONE) for b in text]
    made = [merged.get(pair, NONE) for pair in zip(parts, parts[1:])]
    while made and min(made) != NONE:
        at = made.index(min(made))
        parts[at:at + 2] = [made.pop(at)]
        for i in range(max(0, at - 1), min(at + 1, len(made))):
            made[i] = merged.get((parts[i], parts[i + 1]), NONE)
    return parts


def own_tokens(vocabulary):
    """{id: bytes} of the tokens that text of just their bytes becomes: not all are ever reached."""
    tokens, merged = vocabulary.tokens, vocabulary.merged
    byte_ids = {token[0]: i for i, token in tokens.items()
                if len(token) == 1 and i not in vocabulary.runs.values()}
    ids = (*byte_ids.values(), *merged.values())
    return {i: tokens[i] for i in ids if encode_bytes(tokens[i], byte_ids, merged) == [i]}


def pair_tables(merged, V):
    """(first pair of each left token, the {right, merged} pairs)."""
    first, pairs = array('I', bytes(4 * (V + 1))), array('I')
    for (left, right), made in sorted(merged.items()):
        first[left + 1] += 1
        pairs.extend((right, made))
    for i in range(V):
        first[i + 1] += first[i]
    return first, pairs


def text_tables(vocabulary, begin):
    """(arrays, bytes of the special tokens' texts), of which the first comes at `begin`."""
    runs, specials, texts = array('I'), array('I'), bytearray()
    runs.extend(vocabulary.runs.get(n + 1, NONE) for n in range(max(vocabulary.runs, default=0)))
    for i, text in sorted(vocabulary.specials.items(), key=lambda item: (-len(item[1]), item[0])):
        specials.extend((i, begin + len(texts), len(text)))
        texts += text
    blocks, properties, decomposed, sequence, composed = character_tables()
    head = array('I', [len(runs), len(specials) // 3, len(properties) // 128, len(decomposed) // 2,
                       len(sequence), len(composed) // 3, 0, 0])
    return [head, runs, specials, blocks, properties, decomposed, sequence, composed], texts


def vocabulary_section(vocabulary, V):
    if vocabulary.kind == 0:
        return b''
    offsets, blob = array('I', [0]), bytearray()
    for i in range(V):
        blob += vocabulary.tokens.get(i, b'')
        offsets.append(len(blob))
    searched, pairs, words = vocabulary.tokens, [], []
    if vocabulary.kind == 3:
        searched, pairs = own_tokens(vocabulary), pair_tables(vocabulary.merged, V)
        words, texts = text_tables(vocabulary, len(blob))
        blob += texts
    cells = build_trie(searched)
    head = array('I', [len(cells) // 3, len(blob), len(vocabulary.merged),
                       sum(len(a) * a.itemsize for a in words) // 4])
    section = b''.join(little(a).tobytes() for a in (head, offsets, cells, *pairs, *words)) + blob
    return section + bytes(-len(section) % 64)


# ------------------------------------------------------------------------------------------ writer

MAGIC = b'RWKV\r\n\x1a\n'
TYPE_CODES = {'f32': 1, 'f16': 2, 'bf16': 3}


@contextmanager
def uninterrupted():
    """Signals wait until the end of the block, on systems where they can."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Output:
    """A file that takes its name when it is complete, and leaves nothing behind otherwise."""

    def __init__(self, path, total):
        self.path, self.total, self.size, self.crc = os.path.realpath(path), total, 128, 0
        self.temporary = f'{self.path}.{os.getpid()}.part'
        self.progress = -1 if sys.stderr.isatty() else None
        self.file = None

    def __enter__(self):
        return self

    def create(self):
        with on(self.path, self.temporary):
            with uninterrupted():                # or the file could be there, and nobody know it
                self.file = open(self.temporary, 'xb', buffering=0)
            self.file.seek(128)

    def __exit__(self, kind, error, trace):
        if not self.file:
            return
        self.show(None)
        try:
            with on(self.path):
                self.file.close()
        finally:
            if kind is not None and os.path.exists(self.temporary):
                os.remove(self.temporary)

    def put(self, data):
        with on(self.path):
            while len(data):                                 # a full disk can take a part of it
                data = data[self.file.write(data):]

    def write(self, data):
        data = memoryview(data).cast('B')
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        self.put(data)
        self.show(100 * self.size // self.total)

    def pad(self):
        if self.size % 64:
            self.write(bytes(-self.size % 64))

    def show(self, percent):
        """The progress line of a terminal; None wipes it."""
        if self.progress is None or self.progress == percent:
            return
        self.progress = percent
        text = '' if percent is None else f'{percent:3d}% of {self.total / 1e6:,.0f} MB'
        print(f'\r{text:24}' + ('\r' if percent is None else ''),
              end='', file=sys.stderr, flush=True)

    def finish(self, target, tokenizer, sizes, vocab_bytes):
        """The header goes in last: until then the file does not even have its magic."""
        if self.size != self.total:
            raise Refused(f'wrote {self.size} bytes, expected {self.total}')
        header = struct.pack('<8s10I2Qf52xI', MAGIC, 2, 4, TYPE_CODES[target], tokenizer, *sizes, 0,
                             self.size, vocab_bytes, 1e-5, self.crc)
        with on(self.path, self.temporary):
            self.file.seek(0)
            self.put(header + struct.pack('<I', zlib.crc32(header)))
            self.file.close()
            os.replace(self.temporary, self.path)


# -------------------------------------------------------------------------------------------- main

def open_regular(path):
    at_once = getattr(os, 'O_NONBLOCK', 0)                          # a pipe would make us wait
    file = open(path, 'rb', opener=lambda path, flags: os.open(path, flags | at_once))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Refused('is not a regular file')
    return file


def check_output(path, *inputs):
    if not os.path.exists(path):
        return
    if not os.path.isfile(path):
        raise Refused('the output exists and is not a regular file')
    for other in inputs:
        if other and os.path.exists(other) and os.path.samefile(path, other):
            raise Refused('the output is an input')


def run(options):
    """The conversion; returns what to tell the user."""
    with about(options.output):
        check_output(options.output, options.input, options.vocab)
    with about(options.input), on(options.input), open_regular(options.input) as file:
        checkpoint = open_checkpoint(file)
        tensors = rename(checkpoint.tensors)
        refuse_other_models(tensors)
        sizes = dimensions(checkpoint, tensors)
        parts = list(layout(*sizes))
        notes = [check_tensors(parts, tensors, file_bytes(file))]
        target, note = choose_type(options.type, parts, tensors)
        notes.append(note)
        vocabulary = choose_vocabulary(options.vocab, sizes.n_vocab)
        if vocabulary.kind == 0:
            notes.append('no --vocab: the model will have no tokenizer')
        section = vocabulary_section(vocabulary, sizes.n_vocab)
        total = 128 + sum(part_bytes(p, DTYPES[target][1]) for p in parts) + len(section)
        with Output(options.output, total) as out:
            out.create()
            for part in parts:
                with about(part.name):
                    write_part(out, file, tensors[part.name], part, target, checkpoint.decayed)
            out.write(section)
            out.finish(target, vocabulary.kind, sizes, len(section))
    size_text = ', '.join(f'{name} {n}' for name, n in sizes._asdict().items())
    return [f'note: {note}' for note in notes if note] + [
        f'{shown(options.output, 500)}: RWKV-4 {target} from {checkpoint.kind}, {size_text}, '
        f'tokenizer {TOKENIZERS[vocabulary.kind]}, {total} bytes']


def stop(signum, frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(
        prog='convert_pth.py', description=DESCRIPTION, epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', metavar='INPUT')
    parser.add_argument('output', metavar='OUTPUT')
    parser.add_argument('--type', choices=tuple(TYPE_CODES),
                        help="of the matrices: the input's if not given (vectors are always f32)")
    parser.add_argument('--vocab', metavar='FILE', help='put this vocabulary into the model file')
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    try:
        for line in run(options):
            print(line, file=sys.stderr)
        return 0
    except Refused as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f'{shown(error.filename or options.output, 500)}: {error.strerror or error}',
              file=sys.stderr)
    except MemoryError:
        print(f'{shown(options.input, 500)}: out of memory', file=sys.stderr)
    except KeyboardInterrupt:
        print('interrupted: nothing is written', file=sys.stderr)
        return 130
    return 1


if __name__ == '__main__':
    sys.exit(main())
