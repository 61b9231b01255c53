"""Telling tones, chirps and noise apart, from raw waveforms and from spectra.

    python -m flambeau examples/audio.py

Trains one network on waveforms (Conv1d) and one on short-time spectra (torch.stft); saves audio.png.
"""
import argparse
import math

import torch
import torch.nn as nn
from tqdm import trange

try:
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
except ImportError as error:
    raise SystemExit(f"{error}: this example needs pip install 'flambeau[examples]'")

RATE, LENGTH = 8000, 2048
KINDS = ('tone', 'chirp', 'noise')


def sounds(count):
    """(waveforms, kinds): a steady tone, a tone that rises or falls, or noise; all with some noise in them."""
    time = torch.arange(LENGTH) / RATE
    kinds = torch.randint(0, len(KINDS), (count,))
    start = 200 + 2800 * torch.rand(count, 1)
    end = 200 + (start + 300 + 1800 * torch.rand(count, 1)) % 2800  # at least 500 Hz away
    end = torch.where(kinds[:, None] == 0, start, end)
    phase = 2 * math.pi * (start * time + (end - start) * time ** 2 * RATE / LENGTH / 2)
    waves = torch.sin(phase + 2 * math.pi * torch.rand(count, 1))
    waves = torch.where(kinds[:, None] == 2, torch.randn(count, LENGTH) * 0.7, waves)
    return waves + 0.1 * torch.randn(count, LENGTH), kinds


def spectra(waves):
    """Logarithms of the short-time spectra, as images (count, 1, frequencies, times)."""
    window = torch.hann_window(256)
    return torch.stft(waves, 256, hop_length=128, window=window, return_complex=True).abs().add(1e-3).log().unsqueeze(1)


def on_waveforms():
    return nn.Sequential(
        nn.Unflatten(1, (1, LENGTH)), nn.Conv1d(1, 16, 32, stride=4), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Conv1d(16, 32, 16, stride=4), nn.BatchNorm1d(32), nn.ReLU(),
        nn.Conv1d(32, 32, 8, stride=2), nn.ReLU(), nn.AdaptiveMaxPool1d(8), nn.Flatten(), nn.Linear(256, len(KINDS)))


def on_spectra():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d((8, 3)), nn.Flatten(), nn.Linear(384, len(KINDS)))


def train(name, model, x, kinds, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    bar = trange(epochs, desc=name)
    for _ in bar:
        for batch in torch.randperm(len(x)).split(50):
            loss = nn.functional.cross_entropy(model(x[batch]), kinds[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        bar.set_postfix(loss=f'{loss.item():.3f}')
    return losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--quick', action='store_true', help='little data, two epochs')
    parser.add_argument('--picture', default='audio.png')
    options = parser.parse_args()
    torch.manual_seed(0)
    count, epochs = (150, 2) if options.quick else (2400, 12)
    waves, kinds = sounds(count)
    test_waves, test_kinds = sounds(300)
    figure, axes = plt.subplots(figsize=(5, 3), layout='constrained')
    for name, model, features in (('waveforms', on_waveforms(), lambda w: w), ('spectra', on_spectra(), spectra)):
        axes.plot(train(name, model, features(waves), kinds, epochs), label=name, linewidth=1)
        model.eval()
        with torch.no_grad():
            right = (model(features(test_waves)).argmax(1) == test_kinds).float().mean().item()
        print(f'from {name}: {right:.1%} of 300 new sounds told right')
    axes.set(yscale='log', xlabel='step', ylabel='cross entropy')
    axes.legend()
    figure.savefig(options.picture, dpi=100)
    print(f'saved {options.picture}')


if __name__ == '__main__':
    main()
