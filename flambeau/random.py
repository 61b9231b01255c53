"""Generators of random words: seeding, state, and the process-wide default generator.

A `Generator` hands out the 32-bit words of a Mersenne twister (MT19937) in the order in which PyTorch's CPU generator
does, so every distribution built on them can give PyTorch's numbers. What is made of the words is not its business:
see `ops/draws.py` for the distributions over arrays.
"""
from __future__ import annotations

import contextlib
import ctypes
import math
import os
import struct

import numpy as np

from .device import resolve

__all__ = ['Generator', 'default_generator', 'manual_seed', 'seed', 'initial_seed', 'get_rng_state', 'set_rng_state',
           'fork_rng', 'thread_safe_generator']

UNSEEDED = 67280421310721  # the seed of a generator that nobody has seeded
WORDS = 624  # the words of the twister's state, and of one refill
# seed, words left + 1, seeded, words used; the state, each word in 64 bits; three doubles of which the second is the
# cached normal sample; whether it is valid; a cached float sample, which CPU generators never have.
STATE = struct.Struct(f'<QiiQ{WORDS * 8}sdddi4xf?3x')

forbidden = []  # why no numbers may be drawn now, innermost last; None: they may


class Generator:
    """A stream of random numbers with its own seed and state: PyTorch's CPU generator, number for number.

    >>> import flambeau as torch
    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])

    `normal_sample` holds the second value of the last Box-Muller pair until it is asked for (None: there is none).
    """

    __slots__ = ('device', 'normal_sample', '_seed', '_engine', '_raw', '_twister', '_pending', '__weakref__')

    def __init__(self, device='cpu'):
        self.device = resolve(device)
        self._engine = None
        self.manual_seed(UNSEEDED)

    # ---- seeding and state -------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> 'Generator':
        """Starts the stream of `seed` and returns the generator.

        `seed` lies in [-2**63, 2**64); negative seeds stand for their value modulo 2**64. The stream depends on the
        low 32 bits alone. Raises RuntimeError for anything but an integer, ValueError out of range.
        """
        if not hasattr(seed, '__index__') or isinstance(seed, bool):
            raise RuntimeError(f'manual_seed expected a long, but got {type(seed).__name__}')
        seed = seed.__index__()
        if not -2 ** 63 <= seed < 2 ** 64:
            raise ValueError(f'Overflow when unpacking long long: manual_seed expects a seed in [-2**63, 2**64), '
                             f'got {seed}')
        self._seed = seed % 2 ** 64
        self._pending = True  # the engine gets its seed when the first word is drawn
        self.normal_sample = None
        return self

    def seed(self) -> int:
        """Seeds the generator from the operating system's entropy and returns that 64-bit seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), 'little'))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the stream started from."""
        return self._seed

    def get_state(self):
        """The state as a tensor of 5056 bytes (uint8), in PyTorch's format."""
        from .tensor import wrap
        return wrap(np.frombuffer(bytearray(self._pack()), np.uint8))

    def set_state(self, new_state) -> None:
        """Continues where `new_state`, a result of `get_state` here or in PyTorch, was taken.

        Raises TypeError for anything but a uint8 tensor, RuntimeError where its bytes are not a generator's state.
        """
        from .tensor import Tensor
        if not isinstance(new_state, Tensor):
            raise TypeError(f'expected a torch.ByteTensor, but got {type(new_state).__name__}')
        if new_state._array.dtype != np.uint8:
            raise TypeError(f'RNG state must be a torch.ByteTensor, got a tensor of {new_state.dtype}')
        self._unpack(new_state._array.tobytes())

    def clone_state(self) -> 'Generator':
        """A new generator that continues this stream on its own."""
        clone = Generator(self.device)
        clone._unpack(self._pack())
        return clone

    def get_offset(self):
        """Only generators of accelerators have an offset: raises RuntimeError."""
        raise RuntimeError('CPU Generator does not use offset')

    def set_offset(self, offset):
        """Only generators of accelerators have an offset: raises RuntimeError."""
        raise RuntimeError('CPU Generator does not use offset')

    def __reduce__(self):
        return Generator, (self.device,), self._pack()

    def __setstate__(self, state: bytes):
        self._unpack(state)

    def _pack(self) -> bytes:
        twister = self._memory()
        key, used = twister[:WORDS], int(twister[WORDS])
        fresh = used == WORDS and key[0] == self._seed & 0xFFFFFFFF  # what a seeded state begins with
        sample = self.normal_sample
        return STATE.pack(self._seed, WORDS + 1 - used, 1, 0 if fresh else used, key.astype('<u8').tobytes(),
                          0.0, sample or 0.0, 0.0, sample is not None, 0.0, False)

    def _unpack(self, state: bytes) -> None:
        if len(state) != STATE.size:
            raise RuntimeError(f'Expected a CPUGeneratorImplState of size {STATE.size} but found the input RNG state '
                               f'size to be {len(state)}')
        seed, left, seeded, used, key, _, sample, _, has_sample, _, _ = STATE.unpack(state)
        if not seeded or left < 1 or used > WORDS or left > 1 and left + used != WORDS + 1:
            raise RuntimeError(f'Invalid mt19937 state: seeded={seeded}, left={left}, next={used}')
        self.manual_seed(seed)
        twister = self._memory()
        twister[:WORDS] = np.frombuffer(key, '<u8')
        twister[WORDS] = WORDS + 1 - left
        self.normal_sample = sample if has_sample else None

    # ---- words ---------------------------------------------------------------------------------------------------

    def twister(self) -> np.ndarray:
        """The state in memory: its 624 words and, behind them, how many of these are used. Whoever draws changes it.

        Raises RuntimeError where drawing is forbidden.
        """
        if forbidden and forbidden[-1] is not None:
            raise RuntimeError(forbidden[-1])
        return self._memory()

    def _memory(self) -> np.ndarray:
        """A freshly seeded state gets its words here, and NumPy's own generators are loaded, when first needed."""
        if self._pending:
            if self._engine is None:
                engine = np.random.MT19937(0)
                self._raw = engine.random_raw
                self._engine = np.random.RandomState(engine)
                memory = (ctypes.c_uint32 * (WORDS + 1)).from_address(engine.ctypes.state_address)
                self._twister = np.frombuffer(memory, np.uint32)
            self._engine.seed(self._seed & 0xFFFFFFFF)
            self._pending = False
        return self._twister

    def words(self, count: int) -> np.ndarray:
        """The next `count` words (uint32). The array belongs to the caller, who may overwrite it."""
        self.twister()
        return self._engine.randint(0, 1 << 32, size=count, dtype=np.uint32)

    def words64(self, count: int) -> np.ndarray:
        """The next `count` 64-bit words (uint64), each made of two words of which the first is the high half."""
        pairs = self.words(2 * count).view('<u8')
        return (pairs << 32) | (pairs >> 32)

    def uniform(self) -> float:
        """One double in [0, 1): the low 53 bits of a 64-bit word."""
        self.twister()
        high, low = self._raw(), self._raw()
        return ((high & 0x1FFFFF) << 32 | low) * 2.0 ** -53

    def normal(self) -> float:
        """One standard normal double by the Box-Muller method; the other of its pair waits for the next call."""
        sample = self.normal_sample
        if sample is not None:
            self.twister()
            self.normal_sample = None
            return sample
        angle = 2.0 * math.pi * self.uniform()
        radius = math.sqrt(-2.0 * math.log1p(-self.uniform()))
        self.normal_sample = radius * math.sin(angle)
        return radius * math.cos(angle)


default_generator = Generator()
default_generator.seed()


def manual_seed(seed) -> Generator:
    """Seeds the default generator and returns it. `seed` lies in [-2**63, 2**64), else ValueError."""
    try:
        number = int(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f'manual_seed expects an integer, got {seed!r}') from None
    return default_generator.manual_seed(number)


def seed() -> int:
    """Seeds the default generator from the operating system and returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state():
    """The state of the default generator: a tensor of 5056 bytes (uint8)."""
    return default_generator.get_state()


def set_rng_state(new_state) -> None:
    """Sets the state of the default generator to a result of `get_rng_state`."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices=None, enabled=True, _caller='fork_rng', _devices_kw='devices', device_type=None):
    """Within the `with` block random numbers are drawn as usual; after it the stream goes on as if nothing happened.

    `devices` names further devices whose generators are kept as well; the CPU's always is.
    """
    for named in devices or ():
        resolve(named)
    if not enabled or device_type == 'meta':
        yield
        return
    kept = default_generator._pack()
    try:
        yield
    finally:
        default_generator._unpack(kept)


def thread_safe_generator() -> Generator | None:
    """The generator of the current worker thread. Data loading uses processes only, so there is none: None."""
    return None
