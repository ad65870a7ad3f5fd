# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastnn``: one subcommand a module, each with add_arguments(parser) and run(args).

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..bench import cli as bench
from . import demo, info, lab, search, train, watch

__all__ = ["main"]

_COMMANDS = {
    "demo": (demo, "train one network with ReLU and with sigmoid, and compare their cost"),
    "train": (train, "train a model on images, evaluate it, save it"),
    "watch": (watch, "show the log of a training in the browser, also while it runs"),
    "search": (search, "search for hyperparameters of a training"),
    "bench": (bench, "measure fastnn against NumPy and other libraries"),
    "lab": (lab, "repeat what is taught about training networks, as experiments"),
    "info": (info, "print version, CPU target, threads and build"),
}
_EPILOG = """examples:
  fastnn demo
  fastnn train --data mnist_small --epochs 5 --save lenet5.safetensors
  fastnn train --watch
  fastnn search --data mnist_small --model mlp --trials 20
  fastnn bench --quick
  fastnn lab run --all --quick
  fastnn info
'fastnn COMMAND --help' tells more. FASTNN_DEBUG=1 shows the traceback of an error.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``fastnn`` with these arguments (default: the process's) and return its exit code."""
    args = _parser().parse_args(argv)
    debug = os.environ.get("FASTNN_DEBUG", "0") not in ("", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            code = int(args.run(args))
            sys.stdout.flush()
            return code
        except KeyboardInterrupt:
            print("fastnn: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of our output has gone, as in `fastnn info | head -1`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            if debug:
                raise
            print(f"fastnn: error: {_one_line(error)}", file=sys.stderr)
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnn", description="A fast, small, reproducible CPU deep-learning core.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _one_line(error: Exception) -> str:
    """The message; with the error's type where it is none that is meant for the user."""
    text = " ".join(str(error).split())
    meant = OSError | ValueError | TypeError | ArithmeticError | ImportError | MemoryError
    if isinstance(error, meant) and not isinstance(error, UnicodeError) and text:
        return text
    return f"{type(error).__name__}: {text} (FASTNN_DEBUG=1 shows the traceback)"


def _show_warning(message: Any, *args: Any, **kwargs: Any) -> None:
    print(f"fastnn: warning: {' '.join(str(message).split())}", file=sys.stderr)
