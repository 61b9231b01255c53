"""Attention with several heads. The formulas are in ops/attention.py."""
from __future__ import annotations

from ..ops.attention import multi_head_attention_forward
from ..ops.creation import empty
from ..tensor import Parameter
from .init import constant_, xavier_normal_, xavier_uniform_
from .linear import NonDynamicallyQuantizableLinear
from .module import Module

__all__ = ['MultiheadAttention']


class MultiheadAttention(Module):
    """Attention of `num_heads` heads, each on embed_dim / num_heads features, between linear projections.

    kdim, vdim: features of key and value where they are not embed_dim. batch_first: (batch, length, features) instead
    of (length, batch, features). forward gives (output, weights), the weights averaged over heads, None where
    need_weights=False, which is faster.

    >>> x = torch.ones(5, 2, 8)
    >>> [tuple(t.shape) for t in nn.MultiheadAttention(8, 2)(x, x, x)]
    [(5, 2, 8), (2, 5, 5)]
    """

    __constants__ = ['batch_first']

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False, add_zero_attn=False, kdim=None,
                 vdim=None, batch_first=False, device=None, dtype=None):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f'embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and '
                             f'num_heads={num_heads} instead')
        super().__init__()
        made = {'device': device, 'dtype': dtype}
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError('embed_dim must be divisible by num_heads')
        shapes = {'q_proj_weight': (embed_dim, embed_dim), 'k_proj_weight': (embed_dim, self.kdim),
                  'v_proj_weight': (embed_dim, self.vdim), 'in_proj_weight': (3 * embed_dim, embed_dim)}
        for name, shape in shapes.items():
            used = (name == 'in_proj_weight') == self._qkv_same_embed_dim
            self.register_parameter(name, Parameter(empty(shape, **made)) if used else None)
        self.register_parameter('in_proj_bias', Parameter(empty(3 * embed_dim, **made)) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **made)
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            self.bias_k = Parameter(empty((1, 1, embed_dim), **made))
            self.bias_v = Parameter(empty((1, 1, embed_dim), **made))
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight, self.in_proj_weight):
            if weight is not None:
                xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            constant_(self.in_proj_bias, 0.0)
            constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                xavier_normal_(bias)

    def __setstate__(self, state):
        state.setdefault('_qkv_same_embed_dim', True)
        super().__setstate__(state)

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
                average_attn_weights=True, is_causal=False):
        """(output, weights or None).

        key_padding_mask: (batch, keys); attn_mask: (queries, keys) or (batch * heads, queries, keys). Both are
        bool, True where a key is not looked at, or are added to the scores. is_causal says that attn_mask is causal.
        """
        turn = self.batch_first and query.dim() == 3
        if turn:
            turned = {id(t): t.transpose(1, 0) if t.dim() == 3 else t for t in (query, key, value)}
            query, key, value = turned[id(query)], turned[id(key)], turned[id(value)]
        apart = not self._qkv_same_embed_dim
        output, weights = multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training,
            key_padding_mask, need_weights, attn_mask, apart, self.q_proj_weight, self.k_proj_weight,
            self.v_proj_weight, average_attn_weights=average_attn_weights, is_causal=is_causal)
        return (output.transpose(1, 0) if turn else output), weights
