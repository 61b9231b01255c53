"""Transformer layers and stacks of them (Vaswani et al., 2017)."""
from __future__ import annotations

import copy
import math

from ..ops.activation import gelu, relu
from ..ops.attention import additive_mask
from ..ops.definition import PUBLIC
from .container import ModuleList
from .dropout import Dropout
from .init import xavier_uniform_
from .linear import Linear
from .module import Module
from .multihead import MultiheadAttention
from .normalization import LayerNorm

__all__ = ['Transformer', 'TransformerEncoder', 'TransformerDecoder', 'TransformerEncoderLayer',
           'TransformerDecoderLayer']


def _get_clones(module, count):
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


def _get_activation_fn(activation):
    if not isinstance(activation, str):
        return activation
    if activation not in ('relu', 'gelu'):
        raise RuntimeError(f'activation should be relu/gelu, not {activation}')
    return {'relu': relu, 'gelu': gelu}[activation]


class _Layer(Module):
    """A block of attention and two linear layers: each part is added to its input, and normalised before or after."""

    __constants__ = ['norm_first']
    attentions = ()

    def __init__(self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=relu, layer_norm_eps=1e-5,
                 batch_first=False, norm_first=False, bias=True, device=None, dtype=None):
        super().__init__()
        made = {'device': device, 'dtype': dtype}
        for name in self.attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout=dropout, bias=bias, batch_first=batch_first,
                                                   **made))
        self.linear1 = Linear(d_model, dim_feedforward, bias=bias, **made)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias=bias, **made)
        self.norm_first = norm_first
        parts = range(1, len(self.attentions) + 2)
        for k in parts:
            setattr(self, f'norm{k}', LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made))
        for k in parts:
            setattr(self, f'dropout{k}', Dropout(dropout))
        self.activation = _get_activation_fn(activation)

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault('activation', relu)

    def _added(self, x, norm, part, *arguments):
        """The input and what a part makes of it."""
        if self.norm_first:
            return x + part(norm(x), *arguments)
        return norm(x + part(x, *arguments))

    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
        return self.dropout1(self.self_attn(x, x, x, attn_mask=attn_mask, key_padding_mask=key_padding_mask,
                                            need_weights=False, is_causal=is_causal)[0])

    def _ff_block(self, x):
        last = self.dropout3 if len(self.attentions) == 2 else self.dropout2
        return last(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and two linear layers with `dim_feedforward` features between them.

    activation: 'relu', 'gelu' or a function. norm_first: normalisation before attention and linear layers, not after.
    batch_first: (batch, length, features) instead of (length, batch, features).

    >>> nn.TransformerEncoderLayer(8, 2, batch_first=True)(torch.ones(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    attentions = ('self_attn',)

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        padding = additive_mask(src_key_padding_mask, 'src_key_padding_mask', src.dtype)
        mask = additive_mask(src_mask, 'src_mask', src.dtype)
        x = self._added(src, self.norm1, self._sa_block, mask, padding, is_causal)
        return self._added(x, self.norm2, self._ff_block)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to `memory`, and two linear layers; arguments as of `TransformerEncoderLayer`."""

    attentions = ('self_attn', 'multihead_attn')

    def forward(self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
                memory_key_padding_mask=None, tgt_is_causal=False, memory_is_causal=False):
        x = self._added(tgt, self.norm1, self._sa_block, tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        x = self._added(x, self.norm2, self._mha_block, memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        return self._added(x, self.norm3, self._ff_block)

    def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal=False):
        return self.dropout2(self.multihead_attn(x, mem, mem, attn_mask=attn_mask, key_padding_mask=key_padding_mask,
                                                 is_causal=is_causal, need_weights=False)[0])


def _generate_square_subsequent_mask(sz, device=None, dtype=None):
    return PUBLIC.triu(PUBLIC.full((sz, sz), -math.inf, dtype=dtype, device=device), diagonal=1)


def _is_causal_mask(mask, is_causal, x, batch_first):
    """The given answer, or whether the mask is the causal one for the length of the input."""
    if is_causal is not None or mask is None:
        return bool(is_causal)
    length = x.shape[1 if batch_first and x.dim() == 3 else 0]
    if tuple(mask.shape) != (length, length) or not mask.is_floating_point():
        return False
    return bool((mask == _generate_square_subsequent_mask(length, mask.device, mask.dtype)).all())


class TransformerEncoder(Module):
    """`num_layers` copies of an encoder layer, then `norm` if given.

    enable_nested_tensor and mask_check are taken for compatibility: padded places are computed like the others.
    """

    __constants__ = ['norm']

    def __init__(self, encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True):
        super().__init__()
        self.layers = _get_clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=None):
        """The input through all layers; masks as of nn.MultiheadAttention; is_causal: whether `mask` is causal."""
        padding = additive_mask(src_key_padding_mask, 'src_key_padding_mask', src.dtype)
        mask = additive_mask(mask, 'mask', src.dtype)
        causal = _is_causal_mask(mask, is_causal, src, self.layers[0].self_attn.batch_first) if self.layers else False
        for layer in self.layers:
            src = layer(src, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """`num_layers` copies of a decoder layer, then `norm` if given."""

    __constants__ = ['norm']

    def __init__(self, decoder_layer, num_layers, norm=None):
        super().__init__()
        self.layers = _get_clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
                memory_key_padding_mask=None, tgt_is_causal=None, memory_is_causal=False):
        """The target through all layers, which look at `memory`; masks as of nn.MultiheadAttention."""
        causal = _is_causal_mask(tgt_mask, tgt_is_causal, tgt, self.layers[0].self_attn.batch_first) \
            if self.layers else False
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                        tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
                        tgt_is_causal=causal, memory_is_causal=memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder, each ending in a normalisation; `custom_encoder`, `custom_decoder` take their places.

    >>> model = nn.Transformer(8, 2, 1, 1, batch_first=True)
    >>> model(torch.ones(3, 6, 8), torch.ones(3, 4, 8)).shape
    torch.Size([3, 4, 8])
    """

    def __init__(self, d_model=512, nhead=8, num_encoder_layers=6, num_decoder_layers=6, dim_feedforward=2048,
                 dropout=0.1, activation=relu, custom_encoder=None, custom_decoder=None, layer_norm_eps=1e-5,
                 batch_first=False, norm_first=False, bias=True, device=None, dtype=None):
        super().__init__()
        made = {'device': device, 'dtype': dtype}
        options = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        if custom_encoder is None:
            layer = TransformerEncoderLayer(*options, **made)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers,
                                                LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made))
        self.encoder = custom_encoder
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*options, **made)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers,
                                                LayerNorm(d_model, eps=layer_norm_eps, bias=bias, **made))
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(self, src, tgt, src_mask=None, tgt_mask=None, memory_mask=None, src_key_padding_mask=None,
                tgt_key_padding_mask=None, memory_key_padding_mask=None, src_is_causal=None, tgt_is_causal=None,
                memory_is_causal=False):
        """The decoder's output for the target, given the encoder's for the source."""
        where = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[where] != tgt.shape[where]:
            raise RuntimeError('the batch number of src and tgt must be equal')
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError('the feature number of src and tgt must be equal to d_model')
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                            tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
                            tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz, device=None, dtype=None):
        """A causal mask (sz, sz): -inf above the diagonal, else 0."""
        return _generate_square_subsequent_mask(sz, device, dtype)

    def _reset_parameters(self):
        for parameter in self.parameters():
            if parameter.dim() > 1:
                xavier_uniform_(parameter)
