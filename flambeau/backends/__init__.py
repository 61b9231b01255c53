"""One folder a device kind, each with files of the same names. A backend knows arrays and memory, and no operation."""
