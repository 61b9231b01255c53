"""Loss layers. The formulas are in ops/loss.py, ops/cross_entropy.py, ops/margin_loss.py and ops/ctc.py."""
from __future__ import annotations

from ..ops import cross_entropy as classes
from ..ops import loss as pairs
from ..ops import margin_loss as margins
from ..ops.cross_entropy import LinearCrossEntropyOptions
from ..ops.ctc import ctc_loss
from .linear import Linear
from .module import Module

__all__ = ['L1Loss', 'MSELoss', 'SmoothL1Loss', 'HuberLoss', 'NLLLoss', 'NLLLoss2d', 'CrossEntropyLoss',
           'PoissonNLLLoss', 'GaussianNLLLoss', 'KLDivLoss', 'BCELoss', 'BCEWithLogitsLoss', 'HingeEmbeddingLoss',
           'MultiLabelMarginLoss', 'SoftMarginLoss', 'MultiLabelSoftMarginLoss', 'CosineEmbeddingLoss',
           'MarginRankingLoss', 'MultiMarginLoss', 'TripletMarginLoss', 'TripletMarginWithDistanceLoss', 'CTCLoss',
           'LinearCrossEntropyLoss', 'LinearCrossEntropyOptions']


class _Loss(Module):
    """Keeps the reduction and other options as attributes."""

    __constants__ = ['reduction']

    def __init__(self, size_average=None, reduce=None, reduction='mean', **options):
        super().__init__()
        if size_average is not None or reduce is not None:
            reduction = pairs.reduction_of(reduction, size_average, reduce)
        self.reduction = reduction
        unknown = set(options) - set(type(self).__init__.__code__.co_varnames)
        if unknown:
            raise TypeError(f'{type(self).__name__}.__init__() got an unexpected keyword argument {min(unknown)!r}')
        self.__dict__.update(options)


class _WeightedLoss(_Loss):
    """A loss with a buffer of weights."""

    def __init__(self, weight=None, size_average=None, reduce=None, reduction='mean', **options):
        super().__init__(size_average, reduce, reduction, **options)
        self.register_buffer('weight', weight)


# ---- pairs of values

class L1Loss(_Loss):
    """The mean of |input - target|, or their sum, or each."""

    def forward(self, input, target):
        return pairs.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """The mean of (input - target)**2, or their sum, or each.

    >>> nn.MSELoss()(torch.tensor([1., 2.]), torch.tensor([1., 4.]))
    tensor(2.)
    """

    def forward(self, input, target):
        return pairs.mse_loss(input, target, None, None, self.reduction)


