"""Tools around modules: gradients clipped, flat parameters, parametrizations, pruning, packed sequences."""
from . import parametrizations, parametrize, prune, rnn, stateless
from .clip_grad import clip_grad_norm, clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .init import skip_init
from .spectral_norm import remove_spectral_norm, spectral_norm
from .weight_norm import remove_weight_norm, weight_norm

__all__ = ['parametrizations', 'parametrize', 'prune', 'rnn', 'stateless', 'clip_grad_norm', 'clip_grad_norm_',
           'clip_grad_value_', 'clip_grads_with_norm_', 'get_total_norm', 'parameters_to_vector',
           'vector_to_parameters', 'skip_init', 'spectral_norm', 'remove_spectral_norm', 'weight_norm',
           'remove_weight_norm']
