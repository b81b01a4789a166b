import pytest


@pytest.fixture
def write(tmp_path):
    """Makes a names file of bytes, of a text, or of a list of names, and returns its path."""

    def write(content):
        file = tmp_path / "names.txt"
        if isinstance(content, list):
            content = "".join(f"{name}\n" for name in content)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(file)

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """The path of one file for all examples of a property."""
    return tmp_path_factory.mktemp("property") / "names.txt"
