"""Layers that look rows up in a table. The formulas are in ops/embedding.py."""
from __future__ import annotations

from ..autograd.modes import no_grad
from ..ops.creation import empty
from ..ops.embedding import embedding, embedding_bag
from ..tensor import Parameter
from . import init
from .module import Module

__all__ = ['Embedding', 'EmbeddingBag']


class _Table(Module):
    """What Embedding and EmbeddingBag share: the table and its initial values."""

    def _set_up(self, num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, weight,
                freeze, device, dtype):
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError(f'padding_idx must be within num_embeddings: {-num_embeddings} to '
                                     f'{num_embeddings - 1}, got {padding_idx}')
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        if weight is None:
            self.weight = Parameter(empty((num_embeddings, embedding_dim), device=device, dtype=dtype), not freeze)
            self.reset_parameters()
        else:
            if tuple(weight.shape) != (num_embeddings, embedding_dim):
                raise AssertionError(f'shape of weight, {tuple(weight.shape)}, does not match num_embeddings and '
                                     f'embedding_dim, {(num_embeddings, embedding_dim)}')
            self.weight = Parameter(weight, not freeze)

    def reset_parameters(self):
        """Draws from the standard normal distribution; the padding row is zeros."""
        init.normal_(self.weight)
        self._fill_padding_idx_with_zero()

    def _fill_padding_idx_with_zero(self):
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)


def _sizes(embeddings):
    if embeddings.dim() != 2:
        raise AssertionError('Embeddings parameter is expected to be 2-dimensional, got shape '
                             f'{tuple(embeddings.shape)}')
    return embeddings.shape


class Embedding(_Table):
    """The rows of a learnt table that integers name: (*) to (*, embedding_dim).

    >>> nn.Embedding(10, 3)(torch.tensor([[1, 2]])).shape
    torch.Size([1, 2, 3])
    """

    __constants__ = ['num_embeddings', 'embedding_dim', 'padding_idx', 'max_norm', 'norm_type', 'scale_grad_by_freq',
                     'sparse']

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0,
                 scale_grad_by_freq=False, sparse=False, _weight=None, _freeze=False, device=None, dtype=None):
        super().__init__()
        self.sparse = sparse
        self._set_up(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, _weight,
                     _freeze, device, dtype)

    def forward(self, input):
        return embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)

    def extra_repr(self):
        text = f'{self.num_embeddings}, {self.embedding_dim}'
        for name, usual in (('padding_idx', None), ('max_norm', None), ('norm_type', 2), ('scale_grad_by_freq', False)):
            if getattr(self, name) != usual:
                text += f', {name}={getattr(self, name)}'
        return text + ', sparse=True' * bool(self.sparse)

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, padding_idx=None, max_norm=None, norm_type=2.0,
                        scale_grad_by_freq=False, sparse=False):
        """A layer with the given table (rows, columns), which is not trained unless freeze=False."""
        return cls(*_sizes(embeddings), padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings,
                   freeze)


class EmbeddingBag(_Table):
    """The sum, mean or maximum of the rows of a learnt table in each bag of integers.

    >>> nn.EmbeddingBag(10, 3)(torch.tensor([1, 2, 4]), torch.tensor([0, 2])).shape
    torch.Size([2, 3])
    """

    __constants__ = ['num_embeddings', 'embedding_dim', 'max_norm', 'norm_type', 'scale_grad_by_freq', 'mode', 'sparse',
                     'include_last_offset', 'padding_idx']

    def __init__(self, num_embeddings, embedding_dim, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
                 mode='mean', sparse=False, _weight=None, include_last_offset=False, padding_idx=None, device=None,
                 dtype=None):
        super().__init__()
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        self._set_up(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, _weight,
                     False, device, dtype)

    def forward(self, input, offsets=None, per_sample_weights=None):
        return embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
                             self.mode, self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx)

    def extra_repr(self):
        text = f'{self.num_embeddings}, {self.embedding_dim}'
        for name, usual in (('max_norm', None), ('norm_type', 2), ('scale_grad_by_freq', False)):
            if getattr(self, name) != usual:
                text += f', {name}={getattr(self, name)}'
        text += f', mode={self.mode!r}'
        return text if self.padding_idx is None else f'{text}, padding_idx={self.padding_idx}'

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
                        mode='mean', sparse=False, include_last_offset=False, padding_idx=None):
        """A layer with the given table (rows, columns), which is not trained unless freeze=False."""
        layer = cls(*_sizes(embeddings), max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings,
                    include_last_offset, padding_idx)
        layer.weight.requires_grad = not freeze
        return layer
