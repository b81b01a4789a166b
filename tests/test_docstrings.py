"""Every example in a docstring gives the output that it shows; tests/callbacks runs those of the callbacks."""

import doctest
import pkgutil
from importlib import import_module

import charlm.callbacks


def test_the_examples_in_docstrings_are_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attempted = 0
    for found in pkgutil.walk_packages(charlm.__path__, "charlm."):
        if found.name != "charlm.__main__":
            for example in doctest.DocTestFinder().find(import_module(found.name)):
                if example.name.rpartition(".")[2] not in charlm.callbacks.__all__:
                    result = doctest.DocTestRunner().run(example)
                    assert result.failed == 0, example.name
                    attempted += result.attempted
    assert attempted >= 7
