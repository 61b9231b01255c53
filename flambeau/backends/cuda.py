"""Settings of computations on CUDA devices, which no computation on the CPU reads; scripts may set and read them."""
from __future__ import annotations

from .settings import Settings

matmul = Settings(allow_tf32=False, allow_fp16_reduced_precision_reduction=True,
                  allow_bf16_reduced_precision_reduction=True, allow_fp16_accumulation=False, fp32_precision='none')
_attention = Settings(flash=True, mem_efficient=True, math=True, cudnn=True)


def is_built() -> bool:
    """Whether this version of flambeau computes on CUDA devices."""
    return False


def _switch(kind: str) -> dict:
    def enable(enabled: bool) -> None:
        setattr(_attention, kind, enabled)

    def is_enabled() -> bool:
        return getattr(_attention, kind)

    enable.__doc__ = f'Allows or forbids the {kind} way of scaled_dot_product_attention on CUDA devices.'
    is_enabled.__doc__ = f'Whether the {kind} way of scaled_dot_product_attention may be taken on CUDA devices.'
    return {f'enable_{kind}_sdp': enable, f'{kind}_sdp_enabled': is_enabled}


for _kind in vars(_attention):
    globals().update(_switch(_kind))
