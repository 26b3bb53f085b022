#!/usr/bin/env python3
"""Makes tests/fixtures: tiny models in the model file format, their exact logits, and a
small vocabulary of the 20B kind with texts and their exact tokens.

    python3 tests/make_fixtures.py [FOLDER]

Standard library only, double precision, and independent of rwkv.h and of the
tests' C reference: the format is written from its description, the model
evaluated from the equations of arXiv 2305.13048. For each NAME:

    NAME.rwkv     the model
    NAME.tokens   little-endian int32
    NAME.logits   little-endian float64, n_vocab after each token

and bpe.rwkv, bpe.tsv: see write_bpe.

Running it again gives the same bytes.
"""
import math
import os
import struct
import sys
import unicodedata
import zlib

F32, F16, BF16, Q8, Q4 = 1, 2, 3, 4, 5
TOKENIZER_NONE, TOKENIZER_BYTES, TOKENIZER_20B = 0, 1, 3
EPS = struct.unpack("<f", struct.pack("<f", 1e-5))[0]

#        name          V   D   A   F  L  type  tokenizer       tokens
MODELS = [
    ("f32",            32, 16, 16, 64, 2, F32, TOKENIZER_NONE, 32),
    ("f16-bytes",     256, 12, 12, 48, 2, F16, TOKENIZER_BYTES, 6),
    ("bf16-odd",       37, 19, 23, 33, 2, BF16, TOKENIZER_NONE, 40),
    ("f32-wide-keys",  23, 13, 15, 17, 2, F32, TOKENIZER_NONE, 40),
    ("q8",             37, 40, 33, 50, 2, Q8, TOKENIZER_NONE, 8),
    ("q4",             37, 36, 65, 70, 2, Q4, TOKENIZER_NONE, 8),
]

MATRICES = ("att.receptance", "att.key", "att.value", "att.output",
            "ffn.receptance", "ffn.key", "ffn.value", "head")
BITS = {Q8: [8] * 8, Q4: [4, 5, 8, 5, 5, 4, 4, 8]}
BLOCK = 32  # columns with one scale
VALUES = {
    4: [-54, -43, -34, -26, -19, -12, -6, 0, 6, 12, 18, 24, 31, 39, 48, 60],
    5: [-56, -50, -45, -40, -36, -32, -28, -25, -21, -18, -15, -12, -9, -6, -3, 0,
        3, 6, 9, 12, 15, 18, 21, 24, 27, 31, 35, 39, 43, 48, 53, 59],
    8: [*range(128), *range(-128, 0)],
}


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


def scale_of(byte, exponent):
    """What a byte of a matrix of codes and its panel's exponent make."""
    return (-1) ** (byte >> 7) * (1 + (byte & 15) / 16) * 2.0 ** ((byte >> 4 & 7) + exponent - 127)


