"""Recurrent layers: RNN, LSTM and GRU over whole sequences, and their single steps.

A layer in one direction is one recorded operation. Its rows are the steps of all sequences one after the other, as in a
packed sequence, with `sizes` telling how many sequences take part in each step; a padded batch is the case of equal
sizes. The input's product is taken for all steps at once. A cell is two formulas, a step and its gradient, from which
the layer and backpropagation through time follow. What steps keep for backward is no tensor; where the gradient is to
be differentiated itself, the steps run once more over recorded operations.
"""
from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from ..errors import describe_value
from ..tensor import Tensor
from .definition import PUBLIC, export, opaque
from .over import over
from .reference import REFERENCE

__all__ = ['recurrent_layer', 'rnn_tanh', 'rnn_relu', 'lstm', 'gru', 'rnn_tanh_cell', 'rnn_relu_cell', 'lstm_cell',
           'gru_cell', 'GATES']


class Weights(NamedTuple):
    """What a step needs of a layer: matrices transposed for the step, as they are for its gradient."""

    hidden: object  # (hidden features, gates)
    bias: object  # of the hidden product where it does not simply add to the input's, else None
    projection: object  # (cells, hidden features) or None


class _Rows:
    """What all steps give, row behind row: an array that they write into, or recorded parts to be joined."""

    def __init__(self, m, shape, like):
        self.m, self.parts = m, {}
        self.array = m.xp.empty(shape, like.dtype) if m is REFERENCE else None

    def put(self, start, stop, columns):
        """The columns side by side, now the rows from `start` to `stop`."""
        if self.array is None:
            part = self.parts[start] = columns[0] if len(columns) == 1 else self.m.cat(columns, 1)
            return part
        part = self.array[start:stop]
        self.m.xp.concatenate(columns, 1, out=part)
        return part

    def all(self):
        return self.m.cat([part for _, part in sorted(self.parts.items())], 0) if self.array is None else self.array


# ---- cells: step(m, x, h, c, weights) -> (h, c, kept), which may write over x
# ---- gradient(m, dh, dc, kept, w_hr) -> (columns of dx, columns of dhidden, what dh carries on, dc)

def _rnn_step(act):
    def step(m, x, h, c, weights):
        h = over(m, act, over(m, 'add', x, m.matmul(h, weights.hidden)))
        return h, None, (h,)
    return step


def _tanh_gradient(m, dh, dc, kept, w_hr):
    h, = kept
    dx = dh * (1 - h * h),
    return dx, dx, None, None


def _relu_gradient(m, dh, dc, kept, w_hr):
    h, = kept
    dx = dh * (h > 0),
    return dx, dx, None, None


def _lstm_step(m, x, h, c, weights):
    gates = over(m, 'add', x, m.matmul(h, weights.hidden))
    size = c.shape[1]
    opened = over(m, 'sigmoid', gates[:, :2 * size])
    i, f = opened[:, :size], opened[:, size:]
    g, o = over(m, 'tanh', gates[:, 2 * size:3 * size]), over(m, 'sigmoid', gates[:, 3 * size:])
    after = over(m, 'add', f * c, i * g)
    t = m.tanh(after)
    h = o * t
    kept = i, f, g, o, c, t
    if weights.projection is not None:
        kept = *kept, h
        h = m.matmul(h, weights.projection)
    return h, after, kept


def _lstm_gradient(m, dh, dc, kept, w_hr):
    i, f, g, o, c, t = kept[:6]
    if w_hr is not None:
        dh = m.matmul(dh, w_hr)
    dho = dh * o
    dc = dc + dho * (1 - t * t)
    dci = dc * i
    dcf = dc * f
    dx = dci * g * (1 - i), dcf * c * (1 - f), dci * (1 - g * g), dho * t * (1 - o)
    return dx, dx, None, dcf


def _gru_step(m, x, h, c, weights):
    hidden = m.matmul(h, weights.hidden)
    if weights.bias is not None:
        hidden = hidden + weights.bias
    size = h.shape[1]
    opened = over(m, 'sigmoid', over(m, 'add', x[:, :2 * size], hidden[:, :2 * size]))
    r, z, hn = opened[:, :size], opened[:, size:], hidden[:, 2 * size:]
    n = over(m, 'tanh', over(m, 'add', x[:, 2 * size:], r * hn))
    return (h - n) * z + n, None, (r, z, n, hn, h)


