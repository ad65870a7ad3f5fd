# SPDX-License-Identifier: BSD-3-Clause
"""A small HTTP server on 127.0.0.1: the page, and what the log has after some line.

GET / gives the page, /page.css and /page.js what belongs to it, and /log?run=R&after=N gives
{"run", "lines": [...], "last", "next", "more", "skipped", "age", "ended"}: the lines after the
first N of run R, or all of another run if R has been followed by one, and the newest observation if
it is not among them (of many, lines are a selection). There is nothing else.
"""

from __future__ import annotations

import operator
import os
import threading
import time
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from .follow import Follower

__all__ = ["Server", "serve"]

ADDRESS = "127.0.0.1"
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_AT_ONCE = 2_000_000  # bytes of lines in one answer
_RECENT, _FAREWELL = 3.0, 2.0  # seconds: since a page asked, and to let it have the end


class Server:
    """Serves the page of a log until it is closed; what `serve` returns.

    Attributes
    ----------
    url : str
        The page's address.
    port : int
    """

    def __init__(self, log: str | os.PathLike[str], port: int = 0, start: int = 0) -> None:
        port = _checked(port)
        self._follower, self._lock = Follower(log, start), threading.Lock()
        self._asked = -_RECENT  # when a page asked for the last time
        self._ended, self._told = False, threading.Event()
        try:
            self._http = _Http((ADDRESS, port), _Handler)
        except OSError as error:
            raise OSError(
                error.errno,
                f"watch: cannot listen on port {port} of {ADDRESS} ({error.strerror}); "
                "take another one, or 0 for any that is free",
            ) from None
        self._http.owner = self
        self.port = int(self._http.server_address[1])
        self.url = f"http://{ADDRESS}:{self.port}/"
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.1,), name="fastnn-watch", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends the server; a page that is open gets the last lines first."""
        if not self._thread.is_alive():
            return
        self._ended = True
        if time.monotonic() - self._asked < _RECENT:
            self._told.wait(_FAREWELL)
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def answer(self, run: int, after: int) -> bytes:
        """What /log answers."""
        self._asked = time.monotonic()
        with self._lock:
            log, ended = self._follower, self._ended
            log.update()
            if run != log.run:
                after = 0
            end, size = after, 0
            while end < len(log.lines) and size < _AT_ONCE:
                size += len(log.lines[end])
                end += 1
            more = end < len(log.lines)
            try:
                age = max(0.0, time.time() - log.path.stat().st_mtime)
            except OSError:
                age = 0.0
            head = (
                f'{{"run":{log.run},"next":{end},"more":{str(more).lower()},"age":{age:.1f},'
                f'"skipped":{log.skipped},"ended":{str(ended and not more).lower()},"last":'
            )
            lines = b",".join(log.lines[after:end])
            body = head.encode() + (log.last or b"null") + b',"lines":[' + lines + b"]}"
        if ended and not more:
            self._told.set()
        return body


def serve(log: str | os.PathLike[str], port: int = 0) -> Server:
    """Shows a Monitor's log on a page of the browser, at the `url` of the Server that is returned.

    The page follows the log while it grows. The server runs in a thread of its own, which ends
    with the process.

    Parameters
    ----------
    log : str or path
    port : int
        0: any that is free.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the port is in use, or not allowed.
    TypeError, ValueError
        If `port` is not an integer from 0 to 65535.
    """
    return Server(log, port)


class _Http(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    owner: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error of the training."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    server_version, sys_version = "fastnn", ""
    timeout = 10

    def do_GET(self) -> None:
        port = self.server.owner.port
        hosts = {f"{name}:{port}" for name in (ADDRESS, "localhost")}
        if port == 80:
            hosts |= {ADDRESS, "localhost"}
        # Another name for 127.0.0.1 is how a foreign page would read this one (DNS rebinding).
        if self.headers.get("Host", "").lower() not in hosts:
            return self._send(403, "text/plain", b"wrong Host\n")
        url = urlsplit(self.path)
        if url.path == "/log":
            return self._log(url.query)
        if url.path not in _FILES:
            return self._send(404, "text/plain", b"not found\n")
        name, kind = _FILES[url.path]
        self._send(200, kind, files("fastnn.watch").joinpath(name).read_bytes())

    def _log(self, query: str) -> None:
        try:
            fields = parse_qs(query, strict_parsing=True) if query else {}
            run, after = (int(fields.get(name, ["0"])[-1]) for name in ("run", "after"))
            if min(run, after) < 0:
                raise ValueError
        except ValueError:
            return self._send(400, "text/plain", b"run and after must be numbers\n")
        self._send(200, "application/json", self.server.owner.answer(run, after))

    def _refuse(self) -> None:
        self._send(405, "text/plain", b"only GET\n", {"Allow": "GET"})

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _send(
        self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (_HEADERS | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silence: stderr belongs to the progress bar."""


def _checked(port: Any) -> int:
    try:
        if isinstance(port, bool):
            raise TypeError
        number = operator.index(port)
    except TypeError:
        raise TypeError(f"watch: port must be an int, got {type(port).__name__}") from None
    if not 0 <= number <= 65535:
        raise ValueError(f"watch: port must be from 0 to 65535, got {number}")
    return number
