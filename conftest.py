"""Tests and benchmarks are of the installed package, also under `python -m pytest`.

Either puts the source tree on the path; without compiled kernels it cannot be imported.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if not any((ROOT / "fastnn" / f"_core{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT]
