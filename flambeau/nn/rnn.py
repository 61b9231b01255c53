"""Recurrent layers and cells. The formulas are in ops/recurrent.py."""
from __future__ import annotations

import math
import warnings

from ..autograd.modes import STATE
from ..errors import describe_value
from ..ops import recurrent
from ..ops.definition import PUBLIC
from ..tensor import Parameter
from .init import uniform_
from .module import Module
from .utils.rnn import PackedSequence

__all__ = ['RNNBase', 'RNN', 'LSTM', 'GRU', 'RNNCellBase', 'RNNCell', 'LSTMCell', 'GRUCell']


def apply_permutation(tensor, permutation, dim=1):
    """The tensor with the places along a dimension in another order."""
    return tensor.index_select(dim, permutation)


LAYERS = {'RNN_TANH': recurrent.rnn_tanh, 'RNN_RELU': recurrent.rnn_relu, 'LSTM': recurrent.lstm, 'GRU': recurrent.gru}


def _check_sizes(mode, input_size, hidden_size, num_layers, dropout, proj_size):
    """The dropout probability as a number; raises TypeError or ValueError for sizes that no layer can have."""
    dropout = float(dropout)
    if not 0 <= dropout <= 1:
        raise ValueError('dropout should be a number in range [0, 1] representing the probability of an element being '
                         'zeroed')
    if dropout > 0 and num_layers == 1:
        warnings.warn('dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects '
                      f'num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}', stacklevel=5)
    for name, size in (('input_size', input_size), ('hidden_size', hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f'{name} should be of type int, got: {type(size).__name__}')
    for name, size in (('input_size', input_size), ('hidden_size', hidden_size), ('num_layers', num_layers)):
        if size <= 0:
            raise ValueError(f'{name} must be greater than zero')
    if proj_size < 0:
        raise ValueError('proj_size should be a positive integer or zero to disable projections')
    if proj_size >= hidden_size:
        raise ValueError('proj_size has to be smaller than hidden_size')
    if mode not in recurrent.GATES:
        raise ValueError(f'Unrecognized RNN mode: {mode}')
    return dropout


class RNNBase(Module):
    """Several recurrent layers; see `RNN`, `LSTM` and `GRU`, which say what a mode computes."""

    __constants__ = ['mode', 'input_size', 'hidden_size', 'num_layers', 'bias', 'batch_first', 'dropout',
                     'bidirectional', 'proj_size']
    __jit_unused_properties__ = ['all_weights']

    def __init__(self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, proj_size=0, device=None, dtype=None):
        super().__init__()
        for name, flag in (('bias', bias), ('batch_first', batch_first)):
            if not isinstance(flag, bool):
                raise TypeError(f'{name} should be of type bool, got: {type(flag).__name__}')
        self.dropout = _check_sizes(mode, input_size, hidden_size, num_layers, dropout, proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights = []
        rows, features = recurrent.GATES[mode] * hidden_size, proj_size or hidden_size
        directions = ('', '_reverse') if bidirectional else ('',)
        for layer in range(num_layers):
            width = input_size if layer == 0 else features * len(directions)
            for direction in directions:
                shapes = {'weight_ih': (rows, width), 'weight_hh': (rows, features)}
                if bias:
                    shapes.update(bias_ih=(rows,), bias_hh=(rows,))
                if proj_size:
                    shapes['weight_hr'] = (proj_size, hidden_size)
                names = [f'{kind}_l{layer}{direction}' for kind in shapes]
                for name, shape in zip(names, shapes.values()):
                    setattr(self, name, Parameter(PUBLIC.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    @property
    def _flat_weights_names(self):
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self):
        return [getattr(self, name) for names in self._all_weights for name in names]

    @property
    def all_weights(self):
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self):
        """Draws all parameters uniformly within 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Does nothing: parameters need not lie side by side."""

    def extra_repr(self):
        shown = f'{self.input_size}, {self.hidden_size}'
        for name, default in (('proj_size', 0), ('num_layers', 1), ('bias', True), ('batch_first', False),
                              ('dropout', 0), ('bidirectional', False)):
            value = getattr(self, name)
            if value != default:
                shown += f', {name}={value}'
        return shown

    # ---- checks of what comes in

    def check_input(self, input, batch_sizes):
        """Raises ValueError or RuntimeError for an input that the weights do not fit."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype is not weight.dtype and STATE.autocast is None:
            raise ValueError(f'RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert '
                             f'input: input.to({weight.dtype}), or convert model: model.to({input.dtype})')
        expected = 3 if batch_sizes is None else 2
        if input.dim() != expected:
            raise RuntimeError(f'input must have {expected} dimensions, got {input.dim()}')
        if self.input_size != input.shape[-1]:
            raise RuntimeError(f'input.size(-1) must be equal to input_size. Expected {self.input_size}, got '
                               f'{input.shape[-1]}')

    def _state_size(self, input, batch_sizes, features):
        count = int(batch_sizes[0]) if batch_sizes is not None else input.shape[0 if self.batch_first else 1]
        return self.num_layers * (2 if self.bidirectional else 1), count, features

    def get_expected_hidden_size(self, input, batch_sizes):
        """The shape of the hidden state for an input."""
        return self._state_size(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(self, hx, expected_hidden_size, msg='Expected hidden size {}, got {}'):
        """Raises RuntimeError for a state of another shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(tuple(expected_hidden_size), list(hx.shape)))

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raises ValueError or RuntimeError for an input or state that does not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The state with its sequences in another order."""
        return hx if permutation is None else apply_permutation(hx, permutation)

    # ---- states: one tensor here, a pair for LSTM

    def _check_state_rank(self, hx, rank):
        if hx.dim() != rank:
            kind = 'batched 3-D' if rank == 3 else 'unbatched 2-D'
            raise RuntimeError(f'For {kind} input, hx should also be {rank}-D but got {hx.dim()}-D tensor')

    def _zero_state(self, input, batch_sizes):
        return PUBLIC.zeros(self.get_expected_hidden_size(input, batch_sizes), dtype=input.dtype, device=input.device)

    def _map_state(self, hx, change):
        return change(hx)

    def _split(self, results):
        return results

    # ---- computing

    def forward(self, input, hx=None):
        """(output, last state) for an input of shape (steps, sequences, features), with batch_first (sequences, steps,
        features), without a batch (steps, features), or packed."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            tensor = ' tensor' if self.mode.startswith('RNN') else ''
            raise ValueError(f'{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D{tensor} instead')
        if hx is not None:
            self._check_state_rank(hx, input.dim())
        single = input.dim() == 2
        if single:
            dim = 0 if self.batch_first else 1
            input = input.unsqueeze(dim)
            hx = None if hx is None else self._map_state(hx, lambda state: state.unsqueeze(1))
        if hx is None:
            self.check_input(input, None)
            hx = self._zero_state(input, None)
        self.check_forward_args(input, hx, None)
        output, state = self._split(LAYERS[self.mode](input, hx, self._flat_weights, self.bias, self.num_layers,
                                                      self.dropout, self.training, self.bidirectional,
                                                      self.batch_first))
        if single:
            return output.squeeze(dim), self._map_state(state, lambda state: state.squeeze(1))
        return output, state

    def _forward_packed(self, input, hx):
        data, batch_sizes, sorted_indices, unsorted_indices = input
        self.check_input(data, batch_sizes)
        hx = self._zero_state(data, batch_sizes) if hx is None else self.permute_hidden(hx, sorted_indices)
        self.check_forward_args(data, hx, batch_sizes)
        output, state = self._split(LAYERS[self.mode](data, batch_sizes, hx, self._flat_weights, self.bias,
                                                      self.num_layers, self.dropout, self.training,
                                                      self.bidirectional))
        return (PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices),
                self.permute_hidden(state, unsorted_indices))


