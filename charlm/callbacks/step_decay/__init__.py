"""The room of `StepDecay`."""

from charlm.callbacks.step_decay.callback import StepDecay as StepDecay
