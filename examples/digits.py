"""A small convolutional network learns scikit-learn's handwritten digits.

    python -m flambeau examples/digits.py

Prints the accuracy on a fifth of the digits that it never saw, and saves digits.png.
"""
import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from tqdm import trange

try:
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_digits
except ImportError as error:
    raise SystemExit(f"{error}: this example needs pip install 'flambeau[examples]'")


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10))


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def picture(path, losses, images, labels, guesses):
    figure = plt.figure(figsize=(9, 3.2), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    axes = left.subplots()
    axes.plot(losses, color='tab:orange', linewidth=1)
    axes.set(yscale='log', xlabel='step', ylabel='cross entropy', title='loss')
    for axes, image, label, guess in zip(right.subplots(3, 8).flat, images, labels, guesses):
        axes.imshow(image[0], cmap='gray_r')
        axes.set_title(str(guess.item()), color='tab:green' if guess == label else 'tab:red', fontsize=9)
        axes.axis('off')
    right.suptitle('guesses for digits it never saw')
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--quick', action='store_true', help='two epochs only')
    parser.add_argument('--picture', default='digits.png')
    options = parser.parse_args()
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    labels = torch.from_numpy(digits.target).long()
    train, test = random_split(TensorDataset(images, labels), [0.8, 0.2])
    loader = DataLoader(train, batch_size=32, shuffle=True)

    model, losses = make_model(), []
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()
    bar = trange(2 if options.quick else 20)
    for _ in bar:
        model.train()
        for x, y in loader:
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        bar.set_postfix(loss=f'{loss.item():.3f}')

    images, labels = test[:]
    print(f'accuracy on {len(test)} digits it never saw: {accuracy(model, images, labels):.1%}')
    picture(options.picture, losses, images[:24], labels[:24], model(images[:24]).argmax(1))
    print(f'saved {options.picture}')


if __name__ == '__main__':
    main()
