import inspect

import pytest

import charlm.callbacks


@pytest.mark.parametrize("name", charlm.callbacks.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    kind = getattr(charlm.callbacks, name)
    assert (kind.__name__, bool(kind.__doc__)) == (name, True)


@pytest.mark.parametrize("name", charlm.callbacks.__all__)
def test_all_arguments_after_the_first_are_keyword_only(name):
    """Of the callbacks; `lr_find` takes a model and data like `Trainer.fit`."""
    kind = getattr(charlm.callbacks, name)
    parameters = list(inspect.signature(kind).parameters.values())[1:]
    assert name == "lr_find" or all(each.kind is each.KEYWORD_ONLY for each in parameters)


def test_an_unknown_name_gets_a_list_of_those_that_exist():
    with pytest.raises(AttributeError, match=r"no attribute 'StepDekay'; its public names are .*StepDecay"):
        _ = charlm.callbacks.StepDekay
