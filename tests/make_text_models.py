#!/usr/bin/env python3
"""Makes tiny models with the published vocabularies: FOLDER/20b.rwkv and FOLDER/world.rwkv.

    python3 tests/make_text_models.py REFERENCE/tokenizers FOLDER

Their weights are zero: they are there for their tokenizers. The converter of tools/ does it.
"""
import json
import os
import struct
import subprocess
import sys

VOCABULARIES = [("20b", "20B_tokenizer.json", 50277), ("world", "rwkv_vocab_v20230424.txt", 65536)]
D, F = 2, 2


def checkpoint(V):
    """A safetensors file of one layer."""
    shapes = {"emb.weight": [V, D], "head.weight": [V, D]}
    for name in ("blocks.0.ln0", "blocks.0.ln1", "blocks.0.ln2", "ln_out"):
        shapes[name + ".weight"] = shapes[name + ".bias"] = [D]
    for name in ("time_decay", "time_first"):
        shapes["blocks.0.att." + name] = [D]
    for name in ("att.time_mix_k", "att.time_mix_r", "att.time_mix_v", "ffn.time_mix_k",
                 "ffn.time_mix_r"):
        shapes["blocks.0." + name] = [1, 1, D]
    for name in ("key", "value", "receptance", "output"):
        shapes["blocks.0.att.%s.weight" % name] = [D, D]
    shapes["blocks.0.ffn.key.weight"] = [F, D]
    shapes["blocks.0.ffn.receptance.weight"] = [D, D]
    shapes["blocks.0.ffn.value.weight"] = [D, F]
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(at)


def main():
    source, folder = sys.argv[1:]
    tools = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools")
    for name, vocabulary, V in VOCABULARIES:
        path = os.path.join(folder, name)
        with open(path + ".safetensors", "wb") as file:
            file.write(checkpoint(V))
        subprocess.run([sys.executable, os.path.join(tools, "convert_pth.py"),
                        path + ".safetensors", path + ".rwkv", "--type", "bf16",
                        "--vocab", os.path.join(source, vocabulary)],
                       check=True, stdout=subprocess.DEVNULL)
        os.remove(path + ".safetensors")


if __name__ == "__main__":
    main()
