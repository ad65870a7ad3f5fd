"""Downloads of official data files: mirrors, size limit, checksum, atomic replacement.

A file takes its place only when it is whole and its MD5 is the published one; until then it is
a temporary file beside it, removed whatever happens.
"""

import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

TIMEOUT = 30.0
CHUNK = 1 << 18


class _MirrorError(Exception):
    """One mirror failed; the next may not."""


def fetch(
    name: str, mirrors: Sequence[str], file: str, directory: Path, md5: str, max_bytes: int
) -> Path:
    """Download `file` into `directory` from the first of `mirrors` that has it intact.

    Parameters
    ----------
    name : str
        The data set, for messages.
    mirrors : sequence of str
        Base URLs (http or https), tried in order.
    file : str
        Name of the file at the mirror and in `directory`, which is made if need be.
    md5 : str
        Published MD5 of the file, in hexadecimal.
    max_bytes : int
        A longer file is refused.

    Raises
    ------
    OSError
        No mirror had the file whole and with that MD5 (the message lists what each one did),
        or the file cannot be written.
    """
    if isinstance(mirrors, str) or not mirrors:
        raise TypeError(f"{name}: mirrors must be a non-empty sequence of URLs, got {mirrors!r}")
    for base in mirrors:
        if not base.startswith(("http://", "https://")):
            raise ValueError(f"{name}: expected an http or https mirror, got {base!r}")
    directory.mkdir(parents=True, exist_ok=True)
    failures = []
    for base in mirrors:
        url = f"{base.rstrip('/')}/{file}"
        try:
            with _replacing(directory / file) as out:
                _copy(url, out, md5, max_bytes)
            return directory / file
        except _MirrorError as error:
            failures.append(f"\n  {url}: {error}")
    raise OSError(f"{name}: could not download {file}:{''.join(failures)}")


def fetch_archive(
    name: str,
    mirrors: Sequence[str],
    file: str,
    directory: Path,
    md5: str,
    max_bytes: int,
    members: Mapping[str, int],
) -> None:
    """Download the .tar.gz `file` and put `members` (name in the archive: size) in `directory`.

    The archive itself is not kept. Errors are those of `fetch`, and ValueError if the archive
    does not hold the members as regular files of these sizes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=directory) as scratch:
        archive = fetch(name, mirrors, file, Path(scratch), md5, max_bytes)
        extract(archive, Path(scratch) / "unpacked", members)
        for member in members:
            base = Path(member).name
            os.replace(Path(scratch) / "unpacked" / base, directory / base)


def extract(archive: Path, directory: Path, members: Mapping[str, int]) -> None:
    """Unpack exactly `members` of a .tar.gz into `directory`, by their base names.

    Nothing else in the archive is looked at, and no path of the archive is ever used as one.

    Raises
    ------
    ValueError
        Damaged archive; a member that is missing, not a regular file, or of another size.
    """
    directory.mkdir()
    missing = dict(members)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for info in tar:
                size = missing.pop(info.name, None)
                if size is None:
                    continue
                source = tar.extractfile(info) if info.isreg() else None
                if source is None or info.size != size:
                    kind = f"{info.size} bytes" if info.isreg() else "something else"
                    raise ValueError(
                        f"{archive.name}: expected {info.name} to be a file of {size} bytes, "
                        f"got {kind}"
                    )
                with source, _replacing(directory / Path(info.name).name) as out:
                    shutil.copyfileobj(source, out, CHUNK)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive.name}: expected a whole .tar.gz, got {error}") from error
    if missing:
        raise ValueError(f"{archive.name}: expected it to contain {', '.join(missing)}")


def _copy(url: str, out: IO[bytes], md5: str, max_bytes: int) -> None:
    """Copy what is at `url` to `out`; raise _MirrorError unless all of it came, with this MD5."""
    from tqdm import tqdm

    digest = hashlib.md5(usedforsecurity=False)
    with _open(url) as response:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        if total is not None and total > max_bytes:
            raise _MirrorError(f"expected at most {max_bytes} bytes, got {total}")
        title = url.rpartition("/")[2]
        # disable=None: no bar where the output is not a terminal
        with tqdm(total=total, unit="B", unit_scale=True, desc=title, disable=None) as bar:
            received = 0
            while chunk := _read(response):
                received += len(chunk)
                if received > max_bytes:
                    raise _MirrorError(f"expected at most {max_bytes} bytes, got more")
                out.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    if total is not None and received != total:
        raise _MirrorError(f"expected {total} bytes, got {received} (connection closed early)")
    if digest.hexdigest() != md5:
        raise _MirrorError(f"expected MD5 {md5}, got {digest.hexdigest()}")


def _open(url: str) -> HTTPResponse:
    try:
        request = Request(url, headers={"User-Agent": "fastnn"})
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
        return response
    except HTTPError as error:
        with error:
            raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
    except URLError as error:
        raise _MirrorError(f"no connection: {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _MirrorError(f"no connection: {error!r}") from error


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _MirrorError(f"connection lost: {error!r}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside `path` that becomes `path` if the block succeeds."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private; data sets are shared
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
