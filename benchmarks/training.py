"""Times training steps of whole networks under flambeau and, where it is installed, PyTorch: the figures of the README.

    python benchmarks/training.py
"""
import importlib
import time

from libraries import measure_each


def cnn(torch):
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.optim.Adam, torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))


def resnet18(torch):
    nn = torch.nn

    def convolved(inputs, outputs, size, stride):
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.main = nn.Sequential(*convolved(inputs, outputs, 3, stride), nn.ReLU(), *convolved(outputs, outputs, 3, 1))
            self.side = nn.Sequential(*convolved(inputs, outputs, 1, stride)) if stride > 1 else nn.Identity()

        def forward(self, x):
            return torch.relu(self.main(x) + self.side(x))
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
    model = nn.Sequential(*convolved(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *[Block(*w) for w in widths],
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return model, torch.optim.SGD, torch.randn(8, 3, 224, 224), torch.randint(0, 1000, (8,))


def gpt(torch):
    nn, width = torch.nn, 384

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(4096, width)
            layer = nn.TransformerEncoderLayer(width, 6, 4 * width, 0.0, 'gelu', batch_first=True, norm_first=True)
            self.layers = nn.TransformerEncoder(layer, 6, nn.LayerNorm(width), enable_nested_tensor=False)
            self.head = nn.Linear(width, 4096, bias=False)
            self.register_buffer('mask', nn.Transformer.generate_square_subsequent_mask(256))

        def forward(self, tokens):
            return self.head(self.layers(self.embed(tokens), self.mask, is_causal=True)).flatten(0, 1)
    return Model(), torch.optim.AdamW, torch.randint(0, 4096, (4, 256)), torch.randint(0, 4096, (1024,))


def lstm(torch):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.recurrent = nn.Embedding(1000, 128), nn.LSTM(128, 256, 2, batch_first=True)
            self.head = nn.Linear(256, 1000)

        def forward(self, tokens):
            return self.head(self.recurrent(self.embed(tokens))[0]).flatten(0, 1)
    return Model(), torch.optim.Adam, torch.randint(0, 1000, (32, 48)), torch.randint(0, 1000, (1536,))


def measure(library):
    torch = importlib.import_module(library)
    for network in (cnn, resnet18, gpt, lstm):
        torch.manual_seed(0)
        model, optimizer, x, y = network(torch)
        optimizer = optimizer(model.parameters(), lr=1e-3)
        times = []
        for _ in range(15):
            start = time.perf_counter()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
            times.append(time.perf_counter() - start)
        print(f'{library:10} {network.__name__:10} first step {times[0]:6.2f} s, then {sorted(times[3:])[4] * 1e3:8.1f} ms', flush=True)


if __name__ == '__main__':
    measure_each(__file__, measure)
