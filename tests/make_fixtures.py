#!/usr/bin/env python3
"""Makes tests/fixtures: tiny models in the model file format and their exact logits.

    python3 tests/make_fixtures.py [FOLDER]

Standard library only, double precision, and independent of rwkv.h and of the
tests' C reference: the format is written from its description, the model
evaluated from the equations of arXiv 2305.13048. For each NAME:

    NAME.rwkv     the model
    NAME.tokens   little-endian int32
    NAME.logits   little-endian float64, n_vocab after each token

Running it again gives the same bytes.
"""
import math
import os
import struct
import sys
import zlib

F32, F16, BF16 = 1, 2, 3
TOKENIZER_NONE, TOKENIZER_BYTES = 0, 1
EPS = struct.unpack("<f", struct.pack("<f", 1e-5))[0]

#        name          V   D   A   F  L  type  tokenizer       tokens
MODELS = [
    ("f32",            32, 16, 16, 64, 2, F32, TOKENIZER_NONE, 32),
    ("f16-bytes",     256, 12, 12, 48, 2, F16, TOKENIZER_BYTES, 6),
    ("bf16-odd",       37, 19, 23, 33, 2, BF16, TOKENIZER_NONE, 40),
    ("f32-wide-keys",  23, 13, 15, 17, 2, F32, TOKENIZER_NONE, 40),
]


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        z = (z ^ z >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        return z ^ z >> 31

    def uniform(self, low, high):
        return low + (high - low) * ((self.bits() >> 11) * 2.0 ** -53)


# ---- numbers as they are stored -------------------------------------------


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def pack_element(kind, x):
    """The bytes of x as an element of a matrix, rounded to nearest even."""
    if kind == F32:
        return struct.pack("<f", x)
    if kind == F16:
        return struct.pack("<e", x)
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def stored(kind, x):
    """The number that those bytes stand for."""
    data = pack_element(kind, x)
    if kind == F32:
        return struct.unpack("<f", data)[0]
    if kind == F16:
        return struct.unpack("<e", data)[0]
    return struct.unpack("<f", b"\0\0" + data)[0]


# ---- weights ----------------------------------------------------------------


def tensors(V, D, A, F, L):
    """(name, kind, rows, columns) in the order of the file."""
    yield "emb.weight", "rows", V, D
    yield "ln0.weight", "vector", 1, D
    yield "ln0.bias", "vector", 1, D
    for l in range(L):
        for name, kind, rows, columns in [
            ("ln1.weight", "vector", 1, D),
            ("ln1.bias", "vector", 1, D),
            ("att.time_mix_r", "vector", 1, D),
            ("att.time_mix_k", "vector", 1, D),
            ("att.time_mix_v", "vector", 1, D),
            ("att.receptance.weight", "matrix", A, D),
            ("att.key.weight", "matrix", A, D),
            ("att.value.weight", "matrix", A, D),
            ("att.time_first", "vector", 1, A),
            ("att.time_decay", "vector", 1, A),
            ("att.output.weight", "matrix", D, A),
            ("ln2.weight", "vector", 1, D),
            ("ln2.bias", "vector", 1, D),
            ("ffn.time_mix_r", "vector", 1, D),
            ("ffn.time_mix_k", "vector", 1, D),
            ("ffn.receptance.weight", "matrix", D, D),
            ("ffn.key.weight", "matrix", F, D),
            ("ffn.value.weight", "matrix", D, F),
        ]:
            yield "blocks.%d.%s" % (l, name), kind, rows, columns
    yield "ln_out.weight", "vector", 1, D
    yield "ln_out.bias", "vector", 1, D
    yield "head.weight", "matrix", V, D


def draw(name, columns, wide_keys, random):
    """One number of a tensor: sizes that keep every part of the model alive."""
    x = random.uniform(-1, 1)
    if "ln" in name:
        return 1 + 0.3 * x if name.endswith("weight") else 0.2 * x
    if "time_mix" in name:
        return (x + 1) / 2
    if "time_first" in name:
        return 2 * x
    if "time_decay" in name:
        return -math.exp(3 * x - 1)
    if name.startswith("emb"):
        return x
    scale = {"output": 2.5, "key": 30 if wide_keys and "att" in name else 1.5}
    part = name.split(".")[-2]
    return x * math.sqrt(3 / columns) * scale.get(part, 1.3)


def make_weights(shape, kind, wide_keys, random):
    """Every tensor as a list of rows of exactly the stored numbers."""
    weights = {}
    for name, form, rows, columns in tensors(*shape):
        as_stored = F32 if form == "vector" else kind
        weights[name] = [
            [stored(as_stored, draw(name, columns, wide_keys, random)) for _ in range(columns)]
            for _ in range(rows)
        ]
    return weights


# ---- the file ---------------------------------------------------------------


def pad(data, to=64):
    return data + b"\0" * (-len(data) % to)


def pack_tensor(form, kind, rows):
    if form == "vector":
        return pad(b"".join(struct.pack("<f", x) for x in rows[0]))
    if form == "rows":
        return pad(b"".join(pack_element(kind, x) for row in rows for x in row))
    panels = []
    zero = pack_element(kind, 0.0)
    for first in range(0, len(rows), 16):
        panel = rows[first:first + 16]
        for k in range(len(rows[0])):
            panels += [pack_element(kind, row[k]) for row in panel]
            panels += [zero] * (16 - len(panel))
    return pad(b"".join(panels))


def bytes_vocabulary(V):
    """Token b is the byte b: a trie of a root and 256 leaves."""
    none = 0xFFFFFFFF
    offsets = [min(i, 256) for i in range(V + 1)]
    cells = [(1, none, 0)] + [(none, 0, b + 1) for b in range(256)]
    head = struct.pack("<4I", len(cells), 256, 0, 0) + struct.pack("<%dI" % (V + 1), *offsets)
    return pad(head + b"".join(struct.pack("<3I", *c) for c in cells) + bytes(range(256)))


def pack_model(shape, kind, tokenizer, weights):
    V, D, A, F, L = shape
    vocabulary = bytes_vocabulary(V) if tokenizer else b""
    body = b"".join(
        pack_tensor(form, kind, weights[name]) for name, form, _, _ in tensors(*shape)
    ) + vocabulary
    header = b"RWKV\r\n\x1a\n" + struct.pack(
        "<10I2Qf52xI", 1, 4, kind, tokenizer, V, D, A, F, L, 0, 128 + len(body), len(vocabulary),
        EPS, zlib.crc32(body))
    return header + struct.pack("<I", zlib.crc32(header)) + body


# ---- evaluation, in double --------------------------------------------------


def layer_norm(x, weight, bias):
    mean = math.fsum(x) / len(x)
    variance = math.fsum((a - mean) ** 2 for a in x) / len(x)
    deviation = math.sqrt(variance + EPS)
    return [(a - mean) / deviation * w + b for a, w, b in zip(x, weight[0], bias[0])]


def times(matrix, x):
    return [math.fsum(w * a for w, a in zip(row, x)) for row in matrix]


def shift(x, last, mix):
    return [m * a + (1 - m) * b for a, b, m in zip(x, last, mix[0])]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def wkv_direct(history, u, w):
    """Equation 16 as it stands: a weighted mean of all values so far. `history` holds
    the keys and values of one channel, the newest last; w is negative."""
    n = len(history)
    exponents = [w * (n - 2 - i) + history[i][0] for i in range(n - 1)] + [u + history[-1][0]]
    most = max(exponents)
    weights = [math.exp(e - most) for e in exponents]
    return (math.fsum(a * kv[1] for a, kv in zip(weights, history)) / math.fsum(weights))


class State:
    def __init__(self, D, A, L):
        self.att = [[0.0] * D for _ in range(L)]
        self.ffn = [[0.0] * D for _ in range(L)]
        self.history = [[[] for _ in range(A)] for _ in range(L)]


def evaluate(weights, L, token, state):
    x = layer_norm(weights["emb.weight"][token], weights["ln0.weight"], weights["ln0.bias"])
    for l in range(L):
        p = {n[len("blocks.%d." % l):]: w for n, w in weights.items()
             if n.startswith("blocks.%d." % l)}
        xx = layer_norm(x, p["ln1.weight"], p["ln1.bias"])
        last, state.att[l] = state.att[l], xx
        r = times(p["att.receptance.weight"], shift(xx, last, p["att.time_mix_r"]))
        k = times(p["att.key.weight"], shift(xx, last, p["att.time_mix_k"]))
        v = times(p["att.value.weight"], shift(xx, last, p["att.time_mix_v"]))
        o = []
        for i, history in enumerate(state.history[l]):
            history.append((k[i], v[i]))
            o.append(sigmoid(r[i]) * wkv_direct(history, p["att.time_first"][0][i],
                                                p["att.time_decay"][0][i]))
        x = [a + b for a, b in zip(x, times(p["att.output.weight"], o))]
        xx = layer_norm(x, p["ln2.weight"], p["ln2.bias"])
        last, state.ffn[l] = state.ffn[l], xx
        r = times(p["ffn.receptance.weight"], shift(xx, last, p["ffn.time_mix_r"]))
        k = times(p["ffn.key.weight"], shift(xx, last, p["ffn.time_mix_k"]))
        o = times(p["ffn.value.weight"], [max(a, 0.0) ** 2 for a in k])
        x = [a + sigmoid(b) * c for a, b, c in zip(x, r, o)]
    x = layer_norm(x, weights["ln_out.weight"], weights["ln_out.bias"])
    return times(weights["head.weight"], x)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return len(data)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "fixtures")
    os.makedirs(folder, exist_ok=True)
    total = 0
    for number, (name, V, D, A, F, L, kind, tokenizer, n) in enumerate(MODELS):
        random = Random(1000 + number)
        shape = (V, D, A, F, L)
        weights = make_weights(shape, kind, "keys" in name, random)
        tokens = [random.bits() % V for _ in range(n)]
        state = State(D, A, L)
        logits = []
        for token in tokens:  # rounded, so that the last bits of libm do not show
            logits += [round(x, 12) for x in evaluate(weights, L, token, state)]
        path = os.path.join(folder, name)
        total += write(path + ".rwkv", pack_model(shape, kind, tokenizer, weights))
        total += write(path + ".tokens", struct.pack("<%di" % n, *tokens))
        total += write(path + ".logits", struct.pack("<%dd" % len(logits), *logits))
        mean = sum(logits) / len(logits)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in logits) / len(logits))
        print("%-14s %2d tokens, logits of standard deviation %.2f" % (name, n, deviation))
    print("%d bytes in %s" % (total, os.path.relpath(folder)))


if __name__ == "__main__":
    main()
