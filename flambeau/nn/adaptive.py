"""Adaptive softmax: frequent classes first, rare ones in clusters with smaller layers (Grave et al., 2017)."""
from __future__ import annotations

import collections

from ..ops.definition import PUBLIC
from ..ops.softmax import log_softmax
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ['AdaptiveLogSoftmaxWithLoss']

_ASMoutput = collections.namedtuple('_ASMoutput', ('output', 'loss'))


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log probabilities of targets among n_classes, and their mean negative: (output, loss).

    cutoffs: the ascending classes at which clusters begin; classes are expected in the order of their frequency. Each
    further cluster works in in_features / div_value**k dimensions.
    """

    def __init__(self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError('cutoffs should be a sequence of length larger than 0')
        if any(int(c) != c for c in cutoffs) or cutoffs != sorted(set(cutoffs)) or cutoffs[0] <= 0 \
                or cutoffs[-1] > n_classes - 1:
            raise ValueError('cutoffs should be a sequence of unique, positive integers sorted in an increasing order, '
                             f'where each value is between 1 and n_classes-1; got {cutoffs} for {n_classes} classes')
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = cutoffs + [n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {'device': device, 'dtype': dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            hidden = int(in_features // div_value ** (k + 1))
            size = self.cutoffs[k + 1] - self.cutoffs[k]
            self.tail.append(Sequential(Linear(in_features, hidden, bias=False, **options),
                                        Linear(hidden, size, bias=False, **options)))

    def reset_parameters(self):
        """Draws the weights of all layers anew."""
        self.head.reset_parameters()
        for projection, layer in self.tail:
            projection.reset_parameters()
            layer.reset_parameters()

    def forward(self, input_, target_):
        single = target_.dim() == 0
        if input_.dim() != target_.dim() + 1 or target_.dim() > 1:
            raise RuntimeError('AdaptiveLogSoftmaxWithLoss: expected input (N, in_features) and target (N), or without '
                               f'the batch, got {tuple(input_.shape)} and {tuple(target_.shape)}')
        if not single and input_.shape[0] != target_.shape[0]:
            raise RuntimeError('Input and target should have the same size in the batch dimension, got '
                               f'{input_.shape[0]} and {target_.shape[0]}')
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < self.n_classes:
            raise RuntimeError(f'Target values should be in [0, {self.n_classes - 1}], but values in range '
                               f'[{int(target.min())}, {int(target.max())}] were found.')
        output = self._log_prob_of(input, target)
        loss = -output.mean()
        return _ASMoutput(output.squeeze(0) if single else output, loss)

    def _log_prob_of(self, input, target):
        """The log probability of each target: that of its cluster, plus within it that of the class."""
        place = target.clone()  # in the head: the class itself, or its cluster
        within = PUBLIC.zeros_like(input[:, 0])
        for k, tail in enumerate(self.tail):
            low, high = self.cutoffs[k], self.cutoffs[k + 1]
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if rows.numel():
                scores = log_softmax(tail(input.index_select(0, rows)), 1)
                found = scores.gather(1, (target[rows] - low).unsqueeze(1)).squeeze(1)
                within = within.index_add(0, rows, found)
                place[rows] = self.shortlist_size + k
        head = log_softmax(self.head(input), 1)
        return head.gather(1, place.unsqueeze(1)).squeeze(1) + within

    def log_prob(self, input):
        """The log probabilities of all classes: (N, n_classes)."""
        head = log_softmax(self.head(input), 1)
        parts = [head[:, :self.shortlist_size]]
        for k, tail in enumerate(self.tail):
            parts.append(log_softmax(tail(input), 1) + head[:, self.shortlist_size + k].unsqueeze(1))
        return PUBLIC.cat(parts, 1)

    def predict(self, input):
        """The most likely class of each row: (N)."""
        return self.log_prob(input).argmax(1)
