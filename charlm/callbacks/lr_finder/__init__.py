"""`LRFinder`: find a learning rate as training begins."""

from charlm.callbacks.lr_finder.callback import LRFinder as LRFinder
