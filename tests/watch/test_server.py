"""The server: what it answers, to whom, and how it ends."""

import http.client
import json
import socket
import threading
import time

import pytest
from logs import HEADER, observation, trained

from fastnn.watch import serve, server


@pytest.fixture(autouse=True)
def short_farewell(monkeypatch):
    monkeypatch.setattr(server, "_FAREWELL", 0.5)


@pytest.fixture
def page(tmp_path):
    (tmp_path / "log").write_bytes(HEADER + observation(0) + observation(1))
    with serve(tmp_path / "log") as page:
        yield page


def get(page, path, method="GET", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
    try:
        connection.request(method, path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def log(page, query=""):
    status, headers, body = get(page, "/log" + query)
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    return json.loads(body)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")],
)
def test_the_page_needs_nothing_from_elsewhere(page, path, kind):
    status, headers, body = get(page, path)
    assert status == 200 and headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    text = body.decode().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert text and "http:" not in text and "https:" not in text and "innerHTML" not in text


def test_lines_once_each_and_another_run_from_its_start(page, tmp_path):
    first = log(page)
    assert [line.get("step") for line in first["lines"]] == [None, 0, 1]
    assert (first["run"], first["next"], first["more"], first["ended"]) == (1, 3, False, False)
    assert first["last"] is None and first["skipped"] == 0
    assert log(page, "?run=1&after=3")["lines"] == []
    with open(tmp_path / "log", "ab") as file:
        file.write(observation(2))
    assert [line["step"] for line in log(page, "?run=1&after=3")["lines"]] == [2]
    assert len(log(page, "?run=5&after=3")["lines"]) == 4  # there is no run 5: all of this one
    assert log(page, "?run=1&after=999")["lines"] == []


def test_a_long_log_comes_in_parts(page, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_AT_ONCE", 5000)
    with open(tmp_path / "log", "ab") as file:
        file.write(b"".join(observation(i) for i in range(2, 400)))
    steps, after, parts, more = [], 0, 0, True
    while more:
        answer = log(page, f"?run=1&after={after}")
        steps += [line["step"] for line in answer["lines"] if "step" in line]
        after, more, parts = answer["next"], answer["more"], parts + 1
    assert steps == list(range(400)) and parts > 3


def test_of_very_many_the_newest_is_told(page, tmp_path):
    with open(tmp_path / "log", "ab") as file:
        file.write(b"".join(observation(i) for i in range(2, 1000)))
    answer = log(page)
    assert len(answer["lines"]) < 803 and answer["last"]["step"] == 999


@pytest.mark.parametrize(
    ("path", "method", "host", "status"),
    [
        ("/nothing", "GET", None, 404),
        ("/../../etc/passwd", "GET", None, 404),
        ("/page.html/", "GET", None, 404),
        ("/log?run=x", "GET", None, 400),
        ("/log?run=-1", "GET", None, 400),
        ("/log?after=" + 5000 * "9", "GET", None, 400),
        ("/", "POST", None, 405),
        ("/log", "DELETE", None, 405),
        ("/log", "GET", "evil.example", 403),
        ("/", "GET", "127.0.0.1:1", 403),
    ],
)
def test_what_is_refused(page, path, method, host, status):
    assert get(page, path, method, host)[0] == status
    assert get(page, "/", host=f"localhost:{page.port}")[0] == 200


def test_it_listens_on_this_computer_only(page):
    assert page._http.server_address[0] == "127.0.0.1"
    assert page.url == f"http://127.0.0.1:{page.port}/"


def test_a_port_in_use(page, tmp_path):
    with pytest.raises(OSError, match=f"cannot listen on port {page.port} of 127.0.0.1"):
        serve(tmp_path / "log", page.port)


@pytest.mark.parametrize(
    ("port", "error", "match"),
    [
        ("80", TypeError, "port must be an int, got str"),
        (True, TypeError, "port must be an int, got bool"),
        (70000, ValueError, "port must be from 0 to 65535, got 70000"),
    ],
)
def test_bad_arguments(tmp_path, port, error, match):
    with pytest.raises(error, match=match):
        serve(tmp_path, port)
    with pytest.raises(FileNotFoundError):
        serve(tmp_path / "missing")


def test_rubbish_on_the_wire_harms_nobody(page, capfd):
    for data in (b"\0\xff" * 50 + b"\r\n\r\n", b"GET", b"GET /log HTTP/1.1\r\nHost: "):
        with socket.create_connection(("127.0.0.1", page.port)) as wire:
            wire.sendall(data)
    assert log(page)["next"] == 3
    assert capfd.readouterr() == ("", "")  # standard error belongs to the training


def test_a_silent_client_holds_up_neither_others_nor_the_end(tmp_path):
    (tmp_path / "log").write_bytes(HEADER)
    page = serve(tmp_path / "log")
    with socket.create_connection(("127.0.0.1", page.port)):
        assert log(page)["next"] == 1
        start = time.monotonic()
        page.close()
        assert time.monotonic() - start < 5
    page.close()  # again: nothing happens


def test_a_page_that_asks_is_told_the_end(page):
    log(page)
    answers = []
    closing = threading.Thread(target=page.close)
    closing.start()
    while not (answers and answers[-1]["ended"]):
        answers.append(log(page))
    closing.join(10)
    assert not closing.is_alive() and answers[-1]["next"] == 3


def test_a_monitor_serves_what_it_collects(tmp_path):
    with trained(None, steps=3) as monitor:
        first = monitor.serve()  # afterwards: from memory
        assert [line["step"] for line in log(first)["lines"][1:]] == [0, 1, 2, 3]
        second = monitor.serve()
        with pytest.raises(OSError):
            log(first)
        assert log(second)["next"] == 5
        folder = monitor._log.path.parent
    with pytest.raises(OSError):
        log(second)
    assert not folder.exists() and len(monitor.records) == 3


def test_a_monitor_serves_its_own_run_only(tmp_path):
    trained(tmp_path / "log", steps=3).close()
    with trained(tmp_path / "log", steps=2, serve=True) as monitor:
        answer = log(monitor._server)
    assert answer["run"] == 1 and answer["next"] == 1 + 2 + 1


def test_two_monitors_at_once(tmp_path):
    with (
        trained(tmp_path / "a", steps=2, serve=True) as a,
        trained(tmp_path / "b", steps=4, serve=True) as b,
    ):
        assert a._server.port != b._server.port
        assert (log(a._server)["next"], log(b._server)["next"]) == (4, 6)
