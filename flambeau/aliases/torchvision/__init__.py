"""Stands for flambeau where a child process of `python -m flambeau` imports torchvision."""
from flambeau.__main__ import import_alias

import_alias(__name__)