def _refuse_projection(kwargs):
    if kwargs.get('proj_size'):
        raise ValueError('proj_size argument is only supported for LSTM, not RNN or GRU')


class RNN(RNNBase):
    """Elman layers: h' = tanh(w_ih x + b_ih + w_hh h + b_hh), or relu of it with nonlinearity='relu'.

    RNN(input_size, hidden_size, num_layers=1, nonlinearity='tanh', bias=True, batch_first=False, dropout=0.0,
    bidirectional=False).
    """

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity='tanh', *args, **kwargs):
        _refuse_projection(kwargs)
        if nonlinearity not in ('tanh', 'relu'):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        self.nonlinearity = nonlinearity
        super().__init__(f'RNN_{nonlinearity.upper()}', input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., 2014), with the reset gate after the product.

    GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False).
    """

    def __init__(self, *args, **kwargs):
        _refuse_projection(kwargs)
        super().__init__('GRU', *args, **kwargs)


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997); its state is a pair (h, c).

    LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False,
    proj_size=0). proj_size: the hidden state is projected to this many features (Sak et al., 2014).

    >>> output, (h, c) = nn.LSTM(10, 20)(torch.zeros(5, 3, 10))
    >>> output.shape
    torch.Size([5, 3, 20])
    """

    def __init__(self, *args, **kwargs):
        super().__init__('LSTM', *args, **kwargs)

    def get_expected_cell_size(self, input, batch_sizes):
        """The shape of the cell state for an input."""
        return self._state_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raises ValueError or RuntimeError for an input or state that does not fit."""
        self.check_input(input, batch_sizes)
        for k, size in enumerate((self.get_expected_hidden_size, self.get_expected_cell_size)):
            self.check_hidden_size(hidden[k], size(input, batch_sizes), f'Expected hidden[{k}] size {{}}, got {{}}')

    def permute_hidden(self, hx, permutation):
        """The state with its sequences in another order."""
        return hx if permutation is None else self._map_state(hx, lambda t: apply_permutation(t, permutation))

    def _check_state_rank(self, hx, rank):
        if len(hx) != 2:
            raise IndexError(f'LSTM: hx must be a pair (h_0, c_0), got {describe_value(hx)}')
        if hx[0].dim() != rank or hx[1].dim() != rank:
            kind = 'batched 3-D' if rank == 3 else 'unbatched 2-D'
            raise RuntimeError(f'For {kind} input, hx and cx should also be {rank}-D but got ({hx[0].dim()}-D, '
                               f'{hx[1].dim()}-D) tensors')

    def _zero_state(self, input, batch_sizes):
        return tuple(PUBLIC.zeros(size(input, batch_sizes), dtype=input.dtype, device=input.device)
                     for size in (self.get_expected_hidden_size, self.get_expected_cell_size))

    def _map_state(self, hx, change):
        return change(hx[0]), change(hx[1])

    def _split(self, results):
        return results[0], results[1:]


# ---- cells --------------------------------------------------------------------------------------------------------

class RNNCellBase(Module):
    """Weights of one step of `num_chunks` gates; see `RNNCell`, `LSTMCell` and `GRUCell`."""

    __constants__ = ['input_size', 'hidden_size', 'bias']

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        for name, shape in (('weight_ih', (rows, input_size)), ('weight_hh', (rows, hidden_size)),
                            ('bias_ih', (rows,)), ('bias_hh', (rows,))):
            given = bias or name.startswith('weight')
            self.register_parameter(name, Parameter(PUBLIC.empty(shape, device=device, dtype=dtype)) if given else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws all parameters uniformly within 1 / sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            uniform_(weight, -bound, bound)

    def extra_repr(self):
        shown = f'{self.input_size}, {self.hidden_size}'
        if self.bias is not True:
            shown += f', bias={self.bias}'
        if getattr(self, 'nonlinearity', 'tanh') != 'tanh':
            shown += f', nonlinearity={self.nonlinearity}'
        return shown

    def _check_ranks(self, input, states):
        for name, tensor in (('input', input), *(('hidden', s) for s in states)):
            if tensor.dim() not in (1, 2):
                raise ValueError(f'{self._get_name()}: Expected {name} to be 1D or 2D, got {tensor.dim()}D instead')

    def _zeros(self, input):
        return PUBLIC.zeros((*input.shape[:-1], self.hidden_size), dtype=input.dtype, device=input.device)

    def _one_state(self, step, input, hx):
        self._check_ranks(input, () if hx is None else (hx,))
        return step(input, self._zeros(input) if hx is None else hx, self.weight_ih, self.weight_hh, self.bias_ih,
                    self.bias_hh)


class RNNCell(RNNCellBase):
    """One step of an Elman layer: the new hidden state from an input (sequences, features) and the old one."""

    __constants__ = ['input_size', 'hidden_size', 'bias', 'nonlinearity']

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity='tanh', device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        steps = {'tanh': recurrent.rnn_tanh_cell, 'relu': recurrent.rnn_relu_cell}
        if self.nonlinearity not in steps:
            raise RuntimeError(f'Unknown nonlinearity: {self.nonlinearity}')
        return self._one_state(steps[self.nonlinearity], input, hx)


class LSTMCell(RNNCellBase):
    """One step of an LSTM: the new (h, c) from an input (sequences, features) and the old pair."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        self._check_ranks(input, ())
        if hx is None:
            zeros = self._zeros(input)
            hx = zeros, zeros
        elif isinstance(hx, (tuple, list)):
            for k, state in enumerate(hx):
                if state.dim() not in (1, 2):
                    raise ValueError(f'LSTMCell: Expected hx[{k}] to be 1D or 2D, got {state.dim()}D instead')
        return recurrent.lstm_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class GRUCell(RNNCellBase):
    """One step of a GRU: the new hidden state from an input (sequences, features) and the old one."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._one_state(recurrent.gru_cell, input, hx)
