#!/usr/bin/env python3
"""train.py: how small.rwkv was made, a model of bytes for boards of 256 KB. It needs PyTorch; the
project does not need this.

    make build/complete
    python3 examples/baremetal/train.py --minutes 35 --bytes 5000000 FOLDER

The text to learn from is written by examples/story.rwkv. FOLDER gets text.bin, small.pth, which goes
on being trained if it is there, and a sample after each thousand steps. Then

    python3 tools/convert_pth.py --type f32 --vocab bytes FOLDER/small.pth FOLDER/small-f32.rwkv
    build/quantize --type q4 FOLDER/small-f32.rwkv examples/baremetal/small.rwkv

Equations (11) to (19) and the initial values are those of arXiv 2305.13048, section 3 and appendix E.
"""
import argparse
import math
import pathlib
import subprocess
import time

import torch
from torch import nn
from torch.nn import functional

V, D, F, L = 256, 80, 320, 3


class Layer(nn.Module):
    def __init__(self, i):
        super().__init__()
        depth, rest = i / max(L - 1, 1), 1 - i / L
        ramp = torch.arange(D) / D
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        if i == 0:
            self.ln0 = nn.LayerNorm(D)
        self.att, self.ffn = nn.Module(), nn.Module()
        a, f = self.att, self.ffn
        a.time_decay = nn.Parameter(-5 + 8 * (torch.arange(D) / (D - 1)) ** (0.7 + 1.3 * depth))
        a.time_first = nn.Parameter(torch.full((D,), math.log(0.3)) +
                                    0.5 * ((torch.arange(D) + 1) % 3 - 1.0))
        a.time_mix_k = nn.Parameter((ramp ** rest).view(1, 1, D))
        a.time_mix_v = nn.Parameter((ramp ** rest + 0.3 * depth).view(1, 1, D))
        a.time_mix_r = nn.Parameter((ramp ** (0.5 * rest)).view(1, 1, D))
        f.time_mix_k = nn.Parameter((ramp ** rest).view(1, 1, D))
        f.time_mix_r = nn.Parameter((ramp ** rest).view(1, 1, D))
        for part, name, rows, columns in ((a, 'key', D, D), (a, 'value', D, D), (a, 'receptance', D, D),
                                          (a, 'output', D, D), (f, 'key', F, D),
                                          (f, 'receptance', D, D), (f, 'value', D, F)):
            linear = nn.Linear(columns, rows, bias=False)
            if (part, name) in ((a, 'value'), (f, 'key')):
                nn.init.orthogonal_(linear.weight, gain=math.sqrt(max(rows / columns, 1)))
            else:
                nn.init.zeros_(linear.weight)
            setattr(part, name, linear)

    def mix(self, x, part, letter):
        mu = getattr(part, 'time_mix_' + letter)
        before = functional.pad(x, (0, 0, 1, -1))
        return x * mu + before * (1 - mu)

    def forward(self, x):
        if hasattr(self, 'ln0'):
            x = self.ln0(x)
        a, f, y = self.att, self.ffn, self.ln1(x)
        k, v = a.key(self.mix(y, a, 'k')), a.value(self.mix(y, a, 'v'))
        r = torch.sigmoid(a.receptance(self.mix(y, a, 'r')))
        x = x + a.output(r * wkv(-torch.exp(a.time_decay), a.time_first, k, v))
        y = self.ln2(x)
        k = torch.square(torch.relu(f.key(self.mix(y, f, 'k'))))
        return x + torch.sigmoid(f.receptance(self.mix(y, f, 'r'))) * f.value(k)


def wkv(w, u, k, v):
    """(16), from an empty state."""
    out = []
    a = b = torch.zeros_like(k[:, 0])
    p = torch.full_like(a, -1e30)
    for t in range(k.shape[1]):
        q = torch.maximum(p, u + k[:, t])
        e, f = torch.exp(p - q), torch.exp(u + k[:, t] - q)
        out.append((e * a + f * v[:, t]) / (e * b + f))
        q = torch.maximum(p + w, k[:, t])
        e, f = torch.exp(p + w - q), torch.exp(k[:, t] - q)
        a, b, p = e * a + f * v[:, t], e * b + f, q
    return torch.stack(out, 1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, D)
        nn.init.uniform_(self.emb.weight, -1e-4, 1e-4)
        self.blocks = nn.ModuleList(Layer(i) for i in range(L))
        self.ln_out = nn.LayerNorm(D)
        self.head = nn.Linear(D, V, bias=False)
        nn.init.orthogonal_(self.head.weight, gain=0.5 * math.sqrt(V / D))

    def forward(self, tokens):
        x = self.emb(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_out(x))


def write_text(path, size):
    """Stories of the bundled model, a NUL before each."""
    with open(path, 'wb') as out:
        seed = 0
        while out.tell() < size:
            seed += 1
            out.write(b'\0' + subprocess.run(
                ['build/complete', '--quiet', '--length', '500', '--temperature', '0.7', '--top-p', '0.9',
                 '--seed', str(seed), 'examples/story.rwkv', ''], check=True, capture_output=True).stdout.strip())


@torch.no_grad()
def sample(model, length=300):
    tokens = [0] + list(b'Once upon a time')
    for _ in range(length):
        p = torch.softmax(model(torch.tensor([tokens[-256:]]))[0, -1] / 0.7, 0)
        tokens.append(int(torch.multinomial(p, 1)))
        if tokens[-1] == 0:
            break
    return bytes(tokens[1:]).decode('utf-8', 'replace')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--minutes', type=float, default=35)
    parser.add_argument('--bytes', type=int, default=5_000_000)
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / 'text.bin'
    if not path.exists():
        write_text(path, options.bytes)
    text = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    held = len(text) // 50
    model, at, batch, step = Model(), options.folder / 'small.pth', 32, 0
    if at.exists():
        model.load_state_dict(torch.load(at))
    print(sum(p.numel() for p in model.parameters()), 'parameters,', len(text), 'bytes', flush=True)
    adam = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99), eps=1e-8)
    end, start = time.time() + 60 * options.minutes, time.time()

    def loss_of(low, high, n, length):
        begin = torch.randint(low, high - length - 1, (n,))
        rows = torch.stack([text[b:b + length + 1] for b in begin]).long()
        return functional.cross_entropy(model(rows[:, :-1]).reshape(-1, V), rows[:, 1:].reshape(-1))

    while time.time() < end:
        done = (time.time() - start) / (end - start)
        for group in adam.param_groups:
            group['lr'] = 3e-3 * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        loss = loss_of(held, len(text), batch, 128)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        step += 1
        if step % 100 == 0:
            with torch.no_grad():
                bits = loss_of(0, held, 32, 256).item() / math.log(2)
            print(f'{step}: {loss.item() / math.log(2):.3f} bits a byte, {bits:.3f} of text not learned, '
                  f'{done:.0%}', flush=True)
        if step % 1000 == 0:
            print(sample(model), flush=True)
            torch.save(model.state_dict(), at)
    torch.save(model.state_dict(), at)
    print(sample(model))


if __name__ == '__main__':
    main()
