"""Fixtures: small files in the official formats, and an HTTP server on this machine."""

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import _cifar, _mnist


def _idx(values: np.ndarray) -> bytes:
    header = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def _mnist_content(seed: int = 0, train: int = 30, test: int = 20) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    files = {}
    for prefix, n in (("train", train), ("t10k", test)):
        files[f"{prefix}-images-idx3-ubyte"] = _idx(rng.integers(0, 256, (n, 28, 28)))
        files[f"{prefix}-labels-idx1-ubyte"] = _idx(rng.integers(0, 10, n))
    assert tuple(files) == _mnist.FILES
    return files


@pytest.fixture
def idx() -> Callable[[np.ndarray], bytes]:
    """Function that gives an array as the content of an IDX file."""
    return _idx


@pytest.fixture
def mnist_content() -> Callable[..., dict[str, bytes]]:
    """Function that gives the four IDX files of a small made-up set, by name."""
    return _mnist_content


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no FASTNN_DATA except where a test sets it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FASTNN_DATA", raising=False)


REAL_DATA = os.environ.get("FASTNN_DATA")


@pytest.fixture
def real_data() -> Path:
    """The directory of real data sets that FASTNN_DATA names."""
    if not REAL_DATA:
        pytest.skip("FASTNN_DATA is not set")
    return Path(REAL_DATA)


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a CIFAR-10 batch have 20 images; returns that number."""
    monkeypatch.setattr(_cifar, "IMAGES", 20)
    return 20


class Server:
    """Serves `files`: path -> (status, body, Content-Length or None to leave it out)."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[int, bytes, int | None]] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                status, body, length = outer.files.get(self.path, (404, b"no such file", 12))
                self.send_response(status)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                with suppress(ConnectionError):  # the client may have heard enough
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def put(self, path: str, body: bytes, status: int = 200, length: int | None = -1) -> None:
        """Serve `body` at `path`; by default with its true length."""
        self.files[path] = (status, body, len(body) if length == -1 else length)

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()
