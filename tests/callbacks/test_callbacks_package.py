import inspect

import pytest

import charlm.callbacks


@pytest.mark.parametrize("name", charlm.callbacks.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    kind = getattr(charlm.callbacks, name)
    assert (kind.__name__, bool(kind.__doc__)) == (name, True)


@pytest.mark.parametrize("name", charlm.callbacks.__all__)
def test_all_arguments_after_the_first_are_keyword_only(name):
    parameters = list(inspect.signature(getattr(charlm.callbacks, name)).parameters.values())
    assert all(each.kind is each.KEYWORD_ONLY for each in parameters[1:])


def test_an_unknown_name_gets_a_list_of_those_that_exist():
    with pytest.raises(AttributeError, match=r"no attribute 'StepDekay'; its public names are .*StepDecay"):
        _ = charlm.callbacks.StepDekay
