"""Every example in a docstring gives the output that it shows."""

import doctest
import pkgutil
from importlib import import_module

import charlm


def test_the_examples_in_docstrings_are_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attempted = 0
    for found in pkgutil.walk_packages(charlm.__path__, "charlm."):
        if found.name != "charlm.__main__":
            result = doctest.testmod(import_module(found.name))
            assert result.failed == 0, found.name
            attempted += result.attempted
    assert attempted >= 7