class Codes(list):
    """Rows of numbers that are codes of some bits, times a scale for each block."""

    def __init__(self, rows, bits, random, embedding):
        self.bits = bits
        self.codes, self.scales, self.exponents = [], [], []
        largest = max(map(abs, VALUES[bits]))
        for i, row in enumerate(rows):
            if i % 16 == 0:  # the largest scale of the panel has an e of 6
                most = max(abs(w) for r in rows[i:i + 16] for w in r) / largest
                self.exponents.append(math.frexp(most)[1] - 1 + 127 - 6)
            codes, scales, numbers = [], [], []
            for k in range(0, len(row), BLOCK):
                block = row[k:k + BLOCK]
                wanted = max(map(abs, block)) / largest * (-1) ** (random.bits() & 1)
                if embedding:
                    scales.append(struct.pack("<e", wanted))
                    scale = struct.unpack("<e", scales[-1])[0]
                else:
                    exponent = self.exponents[-1]
                    byte = min(range(256), key=lambda b: abs(scale_of(b, exponent) - wanted))
                    scales.append(byte)
                    scale = scale_of(byte, exponent)
                for w in block:
                    codes.append(min(range(1 << bits),
                                     key=lambda c: abs(VALUES[bits][c] * scale - w)))
                    numbers.append(VALUES[bits][codes[-1]] * scale)
            self.codes.append(codes)
            self.scales.append(scales)
            self.append(numbers)

    def pack_rows(self):
        blocks = len(self.scales[0])
        return b"".join(bytes(codes).ljust(blocks * BLOCK, b"\x55") + b"".join(scales)
                        for codes, scales in zip(self.codes, self.scales))

    def pack_block(self, first, block):
        """The 8 groups of 4 columns of one block of a panel of 16 rows."""
        zero = VALUES[self.bits].index(0)
        groups = []
        for group in range(8):
            at = block * BLOCK + 4 * group
            columns = range(at, at + 4)
            groups.append([
                zero if i >= len(self) else self.codes[i][k] if k < len(self.codes[i]) else 3
                for i in range(first, first + 16) for k in columns])
        if self.bits == 8:
            return b"".join(map(bytes, groups))
        lines = b"".join(bytes(a & 15 | (b & 15) << 4 for a, b in zip(groups[g], groups[g + 1]))
                         for g in range(0, 8, 2))
        if self.bits == 5:
            lines += bytes(sum((group[i] >> 4) << g for g, group in enumerate(groups))
                           for i in range(64))
        return lines

    def pack_matrix(self):
        blocks, panels = len(self.scales[0]), range(0, len(self), 16)
        scales = b"".join(bytes(self.scales[i][b] if i < len(self) else 0
                                for i in range(first, first + 16))
                          for first in panels for b in range(blocks))
        codes = b"".join(self.pack_block(first, b) for first in panels for b in range(blocks))
        return pad(bytes(self.exponents) + scales) + codes

    def pack_columns(self):
        """Scales block by block, codes column by column, each of all rows."""
        rows = range(-(-len(self) // 16) * 16)
        zero = VALUES[self.bits].index(0)
        scales = bytes(self.scales[i][b] if i < len(self) else 0
                       for b in range(len(self.scales[0])) for i in rows)
        codes = b""
        for k in range(len(self.codes[0])):
            column = [self.codes[i][k] if i < len(self) else zero for i in rows]
            if self.bits == 4:
                column += [0] * (len(column) % 32)
                column = [low | high << 4 for i in range(0, len(column), 32)
                          for low, high in zip(column[i:i + 16], column[i + 16:i + 32])]
            codes += bytes(column)
        return pad(bytes(self.exponents) + scales) + codes


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
            ("ffn.value.weight", "columns", D, F),
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
        as_stored = F32 if form == "vector" or kind in BITS else kind
        weights[name] = [
            [stored(as_stored, draw(name, columns, wide_keys, random)) for _ in range(columns)]
            for _ in range(rows)
        ]
        if kind in BITS and form != "vector":
            bits = 8
            if form != "rows":
                bits = BITS[kind][MATRICES.index(".".join(name.split(".")[-3:-1]))]
            weights[name] = Codes(weights[name], bits, random, form == "rows")
    return weights


# ---- the file ---------------------------------------------------------------


def pad(data, to=64):
    return data + b"\0" * (-len(data) % to)


def pack_tensor(form, kind, rows):
    if form == "vector":
        return pad(b"".join(struct.pack("<f", x) for x in rows[0]))
    if isinstance(rows, Codes):
        return pad(rows.pack_rows() if form == "rows" else
                   rows.pack_matrix() if form == "matrix" else rows.pack_columns())
    if form == "rows":
        return pad(b"".join(pack_element(kind, x) for row in rows for x in row))
    panels = []
    zero = pack_element(kind, 0.0)
    if form == "columns":
        for k in range(len(rows[0])):
            panels += [pack_element(kind, row[k]) for row in rows]
            panels += [zero] * (-len(rows) % 16)
        return pad(b"".join(panels))
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


def pack_model(shape, kind, tokenizer, weights, vocabulary=b""):
    V, D, A, F, L = shape
    if tokenizer == TOKENIZER_BYTES:
        vocabulary = bytes_vocabulary(V)
    body = b"".join(
        pack_tensor(form, kind, weights[name]) for name, form, _, _ in tensors(*shape)
    ) + vocabulary
    header = b"RWKV\r\n\x1a\n" + struct.pack(
        "<10I2Qf8s44xI", 2, 4, kind, tokenizer, V, D, A, F, L, 0, 128 + len(body), len(vocabulary),
        EPS, bytes(BITS.get(kind, [])), zlib.crc32(body))
    return header + struct.pack("<I", zlib.crc32(header)) + body


# ---- evaluation, in double --------------------------------------------------


def layer_norm(x, weight, bias):
    mean = math.fsum(x) / len(x)
    variance = math.fsum((a - mean) ** 2 for a in x) / len(x)
    deviation = math.sqrt(variance + EPS)
    return [(a - mean) / deviation * w + b for a, w, b in zip(x, weight[0], bias[0])]


class NearTie(Exception):
    """An input so near the middle of two integers that float arithmetic may round it to the
    other one: no fixture for such a model."""


def rounded(x):
    """The input of a product with codes: of every 32 numbers, multiples of 1/127 of the
    largest."""
    out = []
    for k in range(0, len(x), BLOCK):
        step = max(map(abs, x[k:k + BLOCK])) / 127
        for a in x[k:k + BLOCK]:
            q = a / step if step else 0.0
            if abs(abs(q - math.floor(q)) - 0.5) < 1e-4:
                raise NearTie
            out.append(round(q) * step)
    return out


def times(matrix, x):
    if isinstance(matrix, Codes):
        x = rounded(x)
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


# ---- a small vocabulary of the 20B kind -------------------------------------
#
# As the published one is: two special tokens, 243 tokens of one byte, merges, and
# added tokens of 2 to 24 spaces. Characters are those of Unicode 3.2, so that any
# Python makes the same tables, and few of them.

RUNS = 24
NAMES = ("<|endoftext|>", "<|padding|>")
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
WHITE_SPACE = {*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
               0x202F, 0x205F, 0x3000}
CHARACTERS = [(0, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xD7A3), (0xF900, 0xF97F),
              (0xFB1D, 0xFB4E), (0xFE20, 0xFE23), (0xFF21, 0xFF5A), (0x10400, 0x10425),
              (0x1D157, 0x1D172)]
UCD = unicodedata.ucd_3_2_0
OTHER, LETTER, NUMBER, SPACE = range(4)

LEARNED_FROM = """
The quick brown fox jumps over the lazy dog, and then the other dogs don't. We're there; they've
seen it, she'll see, I'd think I'm in the right: it's that thing there that they thought of then.
Once upon a time there was a little girl who lived in the house with her mother and father.
Der schnelle braune Fuchs springt über den faulen Hund, und die größere Straße führt über Köln.
L'été, le garçon a mangé une crêpe à la crème; où êtes-vous allés, Noël, Zoë? Ça va très bien.
El niño comió piñas mañana. Não é possível: a ação, o coração, as mães. Žluťoučký kůň pěl ódy.
Tiếng Việt có dấu: trường đại học, nước, người, được, những, phở.
Быстрая коричневая лиса прыгает через ленивую собаку, и это было хорошо; что это такое, и что?
Η γρήγορη καφέ αλεπού πηδάει πάνω από το σκυλί, και το άλλο. שלום עולם, של שלום. مرحبا بالعالم
नमस्ते दुनिया, यह एक परीक्षा है। これはペンです。ここはどこですか、がぎぐ。 한국어 한글 가나다 각간갈 한국의
for (int i = 0; i < 10; i++) { if (x[i] == 0) return -1; } // -------- ==== ---- ____ 1000 2023 1234
\tint main(void)\n\t{\n\t\treturn 0;\n\t}\r\n\r\n\r\n\n\n\n\t\t\t\t    aaaa aaaaaaaa aaaaaa haha hahaha
"""


def character_class(c):
    if c in WHITE_SPACE:
        return SPACE
    return {"L": LETTER, "N": NUMBER}.get(UCD.category(chr(c))[0], OTHER)


def is_known(c):
    """Whether the tables of the fixture have this character."""
    return (any(first <= c <= last for first, last in CHARACTERS)
            and UCD.category(chr(c)) not in ("Cn", "Cs"))


def split_words(text):
    """The pattern of GPT-2, from left to right. Bad bytes are surrogates: class other."""
    kinds = [character_class(ord(c)) for c in text]
    at = 0
    while at < len(text):
        end = at + 1
        found = [c for c in CONTRACTIONS if text.startswith(c, at)]
        if found:
            end = at + len(found[0])
        elif kinds[at] == SPACE and not (text[at] == " " and end < len(text)
                                         and kinds[end] != SPACE):
            while end < len(text) and kinds[end] == SPACE:
                end += 1
            if end < len(text) and end > at + 1:
                end -= 1
        else:
            if text[at] == " ":
                end += 1
            while end < len(text) and kinds[end] == kinds[end - 1]:
                end += 1
        yield text[at:end]
        at = end


def merge_pair(tokens, left, right, merged):
    out = []
    for token in tokens:
        if out and out[-1] == left and token == right:
            out[-1] = merged
        else:
            out.append(token)
    return out


class BytePairs:
    def __init__(self, n_merges):
        """Learn from LEARNED_FROM: the commonest pair, again and again."""
        shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
        self.order = shown + [b for b in range(256) if b not in shown]
        self.order = [b for b in self.order if b not in (0xC0, 0xC1) and b < 0xF5]
        self.text = {len(NAMES) + i: bytes([b]) for i, b in enumerate(self.order)}
        self.byte = {t[0]: i for i, t in self.text.items()}
        self.merges = {}
        words = {}
        for word in split_words(unicodedata.normalize("NFC", LEARNED_FROM)):
            words[word] = words.get(word, 0) + 1
        words = [([self.byte[b] for b in word.encode()], n) for word, n in words.items()]
        for _ in range(n_merges):
            counts = {}
            for tokens, n in words:
                for pair in zip(tokens, tokens[1:]):
                    counts[pair] = counts.get(pair, 0) + n
            texts = set(self.text.values())
            pairs = [(-n, pair) for pair, n in counts.items()
                     if self.text[pair[0]] + self.text[pair[1]] not in texts]
            left, right = min(pairs)[1]
            merged = len(NAMES) + len(self.text)
            self.text[merged] = self.text[left] + self.text[right]
            self.merges[left, right] = merged
            words = [(merge_pair(tokens, left, right, merged), n) for tokens, n in words]
        self.first_run = len(NAMES) + len(self.text)
        self.n = self.first_run + RUNS - 1
        for i in range(2, RUNS + 1):
            self.text[self.first_run + i - 2] = b" " * i

    def run(self, n):
        return self.first_run + n - 2 if n > 1 else 0xFFFFFFFF

    def merge(self, data):
        """The tokens of a word: the lowest merge everywhere, from left to right, and again."""
        tokens = [self.byte[b] for b in data]
        while True:
            found = [(self.merges[p], p) for p in zip(tokens, tokens[1:]) if p in self.merges]
            if not found:
                return tokens
            merged, (left, right) = min(found)
            tokens = merge_pair(tokens, left, right, merged)

    def encode_piece(self, data):
        """Text without special tokens. A bad byte B is U+DC00 + B on the way: it is in no
        table, and not normalized."""
        text = unicodedata.normalize("NFC", data.decode("utf-8", "surrogateescape"))
        tokens = []
        while text:
            at = text.find("  ")
            words = text if at < 0 else text[:at]
            for word in split_words(words):
                tokens += self.merge(word.encode("utf-8", "surrogateescape"))
            text = text[len(words):]
            n = min(RUNS, len(text) - len(text.lstrip(" ")))
            if n:
                tokens.append(self.run(n))
            text = text[n:]
        return tokens

    def encode(self, data, special):
        tokens = []
        while data:
            found = [(data.find(name.encode()), -len(name), i) for i, name in enumerate(NAMES)]
            found = sorted(f for f in found if f[0] >= 0) if special else []
            at = found[0][0] if found else len(data)
            tokens += self.encode_piece(data[:at])
            if found:
                tokens.append(found[0][2])
            data = data[at - found[0][1] if found else len(data):]
        return tokens


def trie(tokens):
    """Cells {base, parent, token + 1} of a double array; first fit."""
    none = 0xFFFFFFFF
    root = {}
    for i, text in sorted(tokens.items()):
        node = root
        for b in text:
            node = node.setdefault(b, {})
        node[-1] = i
    cells = [[none, none, 0]]
    waiting = [(0, root)]
    for at, node in waiting:  # grows on the way
        children = sorted(b for b in node if b >= 0)
        cells[at][2] = node.get(-1, -1) + 1
        base = 1
        while any(base + b < len(cells) and cells[base + b][1] != none for b in children):
            base += 1
        cells[at][0] = base if children else none
        for b in children:
            while len(cells) <= base + b:
                cells.append([0, none, 0])
            cells[base + b] = [none, at, 0]
            waiting.append((base + b, node[b]))
    return cells


def unicode_words():
    """Blocks and properties of characters, their decompositions and compositions; and how
    many there are of each."""
    known = [c for first, last in CHARACTERS for c in range(first, last + 1) if is_known(c)]
    syllables = range(0xAC00, 0xD7A4)
    decomposed, sequence, composed = [], [], []
    seconds = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    for c in known:
        parts = UCD.decomposition(chr(c)).split()
        if c in syllables or not parts or parts[0].startswith("<"):
            continue
        full = [ord(x) for x in unicodedata.normalize("NFD", chr(c))]
        decomposed += [c, len(sequence) * 8 + len(full)]
        sequence += full
        if len(parts) == 2 and unicodedata.normalize("NFC", chr(c)) == chr(c):
            composed.append((int(parts[0], 16), int(parts[1], 16), c))
            seconds.add(int(parts[1], 16))
    properties = {}
    for c in known:
        properties[c] = (character_class(c) | UCD.combining(chr(c)) << 2
                         | (c in decomposed[::2]) << 10 | (c in seconds) << 11
                         | (unicodedata.normalize("NFC", chr(c)) != chr(c)) << 12)
    blocks, numbers, contents = {}, [], b""
    for first in range(0, 0x110000, 128):
        block = struct.pack("<128H", *(properties.get(c, 0) for c in range(first, first + 128)))
        if block not in blocks:
            blocks[block] = len(blocks)
            contents += block
        numbers.append(blocks[block])
    tables = struct.pack("<8704H", *numbers) + contents + struct.pack(
        "<%dI" % (len(decomposed) + len(sequence) + 3 * len(composed)), *decomposed, *sequence,
        *(x for triple in sorted(composed) for x in triple))
    return tables, (len(blocks), len(decomposed) // 2, len(sequence), len(composed))


def bpe_vocabulary(pairs):
    texts, offsets = b"", [0]
    for i in range(pairs.n):
        texts += pairs.text.get(i, b"")
        offsets.append(len(texts))
    special = []
    for i, name in sorted(enumerate(NAMES), key=lambda s: (-len(s[1]), s[0])):
        special += [i, len(texts), len(name)]
        texts += name.encode()
    cells = trie({i: t for i, t in pairs.text.items()
                  if i < pairs.first_run and pairs.merge(t) == [i]})
    first, merges = [0], []
    for i in range(pairs.n):
        for (left, right), merged in sorted(pairs.merges.items()):
            merges += [right, merged] if left == i else []
        first.append(len(merges) // 2)
    tables, counts = unicode_words()
    numbers = [RUNS, len(NAMES), *counts, 0, 0] + [pairs.run(n) for n in range(1, RUNS + 1)]
    numbers += special
    head = [len(cells), len(texts), len(pairs.merges), len(numbers) + len(tables) // 4]
    head += offsets + [x for cell in cells for x in cell] + first + merges + numbers
    return pad(struct.pack("<%dI" % len(head), *head) + tables + texts)


def bpe_texts(pairs, random):
    """What is tested, one text at a time."""
    def draw(items, n):
        return "".join(items[random.bits() % len(items)] for _ in range(n))

    def characters(*numbers):
        return "".join(chr(c) for c in numbers)

    yield from ("", " ", "  ", "a", " a", "a ", "  a", "a  ", "a  b", "\n", " \n", "\n ", " \n a",
                "\0", "a\0b", "\t\t\t", "a\r\nb\r\n\r\n", "a \r\n\tb", "\u3000\u3000a\u00A0 b")
    yield from LEARNED_FROM.strip().split("\n")
    yield LEARNED_FROM
    yield from (" " * n for n in range(1, 51))
    yield from ("x" + " " * n + "y" for n in range(1, 51, 7))
    yield from (" " * n + "\n" + " " * n for n in range(1, 5))
    for c in CONTRACTIONS + ("'S", "'x", "'r", "'l", "'v", "'", "''s", "'sm", "\u2019s", "'\u017F"):
        yield from (c, " " + c, "I" + c, "I" + c + "n", "1" + c + "!", "  " + c + " ", "'" + c)
    yield from ("'then", "'The", "'seen", "'Street", "'return", "'Der", "'mother", "'Ll", "'RE")
    # normalization
    marks = characters(0x301, 0x323, 0x327, 0x345, 0x334, 0x302, 0x5B0, 0x64B, 0x93C)
    yield from ("a" + m + n for m in marks for n in marks)
    yield from (m + "a" + m for m in marks)
    yield from ("  " + marks, " " + marks, marks + "  ", "a " + marks[0], "\n" + marks[1], marks)
    yield from ("e\u0323\u0302 e\u0302\u0323 o\u031B\u0323 a\u0300\u0300 u\u0308\u0304\u0301",
                "\u1E9B\u0323 \u01D5\u0327 \u212B \u2126 \u00C5\u0323 \u0344 \u0340\u0341",
                "\u0958\u0915\u093C \u2ADC \uFB1D\u05D9\u05B4 \uFB4E \u0374\u037E\u1FEF\u2000")
    yield characters(0x1100, 0x1161, 0x11A8, 0x20, 0x1100, 0x1161, 0x11A7, 0xAC00, 0x11A8, 0xAC01,
                     0x11A8, 0x1112, 0x1175, 0x11C2, 0x1113, 0x1161, 0x1100, 0x1176, 0x1100, 0x301,
                     0x1161, 0xAC00, 0x301, 0x11A8, 0x1161, 0x11A8, 0xD7A3, 0x1100, 0x1161, 0x11C3)
    yield characters(0x1D15E, 0x1D157, 0x1D165, 0x1D15F, 0x1D16D, 0x301, 0x1D165, 0xF900, 0x10400)
    yield characters(0x9C7, 0x9BE, 0x9C7, 0x301, 0x9BE, 0xDD9, 0xDCF, 0xDCA, 0x1025, 0x102E, 0x304B,
                     0x3099, 0x3046, 0x3099, 0x3099)
    classes = [c for c in range(0x300, 0x600) if is_known(c) and UCD.combining(chr(c))]
    yield "a" + characters(*(classes[i * 7 % len(classes)] for i in range(2000)))
    yield "  " + characters(*(c for i in range(400) for c in (0x315, 0x316, 0x31B, 0x301, 0x345)))
    known = [chr(c) for c in range(0x3100) if is_known(c)]
    changing = [c for c in known if unicodedata.normalize("NFD", c) != c]
    some = [c for i, c in enumerate(known)
            if ord(c) < 256 or i % 8 == 0 or UCD.combining(c) or c in changing]
    for i in range(0, len(some), 200):
        yield "".join(some[i:i + 200])
    for i in range(0, len(changing), 200):
        yield unicodedata.normalize("NFD", "".join(changing[i:i + 200]))
    yield draw("a\u0301\u0323\u0327\u1100\u1161\u11A8\u0308o '", 2000)
    # long words
    yield from ("a" * 20000, "ha" * 3000, "-" * 10001, "\n" * 5000, "\t" * 4097, " " * 4099,
                "\u0915\u093C" * 2000, "the" * 2731, "aaa" * 1365 + "b" * 2, "\u00E9" * 10000)
    yield from (draw("thaein", n) for n in (2048, 2049, 6000))
    yield draw("\u0434\u0435\u043E\u0441\u0442", 1100)
    yield draw("-=_/", 3000)
    # special tokens
    yield from (NAMES[0], "a" + NAMES[0] + "b", NAMES[0] * 3, NAMES[1] + " " + NAMES[0],
                "<|endoftext|", "<<|endoftext|>>", " " + NAMES[1] + "  " + NAMES[1] + "  ",
                "e" + NAMES[0] + "\u0301", "it" + NAMES[0] + "'s", "\n" + NAMES[1] + "\n")
    for _ in range(60):
        yield draw(["the", " ", "  ", "\n", "'s", "'", "\u00E9", "e\u0301", "12", "!", "\u3042",
                    "\u0323", "\uAC00", "\u11A8", "\t", " a", "\u05D0", "\r\n", NAMES[0]],
                   1 + random.bits() % 40)


def bpe_bytes():
    """Texts that are not UTF-8."""
    bad = [0x80, 0xBF, *range(0xC2, 0xF5)]
    yield from (bytes([b]) for b in bad)
    for b in (b"\x80", b"\xE0", b"\xF4", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xE0\x80\x80"):
        yield from (b"e" + b + b"\xCC\x81 a", b"\xE1\x84\x80" + b + b"\xE1\x85\xA1",
                    b" " + b + b"!", b"  " + b, b"'" + b + b"s", b + b"\xCC\x81")
    for whole in ("\u00E9", "\u20AC", "\U0001D15E"):
        data = whole.encode()
        yield from (data[:n] for n in range(1, len(data)))
        yield from (data[:n] + b"a" + data for n in range(1, len(data)))
        yield from (data[:n] + data[:n] for n in range(1, len(data)))
    yield b"\x80" * 5000


def compressed(items):
    """Items in words; equal neighbours once, with *COUNT."""
    out = []
    for item in items:
        if out and out[-1][0] == item:
            out[-1][1] += 1
        else:
            out.append([item, 1])
    return " ".join(i if n == 1 else "%s*%d" % (i, n) for i, n in out)


def compressed_hex(data):
    """Hex; a long text with a short period as HEX*COUNT and the rest."""
    for period in range(1, 10):
        n = len(data) // period
        if len(data) > 200 and data[:period] * n == data[:period * n]:
            rest = data[period * n:].hex()
            return "%s*%d" % (data[:period].hex(), n) + (" " + rest if rest else "")
    return data.hex()


def shown_tokens(tokens):
    """Tokens in words; of many only their count and FNV-1a of them as little-endian u32."""
    if len(tokens) <= 200:
        return compressed(map(str, tokens))
    value = 0xCBF29CE484222325
    for b in struct.pack("<%dI" % len(tokens), *tokens):
        value = (value ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return "=%d %016x" % (len(tokens), value)


def bpe_lines(pairs, random):
    texts = [text.encode() for text in bpe_texts(pairs, random)] + list(bpe_bytes())
    for text in dict.fromkeys(texts):
        plain, special = pairs.encode(text, False), pairs.encode(text, True)
        line = compressed_hex(text) + "\t" + shown_tokens(plain)
        if special != plain:
            line += "\t" + shown_tokens(special)
        yield line + "\n"


def write_bpe(folder):
    """bpe.rwkv, and bpe.tsv: text in hex, a tab, its tokens; and if special tokens are found
    in it, a tab and the tokens with them. XX*N stands for N times XX; =N HASH: shown_tokens."""
    pairs = BytePairs(260)
    random = Random(2000)
    shape = (pairs.n, 2, 2, 2, 1)
    weights = make_weights(shape, BF16, False, random)
    path = os.path.join(folder, "bpe")
    model = pack_model(shape, BF16, TOKENIZER_20B, weights, bpe_vocabulary(pairs))
    lines = "".join(bpe_lines(pairs, random))
    print("%-14s %d tokens, %d texts" % ("bpe", pairs.n, lines.count("\n")))
    return write(path + ".rwkv", model) + write(path + ".tsv", lines.encode())


def make_fixture(seed, shape, kind, wide_keys, n):
    """Weights, tokens and their logits, rounded so that the last bits of libm do not show."""
    V, D, A, F, L = shape
    random = Random(seed)
    weights = make_weights(shape, kind, wide_keys, random)
    tokens = [random.bits() % V for _ in range(n)]
    state = State(D, A, L)
    return weights, tokens, [round(x, 12) for token in tokens
                             for x in evaluate(weights, L, token, state)]


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
        shape = (V, D, A, F, L)
        for seed in range(1000 + number, 2000, 10):
            try:
                weights, tokens, logits = make_fixture(seed, shape, kind, "keys" in name, n)
                break
            except NearTie:
                pass
        else:
            sys.exit("%s: every seed gives an input that is nearly a tie" % name)
        path = os.path.join(folder, name)
        total += write(path + ".rwkv", pack_model(shape, kind, tokenizer, weights))
        total += write(path + ".tokens", struct.pack("<%di" % n, *tokens))
        total += write(path + ".logits", struct.pack("<%dd" % len(logits), *logits))
        mean = sum(logits) / len(logits)
        deviation = math.sqrt(sum((x - mean) ** 2 for x in logits) / len(logits))
        print("%-14s %2d tokens, logits of standard deviation %.2f" % (name, n, deviation))
    total += write_bpe(folder)
    print("%d bytes in %s" % (total, os.path.relpath(folder)))


if __name__ == "__main__":
    main()
