"""The word makemore: a whole and checked file, or a sentence; a server on this machine stands for GitHub."""

import hashlib
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

from charlm.data import download as download_file
from charlm.data.corpus import read_corpus
from charlm.data.datamodule import NamesDataModule
from charlm.data.download import MAKEMORE_SHA256, cache_directory, download_makemore

NAMES = b"anna\nbo\nzoe\n"


class Site:
    """What the server sends, and how often it was asked.

    Attributes:
        content: the file; None: there is none.
        promised: bytes in the Content-Length that never come.
        stalls: where the server stops answering: "", "at once" or "amid the file".
    """

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/names.txt"
        self.content, self.promised, self.stalls, self.asked = NAMES, 0, "", 0
        self.over = Event()


@pytest.fixture(autouse=True)
def site(monkeypatch, tmp_path):
    """A server whose file the word makemore means, an empty cache, and no proxy."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.asked += 1
            if site.stalls == "at once":
                site.over.wait(10)
            elif site.content is None:
                self.send_error(404)
            elif site.content:  # b"" hangs up without an answer
                self.send_response(200)
                self.send_header("Content-Length", str(len(site.content) + site.promised))
                self.end_headers()
                if site.stalls == "amid the file":  # each byte comes in time, all of them would take too long
                    for byte in site.content:
                        self.wfile.write(bytes([byte]))
                        site.over.wait(0.1)
                self.wfile.write(site.content)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(server.server_address[1])
        monkeypatch.setattr(download_file, "MAKEMORE_ADDRESS", site.address)
        monkeypatch.setattr(download_file, "MAKEMORE_SHA256", hashlib.sha256(NAMES).hexdigest())
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        site.over.set()
        server.shutdown()
        thread.join()


def cached_files():
    return [file.read_bytes() for file in cache_directory().iterdir()] if cache_directory().exists() else []


def refusal(error=OSError):
    with pytest.raises(error, match=r"give .*file.*: `path` FILE$") as refused:
        read_corpus("makemore")
    assert cached_files() == [], "a part of a download was left"
    return str(refused.value)


def test_makemore_is_downloaded_once_checked_and_kept_and_a_damaged_copy_is_replaced(site):
    assert read_corpus("makemore").names() == ["anna", "bo", "zoe"]
    assert read_corpus("makemore").source == str(download_makemore())
    assert site.asked == 1
    assert cached_files() == [NAMES]
    download_makemore().write_bytes(NAMES[:-4])
    assert read_corpus("makemore").names() == ["anna", "bo", "zoe"]
    assert site.asked == 2


def test_the_trainer_downloads_before_it_reads(site):
    data = NamesDataModule("makemore", split=(1, 0, 0))
    assert site.asked == 0
    data.prepare_data()
    assert cached_files() == [NAMES]
    assert data.splits.names("train") == ["anna", "bo", "zoe"]
    assert site.asked == 1


@pytest.mark.parametrize("content", [b"<html>please log in</html>", NAMES * 100_000])
def test_another_file_than_the_courses_is_refused_and_not_kept(content, site):
    site.content = content
    assert refusal(ValueError).startswith(f"{site.address} did not send the expected file (its SHA-256 differs)")
    site.content = NAMES
    assert len(read_corpus("makemore")) == 3


@pytest.mark.parametrize("stalls", ["at once", "amid the file"])
def test_a_server_that_stalls_is_not_waited_for(stalls, site, monkeypatch):
    monkeypatch.setattr(download_file, "_SECONDS", 0.3)
    site.stalls = stalls
    began = time.monotonic()
    assert "(the server did not send the file within 0.3 seconds)" in refusal()
    assert time.monotonic() - began < 1


def test_without_a_network_the_message_says_what_to_do(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"http://127.0.0.1:{free.getsockname()[1]}/names.txt"
        monkeypatch.setattr(download_file, "MAKEMORE_ADDRESS", address)
        said = refusal()
    assert said.startswith(f"cannot download {address} (")
    assert "Connection refused" in said


@pytest.mark.parametrize(
    ("content", "promised", "reason"),
    [(None, 0, "(Not Found)"), (b"", 0, "closed connection without response"), (NAMES[:-4], 4, "")],
    ids=["no file", "no answer", "breaks off"],
)
def test_a_server_without_the_whole_file_is_refused(content, promised, reason, site):
    site.content, site.promised = content, promised
    assert reason in refusal((OSError, ValueError))


@pytest.mark.parametrize("address", ["https://a.org/names.txt", "HTTP://a", "s3://a/names"])
@pytest.mark.parametrize("read", [read_corpus, NamesDataModule])
def test_other_addresses_are_refused_with_what_to_do(address, read):
    with pytest.raises(ValueError, match=rf"^{address} is an address.*download the list first.* give the file"):
        read(address)


def test_the_expected_file_is_the_courses(course_list):
    assert hashlib.sha256(course_list.read_bytes()).hexdigest() == MAKEMORE_SHA256