def _gru_gradient(m, dh, dc, kept, w_hr):
    r, z, n, hn, h = kept
    carried = dh * z
    dn = (dh - carried) * (1 - n * n)
    dz = carried * (h - n) * (1 - z)
    dr = dn * hn * r * (1 - r)
    return (dr, dz, dn), (dr, dz, dn * r), carried, None


class Cell(NamedTuple):
    """A kind of cell: how many gates, its step and gradient, and whether the hidden product has a bias of its own."""

    gates: int
    step: object
    gradient: object
    own_bias: bool = False


CELLS = {'RNN_TANH': Cell(1, _rnn_step('tanh'), _tanh_gradient), 'RNN_RELU': Cell(1, _rnn_step('relu'), _relu_gradient),
         'LSTM': Cell(4, _lstm_step, _lstm_gradient), 'GRU': Cell(3, _gru_step, _gru_gradient, own_bias=True)}
GATES = {mode: cell.gates for mode, cell in CELLS.items()}


# ---- all steps of one layer in one direction ----------------------------------------------------------------

def _spans(sizes, reverse):
    """(first row, row behind the last) of each step in the order of computation."""
    ends = list(accumulate(sizes))
    spans = [(end - size, end) for size, end in zip(sizes, ends)]
    return spans[::-1] if reverse else spans


def _renewed(m, state, part):
    """The state of all sequences with that of the first ones, which took part in a step, replaced."""
    count = part.shape[0]
    return part if count == state.shape[0] else m.cat([part, state[count:]], 0)


def _turned(m, matrix, times):
    """The transpose, as rows in memory where it is an array used several times: then a few rows' product takes half."""
    return m.xp.ascontiguousarray(matrix.T) if m is REFERENCE and times > 1 else m.t(matrix)


def _run(m, input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse):
    """(what each step keeps, with the state before it; output; last hidden state; last cell state)."""
    cell = CELLS[mode]
    x = m._linear(input, w_ih, b_ih if cell.own_bias or b_hh is None else b_ih + b_hh)
    if w_hr is None:
        made = m.kernel('recurrent.forward', mode, x, hx, cx, w_hh, b_hh if cell.own_bias else None, sizes, reverse)
        if made is not None:
            return made
    weights = Weights(_turned(m, w_hh, len(sizes)), b_hh if cell.own_bias else None,
                      None if w_hr is None else m.t(w_hr))
    kept, output, h, c = [], _Rows(m, (input.shape[0], hx.shape[1]), x), hx, cx
    for start, stop in _spans(sizes, reverse):
        count = stop - start
        before, cells = h[:count], None if c is None else c[:count]
        after, cells, held = cell.step(m, x[start:stop], before, cells, weights)
        kept.append((before, held))
        output.put(start, stop, (after,))
        h = _renewed(m, h, after)
        c = None if c is None else _renewed(m, c, cells)
    return tuple(kept), output.all(), h, c


def _layer_gradient(m, g, input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse, output, needed):
    kept = output if m is REFERENCE else _run(m, input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse)[0]
    cell, (_, g_output, dh, dc) = CELLS[mode], g
    made = m.kernel('recurrent.backward', mode, kept, g_output, dh, dc, w_hh, sizes, reverse, 'hx' in needed)
    if made is not None:
        *given, dh, dc = made
        return {'hx': dh, 'cx': dc, **_weight_gradients(m, input, w_ih, *given, (), (), needed)}
    rows, features, wide = input.shape[0], hx.shape[1], w_ih.shape[0]
    dx = _Rows(m, (rows, wide), w_ih)
    dhidden = _Rows(m, (rows, wide), w_ih) if cell.own_bias else dx
    states = _Rows(m, (rows, features), w_ih)
    dprojected, raw = [], []
    for left, (start, stop), (before, held) in zip(reversed(range(len(sizes))), _spans(sizes, not reverse),
                                                   reversed(kept)):
        count = stop - start
        into = g_output[start:stop] + dh[:count]
        columns, hidden_columns, carried, dcell = cell.gradient(m, into, None if dc is None else dc[:count], held, w_hr)
        step = dx.put(start, stop, columns)
        if cell.own_bias:
            step = dhidden.put(start, stop, hidden_columns)
        if left or 'hx' in needed:
            dbefore = m.matmul(step, w_hh)
            if carried is not None:
                dbefore = over(m, 'add', dbefore, carried)
            dh = _renewed(m, dh, dbefore)
        dc = None if dc is None else _renewed(m, dc, dcell)
        states.put(start, stop, (before,))
        if w_hr is not None:
            dprojected.append(into)
            raw.append(held[-1])
    return {'hx': dh, 'cx': dc, **_weight_gradients(m, input, w_ih, dx.all(), dhidden.all(), states.all(), dprojected,
                                                   raw, needed)}


