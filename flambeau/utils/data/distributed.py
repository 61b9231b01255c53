"""`torch.utils.data.distributed`, defined in `flambeau.data.sampler`."""
from ...data.sampler import DistributedSampler

__all__ = ['DistributedSampler']
