import pytest

from charlm.callbacks.lr_finder import written


@pytest.fixture
def drawn():
    """For a test that needs the picture; drawing it takes longer than the sweep."""


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(written, "publish", lambda *_: {})
