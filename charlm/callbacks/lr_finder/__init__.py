"""The room of `LRFinder`."""

from charlm.callbacks.lr_finder.callback import LRFinder as LRFinder
