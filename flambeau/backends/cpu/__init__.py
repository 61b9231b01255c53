"""The CPU backend."""
from .memory import (empty_cache, max_memory_allocated, memory_allocated, memory_reserved, memory_stats,
                     reset_peak_memory_stats)

__all__ = ['empty_cache', 'max_memory_allocated', 'memory_allocated', 'memory_reserved', 'memory_stats',
           'reset_peak_memory_stats']
