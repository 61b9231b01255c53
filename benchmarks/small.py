"""Times small eager work under flambeau and, where it is installed, PyTorch: the figures of the README.

    python benchmarks/small.py
"""
import importlib
import timeit

from libraries import measure_each


def workloads(torch):
    """{name: (a function that does the work so many times, how many)}"""
    nn = torch.nn
    torch.manual_seed(0)
    model, mse = nn.Linear(2, 1), nn.MSELoss()
    x, y = torch.tensor([[1.0, 2], [3, 4], [5, 6]]), torch.tensor([[2.0], [4], [6]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    a, b, g = torch.randn(4, 4), torch.randn(4, 4), torch.randn(4, 4, requires_grad=True)
    tiny, row = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)), torch.randn(1, 8)

    def step():
        optimizer.zero_grad()
        mse(model(x), y).backward()
        optimizer.step()

    def chain():
        z = g
        for _ in range(1000):
            z = z * 1.001
        z.sum().backward()

    def infer():
        with torch.no_grad():
            tiny(row)
    return {'linear regression step': (step, 200), 'a + b': (lambda: a + b, 5000), 'a + b recorded': (lambda: g + b, 5000),
            'softmax': (lambda: torch.softmax(a, -1), 5000), 'chain of 1000': (chain, 1), 'tiny network': (infer, 1000)}


def measure(library):
    torch = importlib.import_module(library)
    for name, (work, times) in workloads(torch).items():
        work()
        seconds = sorted(timeit.repeat(work, number=times, repeat=30))[15] / times
        print(f'{library:10} {name:24} {seconds * 1e6:10.2f} us', flush=True)


if __name__ == '__main__':
    measure_each(__file__, measure)
