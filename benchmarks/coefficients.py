"""Fits the polynomials of flambeau/kernel/coefficients.py and writes that file: `python benchmarks/coefficients.py`.

Each is the minimax polynomial of a function on an interval, for an error weighted as it enters the result: Remez' exchange
(1934) over the points of a fine Chebyshev grid, with 60 digits. The first coefficients, whose rounding weighs most, are
rounded one after the other and the rest fitted again, where the interval lies on one side of 0. Needs mpmath; takes some 20
seconds.
"""
import pathlib
import struct

import mpmath as mp

mp.mp.dps = 60
ROUNDED_FIRST = 2
TARGET = pathlib.Path(__file__).parent.parent / 'flambeau' / 'kernel' / 'coefficients.py'
HEAD = '''"""Coefficients of polynomials, of rising powers, for float32 and float64. Written by benchmarks/coefficients.py.

Each comment says what is approximated, and where; the numbers are powers of two that bound the weighted error.
"""
'''


def _in_root(f):
    """(f(sqrt(z)) / sqrt(z) - 1) / z, for odd f with slope 1."""
    return lambda z: (f(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def scaled_erfc(t):
    """(1 + 2 x) exp(x * x) erfc(x) - 1.1875 where t = (x - 4) / (x + 4)."""
    x = 4 * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) - mp.mpf('1.1875')


def erfinv_over_x(w):
    """erfinv(x) / x - 1 where w = -log(1 - x * x), by Newton's steps on log(erfc)."""
    x = mp.sqrt(-mp.expm1(-w))
    beyond, y = -w - mp.log1p(x), mp.sqrt(w) if w > 1 else x * 0.9
    for _ in range(40):
        rest = mp.erfc(y)
        step = (mp.log(rest) - beyond) * rest * mp.exp(y * y) * mp.sqrt(mp.pi) / -2
        y -= step
        if abs(step) < mp.mpf(10) ** -50:
            break
    return y / x - 1


def stirling(z):
    """What Stirling's formula for log(gamma(x)) lacks, times x, where z = 1 / x**2."""
    x = 1 / mp.sqrt(z)
    return (mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2) * x


QUARTER = (mp.pi / 4 * mp.mpf('1.01')) ** 2
SECTOR = mp.tan(mp.pi / 8) ** 2 * mp.mpf('1.001')
DIGAMMA_ZERO = mp.findroot(mp.digamma, 1.46)
ONE, SQUARE = (lambda z: 1), (lambda z: z * z)


def itself(z):
    return z


# name: (what, function, interval, weight, {bits: terms}); the interval may depend on bits
FITS = {
    'SIN': ('(sin(r) / r - 1) / z in z = r * r, |r| <= pi / 4', _in_root(mp.sin), (0, QUARTER), itself, {32: 4, 64: 7}),
    'COS': ('(cos(r) - 1) / z in z = r * r, |r| <= pi / 4', lambda z: (mp.cos(mp.sqrt(z)) - 1) / z, (0, QUARTER), itself,
            {32: 4, 64: 7}),
    'TAN': ('(tan(r) / r - 1) / z in z = r * r, |r| <= pi / 4', _in_root(mp.tan), (0, QUARTER), itself, {32: 7, 64: 15}),
    'EXP': ('(exp(r) - 1 - r) / r**2, |r| <= log(2) / 2', lambda r: (mp.exp(r) - 1 - r) / r**2, ('-0.347', '0.347'), SQUARE,
            {32: 5, 64: 11}),
    'LOG': ('(2 atanh(s) / s - 2) / z in z = s * s, (1 + s) / (1 - s) from root 1/2 to root 2',
            lambda z: 2 * _in_root(mp.atanh)(z), (0, '0.0295'), itself, {32: 4, 64: 8}),
    'LOG_REST': ('(2 atanh(s) / s - 2 - 2/3 z) / z**2 as before', lambda z: (2 * _in_root(mp.atanh)(z) - mp.mpf(2) / 3) / z,
                 (0, '0.0295'), SQUARE, {64: 8}),
    'TANH': ('(tanh(x) / x - 1) / z in z = x * x, |x| <= 0.625', _in_root(mp.tanh), (0, '0.391'), itself, {32: 5, 64: 11}),
    'SINH': ('(sinh(x) / x - 1) / z in z = x * x, |x| <= 1', _in_root(mp.sinh), (0, 1), itself, {32: 4, 64: 8}),
    'ATAN': ('(atan(t) / t - 1) / z in z = t * t, |t| <= tan(pi / 8)', _in_root(mp.atan), (0, SECTOR), itself,
             {32: 5, 64: 12}),
    'ASIN': ('(asin(x) / x - 1) / z in z = x * x, |x| <= 1/2', _in_root(mp.asin), (0, '0.25'), itself, {32: 5, 64: 13}),
    'ASINH': ('(asinh(x) / x - 1) / z in z = x * x, |x| <= 1/2', _in_root(mp.asinh), (0, '0.25'), itself, {32: 5, 64: 12}),
    'ATANH': ('(atanh(x) / x - 1) / z in z = x * x, |x| <= 1/2', _in_root(mp.atanh), (0, '0.25'), itself, {32: 6, 64: 14}),
    'ACOSH': ('(acosh(1 + t) / sqrt(2 t) - 1) / t, t <= 1/2', lambda t: (mp.acosh(1 + t) / mp.sqrt(2 * t) - 1) / t, (0, '0.5'),
              itself, {32: 5, 64: 12}),
    'ERF': ('erf(x) / x - 1 in z = x * x, |x| <= 1', lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, (0, 1), ONE,
            {32: 7, 64: 13}),
    'ERFC': ('(1 + 2 x) exp(x * x) erfc(x) - 1.1875 in t = (x - 4) / (x + 4), x >= 1/2 to where erfc is 0', scaled_erfc,
             {32: ('-0.778', '0.432'), 64: ('-0.778', '0.7445')}, ONE, {32: 10, 64: 22}),
    'ERFINV': ('erfinv(x) / x - 1 in w = -log(1 - x * x) <= 4', erfinv_over_x, (0, '4.01'), ONE, {32: 10, 64: 20}),
    'ERFINV_FAR': ('erfinv(x) / x - 1 in s = sqrt(w) - 3 >= -1 as before, to the last number below 1, for one step more',
                   lambda s: erfinv_over_x((s + 3)**2), ('-1.01', '3.02'), ONE, {64: 12}),
    'SIN_PI': ('sin(pi r) / (pi r) in z = r * r, |r| <= 1/2', lambda z: mp.sinpi(mp.sqrt(z)) / mp.sqrt(z) / mp.pi,
               (0, '0.25'), ONE, {64: 9}),
    'LGAMMA': ("(log(gamma(2 + t)) / t - its derivative at 2) / t, -0.59 <= t <= 1/2",
               lambda t: (mp.loggamma(2 + t) / t - 1 + mp.euler) / t, ('-0.591', '0.5'), lambda t: abs(t), {64: 18}),
    'DIGAMMA': ('digamma(1.5 + t) / (1.5 + t - its zero), |t| <= 1/2',
                lambda t: mp.digamma(t + 1.5) / (t + 1.5 - DIGAMMA_ZERO), ('-0.5', '0.5'), ONE, {64: 21}),
    'DIGAMMA_FAR': ('(log(x) - 1 / (2 x) - digamma(x)) x**2 in z = 1 / x**2, x >= 8',
                    lambda z: (mp.log(z) / -2 - mp.sqrt(z) / 2 - mp.digamma(1 / mp.sqrt(z))) / z, ('1e-8', 1 / mp.mpf(64)),
                    itself, {64: 7}),
    'STIRLING': ("x times what Stirling's formula lacks of log(gamma(x)) in z = 1 / x**2, x >= 8", stirling,
                 ('1e-8', 1 / mp.mpf(64)), lambda z: mp.sqrt(z) / 8, {64: 6}),
}
PIECE = mp.mpf(33) / 128


def erf_over_x(x):
    return mp.erf(x) / x if x else 2 / mp.sqrt(mp.pi)


def erf_pieces():
    """Six rows of 16 coefficients, and the worst error, of erf(x) / x - (k < 4) in x - k * PIECE, where that is small."""
    found = [fit(lambda u: erf_over_x(k * PIECE + u) - (k < 4), (-PIECE / 2, PIECE / 2),
                 lambda u: 1 / erf_over_x(k * PIECE + u), 6, 32) for k in range(16)]
    return list(zip(*[coefficients for coefficients, _ in found])), max(worst for _, worst in found)


def rounded(value, bits):
    """The nearest number of that width."""
    kind = '<f' if bits == 32 else '<d'
    return struct.unpack(kind, struct.pack(kind, float(value)))[0]


def exchange(values, weights, points, powers):
    """(coefficients, worst weighted error) of the minimax polynomial with those powers over the points."""
    n, count = len(powers), len(points)
    reference = [int((count - 1) * (1 - mp.cos(mp.pi * k / n)) / 2) for k in range(n + 1)]
    table = [[z ** p for p in powers] for z in points]
    best = None
    for _ in range(30):
        system = mp.matrix([[*table[i], (-1) ** row / weights[i]] for row, i in enumerate(reference)])
        *coefficients, level = mp.lu_solve(system, mp.matrix([values[i] for i in reference]))
        errors = [w * (v - mp.fdot(coefficients, t)) for w, v, t in zip(weights, values, table)]
        peaks = []  # the worst point of each run of one sign
        for i, e in enumerate(errors):
            if not peaks or (e > 0) != (errors[peaks[-1]] > 0):
                peaks.append(i)
            elif abs(e) > abs(errors[peaks[-1]]):
                peaks[-1] = i
        while len(peaks) > n + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        worst = max(map(abs, errors))
        if best is None or worst < best[1]:
            best = coefficients, worst
        if len(peaks) <= n or worst < abs(level) * mp.mpf('1.001'):
            break
        reference = peaks
    return best


def fit(function, interval, weight, terms, bits):
    """(rounded coefficients, worst weighted error)."""
    low, high = map(mp.mpf, interval)
    count = 24 * terms
    points = [low + (high - low) * (1 - mp.cos(mp.pi * (k + mp.mpf(1) / 2) / count)) / 2 for k in range(count)]
    values, weights, fixed = [function(z) for z in points], [weight(z) for z in points], []
    for first in range(ROUNDED_FIRST if low >= 0 else 0):  # without its first powers a polynomial is unique only beside 0
        coefficients, _ = exchange(values, weights, points, range(first, terms))
        fixed.append(rounded(coefficients[0], bits))
        values = [v - fixed[-1] * z ** first for v, z in zip(values, points)]
    coefficients, worst = exchange(values, weights, points, range(len(fixed), terms))
    return [*fixed, *(rounded(c, bits) for c in coefficients)], worst


def shortest(value, bits):
    """The shortest text that rounds to the number."""
    return next(t for t in (f'{value:.{d}g}' for d in range(1, 18)) if rounded(float(t), bits) == value)


def rows_of(numbers, bits, indent):
    """A tuple as text, its numbers over lines."""
    lines, line = [], '('
    for text in [shortest(c, bits) + ', ' for c in numbers]:
        if len(indent) + len(line) + len(text) > 120:
            lines.append(line.rstrip())
            line = indent
        line += text
    return '\n'.join([*lines, line.rstrip(', ') + '),'])


def main():
    lines = [HEAD]
    for name, (what, function, interval, weight, terms) in FITS.items():
        tables, errors = [], []
        for bits, n in terms.items():
            found, worst = fit(function, interval[bits] if isinstance(interval, dict) else interval, weight, n, bits)
            errors.append(f'{float(mp.log(worst, 2)):.1f}')
            tables.append(f'    {bits}: ' + rows_of(found, bits, ' ' * 9))
        lines.append(f'\n# {what}: {", ".join(errors)}\n{name} = {{\n' + '\n'.join(tables) + '\n}\n')
        print(name, *errors, flush=True)
    rows, worst = erf_pieces()
    lines.append(f'\n# erf(x) / x - (k < 4) in x - k * {float(PIECE)}, next to k * {float(PIECE)} for k from 0 to 15: '
                 f'{float(mp.log(worst, 2)):.1f}\nERF_PIECE = {float(PIECE)}\nERF_PIECES = (\n    '
                 + '\n    '.join(rows_of(row, 32, ' ' * 5) for row in rows) + '\n)\n')
    TARGET.write_text(''.join(lines))


if __name__ == '__main__':
    main()
