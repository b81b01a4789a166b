"""`Dashboard` and its parts."""

from charlm.callbacks.dashboard.callback import Dashboard as Dashboard