class SmoothL1Loss(_Loss):
    """The L1 loss, rounded off by a parabola where |input - target| < beta."""

    def __init__(self, size_average=None, reduce=None, reduction='mean', beta=1.0):
        super().__init__(size_average, reduce, reduction, beta=beta)

    def forward(self, input, target):
        return pairs.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Half the squared error up to delta, beyond it as steep as there."""

    __constants__ = ['reduction', 'delta']

    def __init__(self, reduction='mean', delta=1.0):
        if not isinstance(delta, (int, float)):
            raise TypeError(f'delta must be a float or int, got: {type(delta)}')
        super().__init__(reduction=reduction, delta=delta)

    def forward(self, input, target):
        return pairs.huber_loss(input, target, self.reduction, self.delta)


class PoissonNLLLoss(_Loss):
    """The negative log likelihood of counts under a Poisson distribution."""

    __constants__ = ['log_input', 'full', 'eps', 'reduction']

    def __init__(self, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction='mean'):
        super().__init__(size_average, reduce, reduction, log_input=log_input, full=full, eps=eps)

    def forward(self, log_input, target):
        return pairs.poisson_nll_loss(log_input, target, self.log_input, self.full, eps=self.eps,
                                      reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """The negative log likelihood of targets under normal distributions."""

    __constants__ = ['full', 'eps', 'reduction']

    def __init__(self, *, full=False, eps=1e-6, reduction='mean'):
        super().__init__(reduction=reduction, full=full, eps=eps)

    def forward(self, input, target, var):
        return pairs.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class KLDivLoss(_Loss):
    """The divergence of a distribution from one given by its logarithms."""

    def __init__(self, size_average=None, reduce=None, reduction='mean', log_target=False):
        super().__init__(size_average, reduce, reduction, log_target=log_target)

    def forward(self, input, target):
        return pairs.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities."""

    def forward(self, input, target):
        return pairs.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of sigmoid(input), without overflow."""

    def __init__(self, weight=None, size_average=None, reduce=None, reduction='mean', pos_weight=None):
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer('pos_weight', pos_weight)

    def forward(self, input, target):
        return pairs.binary_cross_entropy_with_logits(input, target, self.weight, reduction=self.reduction,
                                                      pos_weight=self.pos_weight)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input)) for targets of 1 and -1."""

    def forward(self, input, target):
        return pairs.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over classes of the logistic losses of multi-hot targets."""

    def forward(self, input, target):
        return pairs.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


# ---- classes

class NLLLoss(_WeightedLoss):
    """Minus the log probability in `input` (N, C, ...) or (C) of each target class."""

    __constants__ = ['ignore_index', 'reduction']

    def __init__(self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean'):
        super().__init__(weight, size_average, reduce, reduction, ignore_index=ignore_index)

    def forward(self, input, target):
        return classes.nll_loss(input, target, self.weight, None, self.ignore_index, None, self.reduction)


class NLLLoss2d(NLLLoss):
    """`NLLLoss` under its older name for images."""


class CrossEntropyLoss(_WeightedLoss):
    """The negative log likelihood of class indices or probabilities under the softmax of `input` (N, C, ...) or (C).

    >>> nn.CrossEntropyLoss()(torch.zeros(2, 4), torch.tensor([1, 3]))
    tensor(1.3863)
    """

    __constants__ = ['ignore_index', 'reduction', 'label_smoothing']

    def __init__(self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean',
                 label_smoothing=0.0):
        super().__init__(weight, size_average, reduce, reduction, ignore_index=ignore_index,
                         label_smoothing=label_smoothing)

    def forward(self, input, target):
        return classes.cross_entropy(input, target, self.weight, None, self.ignore_index, None, self.reduction,
                                     self.label_smoothing)


class LinearCrossEntropyLoss(_WeightedLoss):
    """A linear layer and the cross entropy of its scores; `options` asks for computing in chunks of the batch."""

    __constants__ = ['num_classes', 'out_features', 'reduction', 'ignore_index', 'label_smoothing']

    def __init__(self, in_features, num_classes, *, out_features=(), bias=False, device=None, dtype=None,
                 reduction='mean', weight=None, ignore_index=None, label_smoothing=0.0, options=None):
        super().__init__(weight, reduction=reduction, num_classes=num_classes, out_features=out_features,
                         ignore_index=ignore_index, label_smoothing=label_smoothing, options=options)
        classes.require_class_weights(weight, num_classes, label_smoothing)
        rows = num_classes
        for size in out_features:
            rows *= size
        self.linear = Linear(in_features, rows, bias, device=device, dtype=dtype)

    def forward(self, input, target):
        lead = (self.num_classes, *self.out_features)
        bias = None if self.linear.bias is None else self.linear.bias.reshape(lead)
        return classes.linear_cross_entropy(
            input, self.linear.weight.reshape(*lead, -1), target, linear_bias=bias, weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
            options=self.options)

    def extra_repr(self):
        return (f'in_features={self.linear.in_features}, num_classes={self.num_classes}, '
                f'out_features={self.out_features}, bias={self.linear.bias is not None}, reduction={self.reduction}, '
                f'ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}')


class CTCLoss(_Loss):
    """Minus the log likelihood of label sequences, summed over their alignments with the input."""

    __constants__ = ['blank', 'reduction']

    def __init__(self, blank=0, reduction='mean', zero_infinity=False):
        super().__init__(reduction=reduction, blank=blank, zero_infinity=zero_infinity)

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction,
                        self.zero_infinity)


# ---- margins

class _MarginLoss(_Loss):
    __constants__ = ['margin', 'reduction']
    margin_by_default = 0.0

    def __init__(self, margin=None, size_average=None, reduce=None, reduction='mean'):
        super().__init__(size_average, reduce, reduction, margin=self.margin_by_default if margin is None else margin)


class HingeEmbeddingLoss(_MarginLoss):
    """`input` where the target is 1, max(0, margin - input) where it is -1; the margin is 1 unless given."""

    margin_by_default = 1.0

    def forward(self, input, target):
        return margins.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_MarginLoss):
    """1 - cosine similarity where the target is 1, max(0, similarity - margin) where it is -1."""

    def forward(self, input1, input2, target):
        return margins.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(_MarginLoss):
    """max(0, margin - target * (input1 - input2))."""

    def forward(self, input1, input2, target):
        return margins.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """The sum over listed classes j and others k of max(0, 1 - input[j] + input[k]), over the number of classes."""

    def forward(self, input, target):
        return margins.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """The sum over the other classes of max(0, margin - input[target] + input)**p, divided by the number of classes."""

    __constants__ = ['p', 'margin', 'reduction']

    def __init__(self, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction='mean'):
        if p not in (1, 2):
            raise ValueError(f'only p == 1 and p == 2 supported, got {p}')
        if weight is not None and weight.dim() != 1:
            raise ValueError(f'weight must be None or 1-dimensional, got shape {tuple(weight.shape)}')
        super().__init__(weight, size_average, reduce, reduction, p=p, margin=margin)

    def forward(self, input, target):
        return margins.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, margin + distance(anchor, positive) - distance(anchor, negative)) in the p-norm."""

    __constants__ = ['margin', 'p', 'eps', 'swap', 'reduction']

    def __init__(self, margin=1.0, p=2.0, eps=1e-6, swap=False, size_average=None, reduce=None, reduction='mean'):
        _need_positive(margin)
        super().__init__(size_average, reduce, reduction, margin=margin, p=p, eps=eps, swap=swap)

    def forward(self, anchor, positive, negative):
        return margins.triplet_margin_loss(anchor, positive, negative, self.margin, self.p, self.eps, self.swap,
                                           reduction=self.reduction)


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` with a distance of one's own, a function of two tensors."""

    __constants__ = ['margin', 'swap', 'reduction']

    def __init__(self, *, distance_function=None, margin=1.0, swap=False, reduction='mean'):
        _need_positive(margin)
        super().__init__(reduction=reduction, margin=margin, swap=swap)
        self.distance_function = distance_function

    def forward(self, anchor, positive, negative):
        return margins.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction)


def _need_positive(margin):
    if margin <= 0:
        raise ValueError(f'margin must be greater than 0, got {margin}')
