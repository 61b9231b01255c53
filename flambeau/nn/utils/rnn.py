"""Batches of sequences of different lengths: padded to one length, or packed without padding.

A packed batch holds the first steps of all sequences, longest first, then the second steps of those that have one, and
so on; `batch_sizes` counts how many take part in each step.
"""
from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable

import numpy as np

from ...dtypes import PUBLIC
from ...tensor import Tensor, wrap

__all__ = ['PackedSequence', 'invert_permutation', 'pack_padded_sequence', 'pad_packed_sequence', 'pad_sequence',
           'unpad_sequence', 'pack_sequence', 'unpack_sequence']


class PackedSequence(namedtuple('PackedSequence', ['data', 'batch_sizes', 'sorted_indices', 'unsorted_indices'])):
    """Sequences without padding: `data`, all steps; `batch_sizes`, an int64 tensor with the number of each step.

    `sorted_indices` says which sequence of the caller's stands where, `unsorted_indices` the reverse; None for both
    where they came longest first. Made by `pack_padded_sequence` and `pack_sequence`.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            data, batch_sizes = data
        if batch_sizes.device.type != 'cpu':
            raise ValueError('batch_sizes should always be on CPU. Make packed sequences with pack_sequence and '
                             'pack_padded_sequence, which see to it.')
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """Converts the data as `Tensor.to`; the indices follow to its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = [None if i is None else i.to(data.device) for i in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *indices)

    def cuda(self, *args, **kwargs):
        return self.to(*(args or ('cuda',)), **kwargs)

    def cpu(self):
        return self.to('cpu')

    def pin_memory(self):
        return self

    def is_pinned(self):
        return self.data.is_pinned()

    @property
    def is_cuda(self):
        return self.data.is_cuda


def _converting(name, dtype):
    def convert(self):
        return self.to(dtype=dtype)
    convert.__name__ = name
    convert.__doc__ = f'Converts the data as `Tensor.{name}`.'
    return convert


for _name, _dtype in {'double': 'float64', 'float': 'float32', 'half': 'float16', 'long': 'int64', 'int': 'int32',
                      'short': 'int16', 'char': 'int8', 'byte': 'uint8'}.items():
    setattr(PackedSequence, _name, _converting(_name, PUBLIC[_dtype]))


def invert_permutation(permutation):
    """The permutation that undoes one, as an int64 tensor; None of None."""
    return None if permutation is None else permutation.argsort()


def counted(lengths):
    """(number of sequences in each step, places of the steps in a padded batch laid out step after step)."""
    sizes = (lengths[None, :] > np.arange(lengths[0])[:, None]).sum(axis=1)
    count = len(lengths)
    places = np.concatenate([np.arange(step * count, step * count + size) for step, size in enumerate(sizes)])
    return sizes, places


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True) -> PackedSequence:
    """Packs a padded batch of shape (steps, sequences, *), or with batch_first (sequences, steps, *).

    lengths: a list or tensor with the length of each sequence, at least 1. enforce_sorted: they must be longest first;
    otherwise the sequences are sorted, and `pad_packed_sequence` puts them back in order.
    """
    if isinstance(lengths, Tensor):
        lengths = lengths.tolist()
    lengths = np.array([int(length) for length in lengths], np.int64)
    if batch_first:
        input = input.transpose(0, 1)
    steps, count = input.size(0), input.size(1)
    check_lengths(input, lengths, enforce_sorted)
    order = None
    if not enforce_sorted:
        permutation = np.argsort(-lengths, kind='stable')
        lengths = lengths[permutation]
        order = wrap(permutation)
        input = input.index_select(1, order)
    sizes, places = counted(lengths)
    data = input.reshape(steps * count, *input.shape[2:]).index_select(0, wrap(places))
    return PackedSequence(data, wrap(sizes), order)


def check_lengths(input, lengths, enforce_sorted):
    steps, count = input.size(0), input.size(1)
    if input.numel() == 0:
        raise RuntimeError('Cannot pack empty tensors.')
    if len(lengths) != count:
        raise RuntimeError(f'Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} '
                           f'(batch_size={count})')
    if (lengths <= 0).any():
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is "
                           '<= 0')
    if enforce_sorted and (lengths[1:] > lengths[:-1]).any():
        raise RuntimeError('`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can '
                           'pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this '
                           'requirement if you do not need ONNX exportability.')
    if lengths.max() > steps:
        raise RuntimeError(f'pack_padded_sequence: a length of {lengths.max()} is more than the {steps} steps of an '
                           f'input with {count} sequences; is its first dimension the sequences (batch_first=True)?')


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The padded batch that a packed one stands for, and the lengths of its sequences.

    total_length: pad to this many steps. Raises ValueError where a sequence is longer.
    """
    sizes = sequence.batch_sizes.numpy()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError('Expected total_length to be at least the length of the longest sequence in input, but '
                             f'got total_length={total_length} and max sequence length being {steps}')
        steps = total_length
    lengths = (sizes[None, :] > np.arange(sizes[0])[:, None]).sum(axis=1)
    padded = scattered(sequence.data, counted(lengths)[1], (steps, int(sizes[0])), padding_value)
    lengths = wrap(lengths)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def scattered(data, places, shape, padding_value):
    """The rows of `data` at their places in a padded batch of the given two leading dimensions."""
    inner = data.shape[1:]
    empty = data.new_full((shape[0] * shape[1], *inner), padding_value)
    return empty.index_copy(0, wrap(places), data).reshape(*shape, *inner)


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side='right'):
    """Tensors of shape (length, *) padded to the longest and put side by side: (steps, sequences, *).

    batch_first: (sequences, steps, *). padding_side: 'right' pads at the end, 'left' at the beginning.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError('pad_sequence: Expected iterable for input sequences, but got arg of type: '
                           f'{type(sequences)}')
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError('received an empty list of sequences')
    if padding_side not in ('left', 'right'):
        raise RuntimeError(f'Expected padding_side to be one of left or right, but got {padding_side}.')
    shapes = [list(sequence.shape) for sequence in sequences]
    if any(not shape or shape[1:] != shapes[0][1:] for shape in shapes):
        raise RuntimeError(f'pad_sequence: sequences must have one dimension at least and differ only in the first, '
                           f'but their shapes are {", ".join(map(str, shapes[:8]))}')
    lengths = np.array([shape[0] for shape in shapes], np.int64)
    steps, count = int(lengths.max()), len(lengths)
    skipped = steps - lengths if padding_side == 'left' else np.zeros_like(lengths)
    places = np.concatenate([np.arange(s, s + n) + row * steps for row, (s, n) in enumerate(zip(skipped, lengths))])
    from ... import cat
    kind = sequences[0].dtype
    data = cat([sequence.to(kind) for sequence in sequences])
    padded = scattered(data, places, (count, steps), padding_value)
    return padded if batch_first else padded.transpose(0, 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False) -> list:
    """The sequences out of a padded batch, as a list of tensors of their own lengths."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    if len(padded_sequences) != len(lengths):
        raise ValueError(f'unpad_sequence: {len(lengths)} lengths for {len(padded_sequences)} sequences')
    return [sequence[:int(length)].clone() for sequence, length in zip(padded_sequences, lengths)]


def pack_sequence(sequences, enforce_sorted=True) -> PackedSequence:
    """Packs a list of tensors of shape (length, *)."""
    return pack_padded_sequence(pad_sequence(sequences), [len(sequence) for sequence in sequences],
                                enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences) -> list:
    """The sequences out of a packed batch, as a list of tensors."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
