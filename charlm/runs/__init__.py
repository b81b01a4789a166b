"""The directory of a run: name, checkpoints, logger, events, curves."""
