# SPDX-License-Identifier: BSD-3-Clause
"""``fastnn watch``: show the log of a training in the browser, or give it to TensorBoard."""

from __future__ import annotations

import argparse
import threading

from ._common import port

_EPILOG = """examples:
  fastnn train --watch                          watch while it trains
  fastnn watch fastnn-train.jsonl               look at it again; follows while it grows
  fastnn watch run.jsonl --tensorboard runs/1   event files, for: tensorboard --logdir runs

The page comes from 127.0.0.1 and can be seen on this computer only. Ctrl-C ends.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``fastnn watch``."""
    parser.description = "Show what a Monitor logged: curves, layers, histograms, advice."
    parser.epilog = _EPILOG
    parser.add_argument("log", metavar="LOG", help="a file that fastnn train or a Monitor writes")
    parser.add_argument(
        "--port", type=port, metavar="PORT", default=0, help="of the page (default: any free one)"
    )
    parser.add_argument(
        "--tensorboard", metavar="DIR", help="write event files to DIR instead (needs tensorboardX)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or write event files."""
    from .. import watch
    from ..diagnostics import read_log

    if args.tensorboard is not None:
        watch.write_tensorboard(read_log(args.log), args.tensorboard)
        print(f"wrote {args.tensorboard}")
        return 0
    with watch.serve(args.log, args.port) as server:
        print(f"watch at {server.url} (Ctrl-C ends)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return 0
