#!/usr/bin/env python3
"""rwkv.py: the header from Python, by ctypes, with nothing to install.

    printf '#define RWKV_IMPLEMENTATION\\n#include "rwkv.h"\\n' | \\
        cc -O2 -shared -fPIC -I. -x c - -o build/librwkv.so -lm
    python3 examples/python/rwkv.py build/librwkv.so examples/story.rwkv "Once upon a time"
"""
import codecs
import os
import sys
from ctypes import (CDLL, POINTER, Structure, c_char, c_char_p, c_float, c_int, c_size_t, c_uint64,
                    c_void_p, string_at)

class Error(Structure):
    _fields_ = [('code', c_int), ('offset', c_uint64), ('message', c_char * 192)]

class Sampler(Structure):
    _fields_ = [('temperature', c_float), ('top_p', c_float), ('top_k', c_int), ('presence', c_float),
                ('frequency', c_float), ('decay', c_float), ('counts', c_void_p), ('seed', c_uint64),
                ('min_p', c_float), ('bias', c_void_p), ('n_bias', c_int)]

FUNCTIONS = {  # name: result, arguments
    'load': (c_void_p, c_char_p, c_void_p, POINTER(Error)), 'free': (None, c_void_p),
    'state_new': (c_void_p, c_void_p), 'state_free': (None, c_void_p),
    'tokenize': (c_int, c_void_p, c_char_p, c_size_t, POINTER(c_int), c_int),
    'token_bytes': (c_void_p, c_void_p, c_int, POINTER(c_int)), 'eval': (c_void_p, c_int, c_void_p),
    'eval_sequence': (c_void_p, POINTER(c_int), c_int, c_void_p),
    'sample': (c_int, POINTER(Sampler), c_void_p), 'result_string': (c_char_p, c_int)}

class Model:
    """A model and one state, which is the text so far."""
    model = state = None

    def __init__(self, library, path):
        c, error = CDLL(library), Error()
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(c, 'rwkv_' + name)
            function.restype, function.argtypes = result, arguments
        self.c, self.model = c, c.rwkv_load(os.fsencode(path), None, error)
        if not self.model:
            raise ValueError(error.message.decode())
        self.state = c.rwkv_state_new(self.model)
        if not c.rwkv_eval(0, self.state):  # begins a text
            raise MemoryError('no memory for a state')

    def read(self, text):
        data = text.encode()
        tokens = (c_int * (3 * len(data)))()
        n = self.c.rwkv_tokenize(self.model, data, len(data), tokens, len(tokens))
        if n < 0:
            raise ValueError(f'the model cannot read this text: {self.c.rwkv_result_string(-n).decode()}')
        self.c.rwkv_eval_sequence(tokens, n, self.state)

    def write(self, length, sampler):
        """Yield what comes next, piece by piece, in whole characters."""
        characters, size, token = codecs.getincrementaldecoder('utf-8')('replace'), c_int(), 0
        while length > 0 and (token := self.c.rwkv_sample(sampler, self.state)) > 0:
            at = self.c.rwkv_token_bytes(self.model, token, size)
            yield characters.decode(string_at(at, size.value))
            self.c.rwkv_eval(token, self.state)
            length -= 1
        yield characters.decode(b'', True)

    def __del__(self):
        if self.model:
            self.c.rwkv_state_free(self.state)
            self.c.rwkv_free(self.model)

if __name__ == '__main__':
    if len(sys.argv) != 4:
        sys.exit('usage: rwkv.py LIBRARY MODEL PROMPT')
    try:
        story = Model(*sys.argv[1:3])
        story.read(sys.argv[3])
    except (ValueError, OSError, MemoryError) as problem:
        sys.exit(f'rwkv.py: {problem}')
    print(sys.argv[3], end='')
    for piece in story.write(200, Sampler(temperature=0.7, top_p=0.9, seed=3)):
        print(piece, end='', flush=True)
    print()
