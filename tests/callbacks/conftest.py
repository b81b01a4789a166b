import pytest


@pytest.fixture
def trainer(trainer):
    """The Trainer of the other tests, with callbacks as arguments and Lightning's own steps between two logs."""
    return lambda *callbacks, **options: trainer(callbacks=[*callbacks], **{"log_every_n_steps": 50} | options)
