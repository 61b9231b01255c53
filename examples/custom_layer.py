"""A convolution layer of one's own: a Module with its own parameters, from patches and a matrix product.

    python -m flambeau examples/custom_layer.py
"""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import trange


class CustomConv2d(nn.Module):
    """The product of every patch of the image with the kernels."""

    def __init__(self, in_channels, out_channels, kernel_size):
        super().__init__()
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.weight, nonlinearity='relu')

    def forward(self, x):
        patches = F.unfold(x, self.kernel_size)                        # (batch, channels * k * k, places)
        out = self.weight.flatten(1) @ patches + self.bias[:, None]    # (batch, out_channels, places)
        side = x.shape[-1] - self.kernel_size + 1
        return out.unflatten(2, (x.shape[-2] - self.kernel_size + 1, side))

    def extra_repr(self):
        return f'{self.weight.shape[1]}, {self.weight.shape[0]}, kernel_size={self.kernel_size}'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--quick', action='store_true', help='a few steps only')
    steps = 20 if parser.parse_args().quick else 300
    torch.manual_seed(0)
    teacher = nn.Conv2d(1, 4, 3)  # what the layer is to find out
    layer = CustomConv2d(1, 4, 3)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    bar = trange(steps)
    for _ in bar:
        x = torch.randn(8, 1, 12, 12)
        loss = F.mse_loss(layer(x), teacher(x).detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f'{loss.item():.5f}')
    print(layer)
    print(f'difference from the kernels it learned: {(layer.weight - teacher.weight).abs().max().item():.4f}')


if __name__ == '__main__':
    main()
