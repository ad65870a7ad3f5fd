"""Downloads against a server on this machine: success, mirrors, and everything that goes wrong."""

import gzip
import hashlib
import io
import socket
import tarfile

import numpy as np
import pytest

from fastnn.datasets import _cifar, _download, _mnist, cifar10, fashion_mnist, mnist
from fastnn.datasets._download import extract, fetch

BODY = bytes(range(256)) * 5000
MD5 = hashlib.md5(BODY).hexdigest()


def md5(content):
    return hashlib.md5(content).hexdigest()


def files_in(directory):
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def get(server, tmp_path, *folders, digest=MD5, limit=1 << 30):
    mirrors = [f"{server.url}/{folder}/" for folder in folders or ("a",)]
    return fetch("mnist", mirrors, "file.gz", tmp_path / "new" / "folder", digest, limit)


def test_success(server, tmp_path):
    server.put("/a/file.gz", BODY)
    path = get(server, tmp_path)
    assert path.read_bytes() == BODY
    assert files_in(tmp_path) == ["new/folder/file.gz"]


def test_success_without_content_length(server, tmp_path):
    server.put("/a/file.gz", BODY, length=None)
    assert get(server, tmp_path).read_bytes() == BODY


def test_mirrors_are_tried_in_order(server, tmp_path):
    server.put("/a/file.gz", b"", status=500)
    server.put("/b/file.gz", BODY[:-1] + b"x")
    server.put("/c/file.gz", BODY)
    server.put("/d/file.gz", BODY)
    assert get(server, tmp_path, "a", "b", "c", "d").read_bytes() == BODY
    assert server.requests == ["/a/file.gz", "/b/file.gz", "/c/file.gz"]
    assert files_in(tmp_path) == ["new/folder/file.gz"]


def refused(server, tmp_path, message, **options):
    """The download fails with `message`, leaving what was there and nothing else."""
    old = tmp_path / "new" / "folder" / "file.gz"
    for before in (None, b"old"):
        if before is not None:
            old.write_bytes(before)
        with pytest.raises(OSError, match=message) as error:
            get(server, tmp_path, **options)
        assert f"mnist: could not download file.gz:\n  {server.url}/a/file.gz" in str(error.value)
        assert files_in(tmp_path) == ([] if before is None else ["new/folder/file.gz"])
    assert old.read_bytes() == b"old"


def test_404(server, tmp_path):
    refused(server, tmp_path, "HTTP 404 Not Found")


def test_truncated_body(server, tmp_path):
    server.put("/a/file.gz", BODY[:-1000], length=len(BODY))
    refused(server, tmp_path, f"expected {len(BODY)} bytes, got {len(BODY) - 1000}")


def test_truncated_body_without_content_length(server, tmp_path):
    server.put("/a/file.gz", BODY[:-1000], length=None)
    refused(server, tmp_path, f"expected MD5 {MD5}, got {md5(BODY[:-1000])}")


def test_wrong_checksum(server, tmp_path):
    server.put("/a/file.gz", b"x" + BODY[1:])
    refused(server, tmp_path, f"expected MD5 {MD5}, got {md5(b'x' + BODY[1:])}")


@pytest.mark.parametrize("length", [-1, None])
def test_too_large(server, tmp_path, length):
    server.put("/a/file.gz", BODY, length=length)
    refused(server, tmp_path, "expected at most 1000000 bytes, got", limit=1_000_000)


def test_every_mirror_is_reported(server, tmp_path):
    server.put("/b/file.gz", b"other")
    with pytest.raises(OSError, match=r"/a/file\.gz: HTTP 404(.|\n)*/b/file\.gz: expected MD5"):
        get(server, tmp_path, "a", "b")


