"""The room of `Dashboard`."""

from charlm.callbacks.dashboard.callback import Dashboard as Dashboard
