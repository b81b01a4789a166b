"""Every example in a docstring gives what it says."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import charlm

MODULES = [found.name for found in pkgutil.walk_packages(charlm.__path__, "charlm.") if found.name != "charlm.__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_its_examples_are_right(name):
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert sum(bool(test.examples) for name in MODULES for test in finder.find(import_module(name))) >= 7
