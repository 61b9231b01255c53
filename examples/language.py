"""A small GPT learns to write Python, character by character, from the standard library's own source files.

    python -m flambeau examples/language.py

Prints what it writes at the end, and saves language.png.
"""
import argparse
import math
import pathlib
import sysconfig

import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import trange

try:
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
except ImportError as error:
    raise SystemExit(f"{error}: this example needs pip install 'flambeau[examples]'")

CONTEXT, WIDTH, HEADS, DEPTH = 64, 96, 4, 3


class Block(nn.Module):
    """Attention to what came before, then a small network at each place."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (z.view(batch, length, HEADS, -1).transpose(1, 2)
                   for z in self.qkv(self.norm1(x)).split(WIDTH, dim=2))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.token, self.place = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)

    def forward(self, text):
        x = self.token(text) + self.place(torch.arange(text.shape[1]))
        return self.head(self.norm(self.blocks(x)))

    @torch.no_grad()
    def write(self, text, length):
        for _ in range(length):
            logits = self(text[:, -CONTEXT:])[:, -1] / 0.8
            text = torch.cat([text, torch.multinomial(F.softmax(logits, -1), 1)], 1)
        return text


def source_text(limit=400_000):
    """Source files of the standard library, in the alphabet's order."""
    parts, size = [], 0
    for path in sorted(pathlib.Path(sysconfig.get_path('stdlib')).glob('*.py')):
        text = path.read_text(errors='ignore')
        if text.isascii():
            parts.append(text)
            size += len(text)
        if size > limit:
            break
    return ''.join(parts)[:limit]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--steps', type=int, default=1000)
    parser.add_argument('--quick', action='store_true', help='a few steps only')
    parser.add_argument('--picture', default='language.png')
    options = parser.parse_args()
    if options.steps < 1:
        parser.error('--steps must be at least 1')
    steps = 5 if options.quick else options.steps
    torch.manual_seed(0)
    text = source_text()
    alphabet = sorted(set(text))
    number = {c: k for k, c in enumerate(alphabet)}
    data = torch.tensor([number[c] for c in text])

    model, losses = GPT(len(alphabet)), []
    print(f'{sum(p.numel() for p in model.parameters()):,} parameters, {len(text):,} characters')
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps)))
    bar = trange(steps)
    for _ in bar:
        starts = torch.randint(len(data) - CONTEXT - 1, (16, 1))
        window = data[starts + torch.arange(CONTEXT + 1)]
        logits = model(window[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f'{loss.item():.3f}')

    start = torch.tensor([[number[c] for c in 'def ']])
    print(''.join(alphabet[k] for k in model.write(start, 40 if options.quick else 400)[0].tolist()))
    figure, axes = plt.subplots(figsize=(5, 3), layout='constrained')
    axes.plot(losses, linewidth=1)
    axes.set(xlabel='step', ylabel='cross entropy per character')
    figure.savefig(options.picture, dpi=100)
    print(f'saved {options.picture}')


if __name__ == '__main__':
    main()
