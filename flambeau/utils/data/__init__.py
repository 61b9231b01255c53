"""`torch.utils.data`: datasets, samplers and loaders; everything is defined in `flambeau.data`."""
from ...data import *
from ...data import __all__
from . import _utils, dataloader, dataset, distributed, sampler
