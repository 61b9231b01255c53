"""The kernel language, shared by all device kinds: programs of loops over memory, and the generators that write them.

Nothing here knows of tensors or operations, nor of how a backend runs a kernel.
"""