def _weight_gradients(m, input, w_ih, dx, dhidden, states, dprojected, raw, needed):
    found = {}
    if 'input' in needed:
        found['input'] = m.matmul(dx, w_ih)
    if 'w_ih' in needed:
        found['w_ih'] = m.matmul(m.t(dx), input)
    if 'w_hh' in needed:
        found['w_hh'] = m.matmul(m.t(dhidden), states)
    if 'w_hr' in needed:
        found['w_hr'] = m.matmul(m.t(m.cat(dprojected, 0)), m.cat(raw, 0))
    if 'b_ih' in needed:
        found['b_ih'] = m.sum(dx, 0)
    if 'b_hh' in needed:
        found['b_hh'] = m.clone(found['b_ih']) if dhidden is dx and 'b_ih' in needed else m.sum(dhidden, 0)
    return found


@opaque(namespace='', method=False, widen=True, grad=_layer_gradient)
def recurrent_layer(m, input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse):
    """A layer in one direction: (kept for backward, output rows, last hidden state, last cell state or None).

    input: (rows, features). hx, cx: (sequences, features), cx None but for LSTM. w_hr: the projection or None. sizes:
    how many sequences take part in each step, never more than in the step before. reverse: from the last step on.
    """
    return _run(m, input, hx, cx, w_ih, w_hh, b_ih, b_hh, w_hr, mode, sizes, reverse)


# ---- all layers -----------------------------------------------------------------------------------------------

def _need_one_dtype(name, tensors):
    kinds = {t._array.dtype for t in tensors}
    if len(kinds) > 1 or not tensors[0].is_floating_point():
        raise RuntimeError(f'{name}(): input, states and weights must have one floating point dtype, but got '
                           f'{", ".join(describe_value(t) for t in tensors)}')


def _layers(mode, rows, sizes, states, params, has_biases, num_layers, dropout, train, bidirectional):
    """All layers on rows: (output rows, last hidden states, last cell states or None)."""
    hx, cx = states
    directions = 2 if bidirectional else 1
    each = 4 if has_biases else 2
    if cx is not None and hx.shape[2] != cx.shape[2]:
        each += 1
    if len(params) != each * num_layers * directions:
        raise RuntimeError(f'{mode}: {each * num_layers * directions} weights expected for {num_layers} layers in '
                           f'{directions} directions, but got {len(params)}')
    if hx.shape[0] != num_layers * directions:
        raise RuntimeError(f'Expected hidden size to begin with {num_layers * directions} (layers * directions), got '
                           f'{list(hx.shape)}')
    _need_one_dtype(mode.lower(), (rows, hx, *(() if cx is None else (cx,)), *params))
    last_h, last_c = [], []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            w_ih, w_hh, *rest = params[k * each:(k + 1) * each]
            b_ih, b_hh = rest[:2] if has_biases else (None, None)
            w_hr = rest[-1] if each % 2 else None
            _, out, h, c = recurrent_layer(rows, hx.select(0, k), None if cx is None else cx.select(0, k), w_ih, w_hh,
                                           b_ih, b_hh, w_hr, mode, sizes, direction == 1)
            outputs.append(out)
            last_h.append(h)
            last_c.append(c)
        rows = outputs[0] if directions == 1 else PUBLIC.cat(outputs, 1)
        if dropout and train and layer < num_layers - 1:
            rows = PUBLIC.dropout(rows, dropout, True)
    return rows, PUBLIC.stack(last_h), None if cx is None else PUBLIC.stack(last_c)