def test_no_network(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(OSError, match=r"no connection: .*refused"):
            fetch("mnist", [url], "file.gz", tmp_path, MD5, 1 << 30)
    assert files_in(tmp_path) == []


def test_silent_server_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(_download, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(OSError, match=r"no connection: .*timed out"):
            fetch("mnist", [url], "file.gz", tmp_path, MD5, 1 << 30)
    assert files_in(tmp_path) == []


def test_interruption_leaves_nothing(server, tmp_path, monkeypatch):
    server.put("/a/file.gz", BODY)

    def interrupted(response):
        raise KeyboardInterrupt

    monkeypatch.setattr(_download, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path)
    assert files_in(tmp_path) == []


def test_bad_mirrors(tmp_path):
    with pytest.raises(ValueError, match="expected an http or https mirror, got 'file:///etc/'"):
        fetch("mnist", ["file:///etc/"], "passwd", tmp_path, MD5, 1 << 30)
    with pytest.raises(TypeError, match="mirrors must be a non-empty sequence of URLs"):
        fetch("mnist", "http://127.0.0.1/", "file.gz", tmp_path, MD5, 1 << 30)


@pytest.mark.parametrize("load", [mnist, fashion_mnist])
def test_load_downloads_what_is_missing(server, tmp_path, monkeypatch, mnist_content, load):
    name = load.__name__
    content = {k: gzip.compress(v, mtime=0) for k, v in mnist_content().items()}
    for file, body in content.items():
        server.put(f"/{file}.gz", body)
    with pytest.raises(OSError, match=rf"^{name}: could not download train-images-.*\n.*MD5"):
        load(tmp_path, download=True, mirrors=[server.url])
    assert files_in(tmp_path) == []
    monkeypatch.setitem(_mnist.MD5, name, tuple(map(md5, content.values())))
    (x_train, _), _ = load(tmp_path, download=True, mirrors=[server.url])
    assert len(x_train) == 30
    assert files_in(tmp_path) == sorted(f"{name}/{file}.gz" for file in content)
    (tmp_path / name / "t10k-labels-idx1-ubyte.gz").unlink()
    server.requests.clear()
    again = load(tmp_path, True, mirrors=[server.url])
    assert server.requests == ["/t10k-labels-idx1-ubyte.gz"]
    np.testing.assert_array_equal(again[0][0], x_train)
    server.requests.clear()
    load(tmp_path / name, True, mirrors=[server.url])
    assert server.requests == []


def tar_gz(members):
    """A .tar.gz of (name, content), or TarInfo objects for special members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def link(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


BATCHES = [f"{_cifar.BINARY}/{batch}.bin" for batch in (*_cifar.TRAIN, _cifar.TEST)]


def cifar_batches(n):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 10, (len(BATCHES), n, 3073), np.uint8)
    return [(name, row.tobytes()) for name, row in zip(BATCHES, rows, strict=True)]


def test_cifar10_download(server, tmp_path, monkeypatch, small_cifar):
    members = cifar_batches(small_cifar)
    extra = [(f"{_cifar.BINARY}/readme.html", b"hello"), ("../evil", b"x"), ("/tmp/evil", b"x")]
    archive = tar_gz(extra + members)
    server.put("/cifar-10-binary.tar.gz", archive)
    with pytest.raises(OSError, match=r"^cifar10: could not download cifar-10-binary.*\n.*MD5"):
        cifar10(tmp_path, download=True, mirrors=[server.url])
    assert files_in(tmp_path) == []
    monkeypatch.setattr(_cifar, "ARCHIVE_MD5", md5(archive))
    # A part of the set is there: it is completed.
    (tmp_path / BATCHES[0]).parent.mkdir(exist_ok=True)
    (tmp_path / BATCHES[0]).write_bytes(b"damaged")
    (x_train, _), (x_test, _) = cifar10(tmp_path, download=True, mirrors=[server.url])
    assert x_train.shape == (5 * small_cifar, 32, 32, 3) and len(x_test) == small_cifar
    assert files_in(tmp_path) == sorted(BATCHES)
    server.requests.clear()
    cifar10(tmp_path, download=True, mirrors=[server.url])
    assert server.requests == []


@pytest.mark.parametrize("cut", [0, 10, 1000, 100_000, -1, -8, -600])
def test_damaged_archive(tmp_path, cut):
    rng = np.random.default_rng(0)
    content = rng.bytes(200_000)
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_gz([("d/f", content)])[:cut])
    with pytest.raises(ValueError, match=r"a\.tar\.gz: expected"):
        extract(archive, tmp_path / "out", {"d/f": len(content), "d/g": 1})
    assert files_in(tmp_path / "out") in ([], ["f"])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("d/f", b"12345")], "expected d/f to be a file of 4 bytes, got 5 bytes"),
        ([link("d/f", "/etc/passwd")], "expected d/f to be a file of 4 bytes, got something else"),
        ([("f", b"1234"), ("./d/f", b"1234")], "expected it to contain d/f"),
        ([link("d", "/tmp"), ("../d/f", b"1234")], "expected it to contain d/f"),
    ],
)
def test_archive_with_wrong_members(tmp_path, members, message):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_gz(members))
    with pytest.raises(ValueError, match=message):
        extract(archive, tmp_path / "out", {"d/f": 4})
    assert files_in(tmp_path) == ["a.tar.gz"]


def test_a_link_in_the_archive_is_not_followed(tmp_path):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_gz([link("d", str(tmp_path)), ("d/f", b"1234")]))
    extract(archive, tmp_path / "out", {"d/f": 4})
    assert files_in(tmp_path) == ["a.tar.gz", "out/f"]
