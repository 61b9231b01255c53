"""Times large work under flambeau and, where it is installed, PyTorch, with shares of the processor's peak.

    python benchmarks/large.py

Products and convolutions are set against the peak of fused multiply-adds in float32, measured by a generated loop on all
threads in the same run (minimal filtering multiplies less than it is counted for, and may exceed it); work that is bound by
memory against a copy of 64 MB.
"""
import importlib
import time

from libraries import measure_each


def products(torch):
    """{name: (work, floating point operations)}"""
    found = {}
    for n in (256, 512, 1024, 2048):
        a, b = torch.randn(n, n), torch.randn(n, n)
        found[f'product {n}'] = (lambda a=a, b=b: a @ b), 2 * n ** 3
    for c, size in ((64, 56), (128, 28), (256, 14), (512, 7)):
        x, w = torch.randn(8, c, size, size), torch.randn(c, c, 3, 3)
        found[f'convolution 3x3, {c} channels, {size}x{size}'] = (
            (lambda x=x, w=w: torch.nn.functional.conv2d(x, w, padding=1)), 2 * 8 * c * c * 9 * size * size)
    return found


def others(torch):
    """{name: (work, bytes that its operations read and write, or None where memory is not what bounds it)}"""
    x, rows, scores = torch.randn(1 << 24), torch.randn(4096, 1024), torch.randn(1 << 20)
    q = torch.randn(8, 6, 256, 64)
    attention = torch.nn.functional.scaled_dot_product_attention
    whole, part = 4 * x.numel(), 4 * rows.numel()
    layer = torch.nn.LayerNorm(1024)
    return {'copy, 16M': (lambda: x.clone(), 2 * whole), 'x + x, 16M': (lambda: x + x, 2 * whole), 'sum, 16M': (lambda: x.sum(), whole),
            'tanh(x * 2 + 1) * x + exp(x), 16M': (lambda: torch.tanh(x * 2 + 1) * x + x.exp(), 14 * whole),
            'softmax 4096x1024': (lambda: torch.softmax(rows, -1), 2 * part), 'layer norm 4096x1024': (lambda: layer(rows), 2 * part),
            'gelu 4096x1024': (lambda: torch.nn.functional.gelu(rows), 2 * part), 'sort 1M': (lambda: torch.sort(scores), None),
            'causal attention 8x6x256x64': (lambda: attention(q, q, q, is_causal=True), None)}


def fused_multiply_adds(target, count):
    """A loop over vectors in registers: the kernel that measures the peak."""
    from flambeau.kernel.ir import Builder
    from flambeau.kernel.types import f32, i64, pointer
    b = Builder('peak', out=pointer(f32), chunks=i64, n=i64)
    out, chunks, n = b.parameters
    kind = f32.vector(target.lanes(f32))
    with b.parallel(chunks) as chunk:
        sums = [b.variable(float(k), kind) for k in range(count)]
        factor = b.splat(b.load(out), kind.lanes)
        with b.loop(0, n):
            for s in sums:
                s.set(b.fma(s.get(), factor, factor))
        for k, s in enumerate(sums):  # each to its own place: what nothing reads is not computed
            b.store(s.get(), out + (chunk * count + (k + 1)) * kind.lanes)
    return b.finish()


def peak():
    import numpy as np
    from flambeau.backends.cpu.build import compiled
    from flambeau.backends.cpu.properties import target
    count, chunks, n = 12, 16, 400_000
    kernel, out = compiled(fused_multiply_adds, count), np.zeros(16 * count * (chunks + 1), np.float32)
    seconds = best(lambda: kernel(out, chunks, n))
    return 2 * count * chunks * n * (target().vector_bytes // 4) / seconds


def best(work):
    work()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 3]


def measure(library):
    torch = importlib.import_module(library)
    torch.manual_seed(0)
    top = peak() if library == 'flambeau' else None
    if top:
        print(f'{library:10} peak of multiply-adds {top / 1e9:8.0f} GFLOPS', flush=True)
    for name, (work, operations) in products(torch).items():
        rate = operations / best(work)
        share = f'{rate / top:6.0%} of peak' if top else ''
        print(f'{library:10} {name:44} {rate / 1e9:8.0f} GFLOPS {share}', flush=True)
    copied = None
    for name, (work, moved) in others(torch).items():
        seconds = best(work)
        rate = moved and moved / seconds
        copied = copied or rate
        share = f'{rate / 1e9:5.0f} GB/s, {rate / copied:4.0%} of a copy' if moved else ''
        print(f'{library:10} {name:44} {seconds * 1e3:8.2f} ms    {share}', flush=True)


if __name__ == '__main__':
    measure_each(__file__, measure)
