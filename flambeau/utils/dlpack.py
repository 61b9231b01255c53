"""Sharing memory with other libraries through DLPack."""
from ..ops.creation import from_dlpack as _from_exporter

__all__ = ['from_dlpack', 'to_dlpack']


class _Exporter:
    """A capsule as an object that exports it."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0  # the CPU


def from_dlpack(ext_tensor):
    """A tensor on the memory of another library's tensor, or of the capsule that `to_dlpack` gave."""
    return _from_exporter(ext_tensor if hasattr(ext_tensor, '__dlpack__') else _Exporter(ext_tensor))


def to_dlpack(tensor):
    """A capsule through which another library, once, takes the memory of a tensor. Raises BufferError for gradients."""
    return tensor.__dlpack__()
