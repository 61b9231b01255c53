"""`torch.utils.data.dataset`, defined in `flambeau.data.dataset`."""
from ...data.dataset import *
