"""The sdist and the wheel of this tree, built once, and fresh virtual environments."""

import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command, env=None, cwd=None, timeout=600):
    """The output of a command that must succeed; `env` is added to the environment."""
    result = subprocess.run(
        [str(part) for part in command],
        capture_output=True, text=True, cwd=cwd or tempfile.gettempdir(), timeout=timeout,
        env=environment(env), stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


def environment(changes=None):
    """This process's environment without what would reach the tested package, plus changes."""
    drop = ("FASTNN_", "PYTHONPATH", "OMP_NUM_THREADS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return {**env, **(changes or {})}


@functools.cache
def dist():
    """(sdist, wheel): those in the directory that FASTNN_DIST names, or built now."""
    folder = os.environ.get("FASTNN_DIST")
    if folder is None:
        folder = tempfile.mkdtemp(prefix="fastnn-dist-")
        import atexit

        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        # From a copy: a build writes into its source tree.
        source = Path(folder) / "source"
        ignore = shutil.ignore_patterns(
            ".git", "build", "dist", ".venv*", "*.so", ".*_cache", "*.egg-info"
        )
        shutil.copytree(ROOT, source, ignore=ignore)
        run(sys.executable, "-m", "build", "--outdir", folder, source)
    (sdist,) = Path(folder).glob("*.tar.gz")
    (wheel,) = Path(folder).glob("*.whl")
    return sdist, wheel


def unpack(sdist, folder):
    """The source tree in an sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = Path(folder).iterdir()
    return tree


def fresh_environment(folder, *requirements, env=None):
    """The python of a new virtual environment with these installed."""
    venv.create(folder, with_pip=True)
    python = Path(folder) / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", *requirements, env=env)
    return python
