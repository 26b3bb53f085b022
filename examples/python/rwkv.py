#!/usr/bin/env python3
"""rwkv.py: the header from Python, by ctypes, with nothing to install.

    printf '#define RWKV_IMPLEMENTATION\\n#include "rwkv.h"\\n' | \\
        cc -O2 -shared -fPIC -I. -x c - -o build/librwkv.so -lm
    python3 examples/python/rwkv.py build/librwkv.so examples/story.rwkv "Once upon a time"
"""
import codecs
import ctypes
import os
import sys

POINTER, INT = ctypes.c_void_p, ctypes.c_int


class Error(ctypes.Structure):
    _fields_ = [('code', INT), ('offset', ctypes.c_uint64), ('message', ctypes.c_char * 192)]


class Sampler(ctypes.Structure):
    _fields_ = [('temperature', ctypes.c_float), ('top_p', ctypes.c_float), ('top_k', INT),
                ('presence', ctypes.c_float), ('frequency', ctypes.c_float), ('decay', ctypes.c_float),
                ('counts', POINTER), ('seed', ctypes.c_uint64), ('min_p', ctypes.c_float),
                ('bias', POINTER), ('n_bias', INT)]


class Model:
    """A model and one state, which is the text so far."""

    def __init__(self, library, path):
        self.c = ctypes.CDLL(library)
        for name, result, *arguments in (
                ('load', POINTER, ctypes.c_char_p, POINTER, ctypes.POINTER(Error)),
                ('state_new', POINTER, POINTER), ('state_free', None, POINTER), ('free', None, POINTER),
                ('tokenize', INT, POINTER, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(INT), INT),
                ('token_bytes', POINTER, POINTER, INT, ctypes.POINTER(INT)),
                ('eval', POINTER, INT, POINTER), ('eval_sequence', POINTER, ctypes.POINTER(INT), INT, POINTER),
                ('sample', INT, ctypes.POINTER(Sampler), POINTER), ('result_string', ctypes.c_char_p, INT)):
            function = getattr(self.c, 'rwkv_' + name)
            function.restype, function.argtypes = result, arguments
        error = Error()
        self.model = self.c.rwkv_load(os.fsencode(path), None, error)
        if not self.model:
            raise ValueError(error.message.decode())
        self.state = self.c.rwkv_state_new(self.model)
        if not self.state:
            raise MemoryError('no memory for a state')
        self.c.rwkv_eval(0, self.state)  # begins a text

    def read(self, text):
        data = text.encode()
        tokens = (INT * (3 * len(data)))()
        n = self.c.rwkv_tokenize(self.model, data, len(data), tokens, len(tokens))
        if n < 0:
            raise ValueError(f'the model cannot read this text: {self.c.rwkv_result_string(-n).decode()}')
        self.c.rwkv_eval_sequence(tokens, n, self.state)

    def write(self, length, sampler):
        """Yield what comes next, piece by piece, in whole characters."""
        characters, size = codecs.getincrementaldecoder('utf-8')('replace'), INT()
        for _ in range(length):
            token = self.c.rwkv_sample(sampler, self.state)
            if token <= 0:
                break
            at = self.c.rwkv_token_bytes(self.model, token, size)
            yield characters.decode(ctypes.string_at(at, size.value))
            self.c.rwkv_eval(token, self.state)
        yield characters.decode(b'', True)

    def close(self):
        self.c.rwkv_state_free(self.state)
        self.c.rwkv_free(self.model)


if __name__ == '__main__':
    if len(sys.argv) != 4:
        sys.exit('usage: rwkv.py LIBRARY MODEL PROMPT')
    try:
        model = Model(*sys.argv[1:3])
        model.read(sys.argv[3])
    except (ValueError, OSError, MemoryError) as problem:
        sys.exit(f'rwkv.py: {problem}')
    print(sys.argv[3], end='')
    for piece in model.write(200, Sampler(temperature=0.7, top_p=0.9, seed=3)):
        print(piece, end='', flush=True)
    print()
    model.close()
