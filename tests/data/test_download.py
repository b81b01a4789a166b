import hashlib
import os
import re
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from charlm.data import download as download_file
from charlm.data.corpus import read_corpus
from charlm.data.datamodule import NamesDataModule
from charlm.data.download import MAKEMORE_SHA256, cache_directory, cached, download, is_address

COURSE_LIST = Path(__file__).parents[3] / "shared" / "names.txt"
NAMES = b"anna\nbo\nzoe\n"


class Site:
    """What the server has, by path; b"" hangs up without an answer. `asked` are the requests so far.

    `missing` is the number of bytes that a server which breaks off does not send; None: it does not say how many come.
    """

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"
        self.files = {"/names.txt": NAMES}
        self.asked = []
        self.missing = 0


@pytest.fixture
def site():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.asked.append(self.path)
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
            elif content:
                self.send_response(200)
                if site.missing is not None:
                    self.send_header("Content-Length", str(len(content) + site.missing))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(server.server_address[1])
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The cache directory: below tmp_path, and no proxy between here and 127.0.0.1."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache" / "charlm"


@pytest.fixture
def makemore(monkeypatch, site):
    """The word makemore means the server's file."""
    monkeypatch.setattr(download_file, "MAKEMORE_ADDRESS", f"{site.address}/names.txt")
    monkeypatch.setattr(download_file, "MAKEMORE_SHA256", hashlib.sha256(NAMES).hexdigest())


def kept_files(cache):
    return [file.read_bytes() for file in cache.iterdir()] if cache.exists() else []


def test_an_address_is_downloaded_once_and_kept_in_the_cache(site, cache):
    address = f"{site.address}/names.txt"
    assert read_corpus(address).names() == ["anna", "bo", "zoe"]
    first = download(address)
    assert first.parent == cache
    assert read_corpus(address).source == str(first)
    assert site.asked == ["/names.txt"] * 2  # for the size, and for the file
    assert kept_files(cache) == [NAMES]


def test_addresses_whose_files_have_one_name_are_kept_apart(site):
    site.files = {"/a/names.txt": b"anna\n", "/b/names.txt": b"bo\n", "/names?list=3": b"cy\n", "/": b"di\n"}
    read = {path: read_corpus(site.address + path).names() for path in site.files}
    assert read == {"/a/names.txt": ["anna"], "/b/names.txt": ["bo"], "/names?list=3": ["cy"], "/": ["di"]}
    assert set(site.asked) == set(site.files)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/names.txt?list=3&b=c#d", "names.txt"),
        ("/list:2*.txt", "list_2_.txt"),
        ("/a%20b.txt", "a_20b.txt"),
        ("/" + "n" * 300 + ".txt", "n" * 76 + ".txt"),
        ("/a/", "names.txt"),
    ],
)
def test_files_in_the_cache_have_names_that_every_system_takes(path, name, site):
    site.files[path.partition("#")[0]] = NAMES
    assert re.sub("^[0-9a-f]{12}-", "", download(site.address + path).name) == name


def test_a_download_that_breaks_off_is_refused_and_not_kept(site, cache):
    site.missing = 986
    assert "names.txt (12 of 998 bytes came, try again); pass a file" in refusal(f"{site.address}/names.txt")
    assert kept_files(cache) == []
    site.missing = 0
    assert len(read_corpus(f"{site.address}/names.txt")) == 3


def test_a_server_that_does_not_say_the_size_is_believed(site, cache):
    site.missing = None
    assert len(read_corpus(f"{site.address}/names.txt")) == 3
    assert kept_files(cache) == [NAMES]


@pytest.mark.usefixtures("makemore")
def test_what_is_cached_is_known_without_asking(site):
    address = f"{site.address}/names.txt"
    assert (cached(address), cached("makemore")) == (None, None)
    assert site.asked == []
    kept = download(address)
    assert cached(address) == kept == cached("makemore")
    kept.write_bytes(b"another list\n")
    assert (cached(address), cached("makemore")) == (kept, None)


@pytest.mark.usefixtures("makemore")
def test_makemore_is_downloaded_once_and_checked(site, cache):
    assert read_corpus("makemore").names() == ["anna", "bo", "zoe"]
    assert read_corpus("makemore").names() == ["anna", "bo", "zoe"]
    assert site.asked == ["/names.txt"]
    assert kept_files(cache) == [NAMES]


@pytest.mark.usefixtures("makemore")
def test_another_file_than_the_courses_is_refused_and_not_kept(site, cache):
    site.files["/names.txt"] = b"<html>please log in</html>"
    with pytest.raises(
        ValueError,
        match=rf"^what {site.address}/names\.txt sent is not the expected file \(its SHA-256 differs\); pass a file",
    ):
        read_corpus("makemore")
    assert kept_files(cache) == []
    site.files["/names.txt"] = NAMES
    assert len(read_corpus("makemore")) == 3


@pytest.mark.usefixtures("makemore")
def test_a_damaged_copy_is_fetched_again(site):
    kept = download("makemore")
    kept.write_bytes(NAMES[:-4])
    assert read_corpus("makemore").names() == ["anna", "bo", "zoe"]
    assert len(site.asked) == 2


def test_the_trainers_data_are_fetched_before_they_are_read(site, cache):
    data = NamesDataModule(f"{site.address}/names.txt", split=(1, 0, 0))
    assert kept_files(cache) == []
    data.prepare_data()
    assert kept_files(cache) == [NAMES]
    asked = len(site.asked)
    assert data.splits.names("train") == ["anna", "bo", "zoe"]
    assert len(site.asked) == asked


def refusal(address):
    with pytest.raises(OSError, match=r"pass a file that you have instead: --data\.path FILE$") as error:
        read_corpus(address)
    return str(error.value)


def test_without_a_network_the_message_says_how_to_pass_a_file(cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        address = f"http://127.0.0.1:{free.getsockname()[1]}/names.txt"
        assert re.match(rf"cannot download {address} \(.*Connection refused\); ", refusal(address))
    assert kept_files(cache) == []


def test_an_address_without_a_file_is_refused(site, cache):
    assert f"cannot download {site.address}/nams.txt (Not Found); " in refusal(f"{site.address}/nams.txt")
    assert kept_files(cache) == []


def test_a_server_that_hangs_up_is_refused(site, cache):
    site.files["/names.txt"] = b""
    assert "closed connection without response" in refusal(f"{site.address}/names.txt")
    assert kept_files(cache) == []


@pytest.mark.parametrize(
    "address", ["http://", "https:///names.txt", "http://127.0.0.1/a b", "http://[", "http://127.0.0.1/é"]
)
def test_what_is_no_address_is_refused(address):
    assert refusal(address).startswith(f"cannot download {address} (")


def test_a_cache_that_cannot_be_written_is_refused(site, cache):
    cache.parent.write_text("a file where the directory should be")
    assert str(cache) in refusal(f"{site.address}/names.txt")


def test_the_cache_lies_where_the_system_keeps_such_things(monkeypatch, tmp_path):
    assert cache_directory() == tmp_path / "cache" / "charlm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "charlm"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("makemore", True),
        ("http://a/b", True),
        ("https://a/b", True),
        ("names.txt", False),
        ("ftp://a/b", False),
        (Path("makemore"), False),
        (None, False),
    ],
)
def test_an_address_is_told_from_a_file(path, expected):
    assert is_address(path) is expected


@pytest.mark.skipif(not COURSE_LIST.exists(), reason="the course's names.txt is not part of the project")
def test_the_expected_file_is_the_courses():
    assert hashlib.sha256(COURSE_LIST.read_bytes()).hexdigest() == MAKEMORE_SHA256
