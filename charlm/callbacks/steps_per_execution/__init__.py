"""The room of `StepsPerExecution`."""

from charlm.callbacks.steps_per_execution.callback import StepsPerExecution as StepsPerExecution
