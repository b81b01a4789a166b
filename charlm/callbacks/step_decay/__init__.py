"""`StepDecay`: multiply the learning rate by a factor at milestones."""

from charlm.callbacks.step_decay.callback import StepDecay as StepDecay