def _padded(mode, input, states, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    if batch_first:
        input = input.transpose(0, 1)
    steps, count = input.shape[0], input.shape[1]
    if not steps:
        raise RuntimeError('Expected sequence length to be larger than 0 in RNN')
    rows, h, c = _layers(mode, input.reshape(steps * count, input.shape[2]), (count,) * steps, states, params,
                         has_biases, num_layers, dropout, train, bidirectional)
    output = rows.reshape(steps, count, rows.shape[1])
    return output.transpose(0, 1) if batch_first else output, h, c


def _packed(mode, data, batch_sizes, states, params, has_biases, num_layers, dropout, train, bidirectional):
    return _layers(mode, data, tuple(batch_sizes.tolist()), states, params, has_biases, num_layers, dropout, train,
                   bidirectional)


def _bind_padded(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    return _padded, (input,), hx, (params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def _bind_packed(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional):
    return _packed, (data, batch_sizes), hx, (params, has_biases, num_layers, dropout, train, bidirectional)


def _publish_layers(name, mode):
    """The function of whole sequences that PyTorch has for a mode, padded or packed."""
    two = mode == 'LSTM'

    def layers(*args, **kwargs):
        first_params = args[2] if len(args) > 2 else kwargs.get('params')
        packed = 'batch_sizes' in kwargs or (isinstance(args[1], Tensor) if two and len(args) > 1 else
                                             isinstance(first_params, Tensor))
        compute, sequences, hx, rest = (_bind_packed if packed else _bind_padded)(*args, **kwargs)
        if two and (isinstance(hx, Tensor) or len(hx) != 2):
            raise RuntimeError('lstm expects two hidden states')
        output, h, c = compute(mode, *sequences, tuple(hx) if two else (hx, None), *rest)
        return (output, h, c) if two else (output, h)

    layers.__name__ = layers.__qualname__ = name
    layers.__doc__ = f"""{mode} over sequences: (input, hx, params, has_biases, num_layers, dropout, train,
    bidirectional, batch_first), or packed (data, batch_sizes, hx, params, has_biases, ..., bidirectional).

    Gives the output and the last state of every layer and direction. `params`: w_ih, w_hh, b_ih, b_hh of each."""
    return export()(layers)


rnn_tanh = _publish_layers('rnn_tanh', 'RNN_TANH')
rnn_relu = _publish_layers('rnn_relu', 'RNN_RELU')
lstm = _publish_layers('lstm', 'LSTM')
gru = _publish_layers('gru', 'GRU')


# ---- single steps ---------------------------------------------------------------------------------------------

def _one_step(name, mode, input, hx, cx, w_ih, w_hh, b_ih, b_hh):
    """One step of a cell: (hidden state, cell state or None), for a batch or a single vector."""
    single = input.dim() == 1
    if single:
        input, hx, cx = (None if t is None else t.unsqueeze(0) for t in (input, hx, cx))
    _check_step(name, mode, input, hx, cx, w_ih, w_hh, b_ih, b_hh)
    _, h, _, c = recurrent_layer(input, hx, cx, w_ih, w_hh, b_ih, b_hh, None, mode, (input.shape[0],), False)
    return (h.squeeze(0), None if c is None else c.squeeze(0)) if single else (h, c)


def _check_step(name, mode, input, hx, cx, w_ih, w_hh, b_ih, b_hh):
    batch, features = input._array.shape
    (rows, wide), (hidden_rows, size) = w_ih._array.shape, w_hh._array.shape
    if features != wide:
        raise RuntimeError(f'input has inconsistent input_size: got {features} expected {wide}')
    if rows != GATES[mode] * size or hidden_rows != GATES[mode] * size:
        raise RuntimeError(f'{name}(): w_ih and w_hh must have {GATES[mode]} * {size} rows, got shapes '
                           f'{[rows, wide]} and {[hidden_rows, size]}')
    for k, state in enumerate((hx,) if cx is None else (hx, cx)):
        shape = state._array.shape
        if shape[0] != batch:
            raise RuntimeError(f"Input batch size {batch} doesn't match hidden{k} batch size {shape[0]}")
        if shape[-1] != size:
            raise RuntimeError(f'hidden{k} has inconsistent hidden_size: got {shape[-1]}, expected {size}')
    if (b_ih is None) != (b_hh is None):
        raise RuntimeError(f'{name}(): b_ih and b_hh must be given both or neither')
    _need_one_dtype(name, [t for t in (input, hx, cx, w_ih, w_hh, b_ih, b_hh) if t is not None])


@export()
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM from the states hx = (h, c): the new (h, c). Gates stand in the order i, f, g, o."""
    if isinstance(hx, Tensor):
        raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor")
    if len(hx) != 2:
        raise RuntimeError('lstm_cell expects two hidden states')
    return _one_step('lstm_cell', 'LSTM', input, *hx, w_ih, w_hh, b_ih, b_hh)


def _publish_cell(name, mode, order):
    def step(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
        return _one_step(name, mode, input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]
    step.__name__ = step.__qualname__ = name
    step.__doc__ = f'One step of a cell of mode {mode}: the new hidden state.{order}'
    return export()(step)


rnn_tanh_cell = _publish_cell('rnn_tanh_cell', 'RNN_TANH', '')
rnn_relu_cell = _publish_cell('rnn_relu_cell', 'RNN_RELU', '')
gru_cell = _publish_cell('gru_cell', 'GRU', ' Gates stand in the order r, z, n.')
