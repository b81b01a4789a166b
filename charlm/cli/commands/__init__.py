"""The commands that need no Trainer, one in each file. Signature and docstring of its function are the command line."""
