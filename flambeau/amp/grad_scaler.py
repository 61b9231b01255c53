"""Scaling of losses, so that gradients in half precision do not underflow."""
from __future__ import annotations

import enum
import warnings
from collections import defaultdict

from .. import dtypes
from ..autograd.modes import no_grad
from ..ops.creation import tensor
from ..tensor import Tensor

__all__ = ['OptState', 'GradScaler']


class OptState(enum.Enum):
    """What has happened to an optimizer's gradients since the last `update`."""
    READY = 0
    UNSCALED = 1
    STEPPED = 2


class _OptimizerState:
    def __init__(self):
        self.stage, self.found_inf = OptState.READY, None


class GradScaler:
    """Multiplies losses by a factor that grows while gradients stay finite, and shrinks when they do not.

    scale(loss).backward(); step(optimizer); update(). A step with gradients that are not finite is left out. With
    `enabled=False`, and for 'cuda' without CUDA, `scale` returns the loss, `step` calls the optimizer's `step`, and all
    else does nothing.
    """

    def __init__(self, device: str = 'cuda', init_scale: float = 2.0 ** 16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True):
        self._device, self._enabled = device, enabled
        if enabled and device == 'cuda':
            warnings.warn('torch.amp.GradScaler is enabled, but CUDA is not available. Disabling.', stacklevel=2)
            self._enabled = False
        if not self._enabled:
            return
        if not growth_factor > 1.0:
            raise AssertionError('The growth factor must be > 1.0.')
        if not backoff_factor < 1.0:
            raise AssertionError('The backoff factor must be < 1.0.')
        self._init_scale, self._init_growth_tracker, self._scale, self._growth_tracker = init_scale, 0, None, None
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._per_optimizer_states = defaultdict(_OptimizerState)

    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def _start(self):
        self._scale = tensor(self._init_scale, dtype=dtypes.float32)
        self._growth_tracker = tensor(self._init_growth_tracker, dtype=dtypes.int32)

    def _require_scale(self, name):
        if self._scale is None:
            raise AssertionError(f'Attempted {name} but _scale is None.  This may indicate your script did not use '
                                 'scaler.scale(loss or outputs) earlier in the iteration.')

    def scale(self, outputs):
        """The outputs, a tensor or an iterable of tensors, times the present factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._start()
            return outputs * self._scale
        if not hasattr(outputs, '__iter__'):
            raise ValueError('outputs must be a Tensor or an iterable of Tensors')
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled

    def unscale_(self, optimizer) -> None:
        """Divides an optimizer's gradients by the factor, as clipping them before `step` needs.

        Raises RuntimeError when it has been done since the last `update`, ValueError for gradients in float16.
        """
        if not self._enabled:
            return
        self._require_scale('unscale_')
        state = self._per_optimizer_states[id(optimizer)]
        if state.stage is not OptState.READY:
            raise RuntimeError('unscale_() has already been called on this optimizer since the last update().'
                               if state.stage is OptState.UNSCALED else 'unscale_() is being called after step().')
        grads = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        if any(g.dtype is dtypes.float16 for g in grads):
            raise ValueError('Attempting to unscale FP16 gradients.')
        with no_grad():
            inverse = self._scale.double().reciprocal().float()
            state.found_inf = any([not bool(g.isfinite().all()) for g in grads]) if grads else None
            for g in grads:
                g.mul_(inverse)
        state.stage = OptState.UNSCALED

    def step(self, optimizer, *args, **kwargs):
        """optimizer.step(*args, **kwargs) on the true gradients, or None where they are not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if 'closure' in kwargs:
            raise RuntimeError('Closure use is not currently supported if GradScaler is enabled.')
        self._require_scale('step')
        state = self._per_optimizer_states[id(optimizer)]
        if state.stage is OptState.STEPPED:
            raise RuntimeError('step() has already been called since the last update().')
        if state.stage is OptState.READY:
            self.unscale_(optimizer)
        if state.found_inf is None:
            raise AssertionError('No inf checks were recorded for this optimizer.')
        result = None if state.found_inf else optimizer.step(*args, **kwargs)
        state.stage = OptState.STEPPED
        return result

    def update(self, new_scale=None) -> None:
        """Shrinks the factor after gradients that were not finite, grows it after many that were; or sets it."""
        if not self._enabled:
            return
        self._require_scale('update')
        if new_scale is not None:
            self._scale.fill_(new_scale) if isinstance(new_scale, float) else self._scale.copy_(new_scale)
        else:
            found = [s.found_inf for s in self._per_optimizer_states.values() if s.found_inf is not None]
            if not found:
                raise AssertionError('No inf checks were recorded prior to update.')
            if any(found):
                self._scale.mul_(self._backoff_factor)
                self._growth_tracker.fill_(0)
            elif int(self._growth_tracker) + 1 == self._growth_interval:
                grown = self._scale * self._growth_factor
                if bool(grown.isfinite()):
                    self._scale.copy_(grown)
                self._growth_tracker.fill_(0)
            else:
                self._growth_tracker.add_(1)
        self._per_optimizer_states.clear()

    def get_scale(self) -> float:
        """The factor of the losses: 1 where it is off."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by when it grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets what the factor is multiplied by when it grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by when it shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets what the factor is multiplied by when it shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many finite steps the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets after how many finite steps the factor grows."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict:
        """The factor and how it changes; empty where it is off."""
        if not self._enabled:
            return {}
        steps = self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()
        return {'scale': self.get_scale(), 'growth_factor': self._growth_factor, 'backoff_factor': self._backoff_factor,
                'growth_interval': self._growth_interval, '_growth_tracker': steps}

    def load_state_dict(self, state_dict: dict) -> None:
        """Takes over a state. Raises RuntimeError for the empty one of a scaler that was off."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError('The source state dict is empty, possibly because it was saved from a disabled instance '
                               'of GradScaler.')
        self._init_scale, self._init_growth_tracker = state_dict['scale'], state_dict['_growth_tracker']
        self._growth_factor, self._backoff_factor = state_dict['growth_factor'], state_dict['backoff_factor']
        self._growth_interval = state_dict['growth_interval']
        if self._scale is not None:
            self._start()
