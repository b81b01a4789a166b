"""`StepsPerExecution` and its parts."""

from charlm.callbacks.steps_per_execution.callback import StepsPerExecution as StepsPerExecution
