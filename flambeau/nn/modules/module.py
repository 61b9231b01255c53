"""PyTorch's import path for `Module` and the hooks of all modules: names defined elsewhere, nothing of its own."""
from ..hooks import (register_module_backward_hook, register_module_buffer_registration_hook,
                     register_module_forward_hook, register_module_forward_pre_hook,
                     register_module_full_backward_hook, register_module_full_backward_pre_hook,
                     register_module_module_registration_hook, register_module_parameter_registration_hook)
from ..module import Module, indent as _addindent
from ..state import _IncompatibleKeys

__all__ = ['Module', 'register_module_backward_hook', 'register_module_buffer_registration_hook',
           'register_module_forward_hook', 'register_module_forward_pre_hook', 'register_module_full_backward_hook',
           'register_module_full_backward_pre_hook', 'register_module_module_registration_hook',
           'register_module_parameter_registration_hook']
