"""`torch.utils.data.dataloader`, defined in `flambeau.data`."""
from ...data.collate import default_collate, default_convert
from ...data.loader import DataLoader
from ...data.worker import get_worker_info

__all__ = ['DataLoader', 'get_worker_info', 'default_collate', 'default_convert']
