"""All operations, one file per family. Importing this declares those that programs use at once; the rest when asked
for.
"""
from __future__ import annotations

import importlib
import pkgutil

CORE = ('conversion', 'arithmetic', 'mathematics', 'pointwise', 'reduction', 'statistics', 'scan', 'view', 'joining',
        'contraction', 'creation', 'sampling', 'places', 'indexing', 'scatter', 'activation', 'softmax')
# what operations are declared with
FRAME = ('definition', 'batching', 'call', 'general', 'record', 'results', 'writing', 'writers', 'keys', 'overriding',
         'reference', 'promotion')

_loaded = set()


def load(*families):
    """Declares the operations of some families."""
    for family in families:
        if family not in _loaded:
            _loaded.add(family)
            importlib.import_module('.' + family, __name__)


def load_all():
    """Declares every operation there is."""
    load(*(m.name for m in pkgutil.iter_modules(__path__) if m.name not in FRAME))
