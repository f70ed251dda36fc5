"""`python -m hardware.keys`: make the CURVE keys of machines of a testbed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a key pair per name and say where each half belongs."""
    options = _parser().parse_args(arguments)
    from hardware.transport.credentials import make_key_files  # noqa: PLC0415 - imports zmq, not needed for --help

    for name in options.name:
        public, secret = make_key_files(name, options.out)
        sys.stdout.write(f"{public}: public; copy it to the folder of allowed keys of every machine\n")
        sys.stdout.write(f"{secret}: secret; keep it on {name} only\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hardware.keys", description="Make the CURVE keys of machines of a testbed."
    )
    parser.add_argument("name", nargs="+", help="name of a machine, as in the inventory, or `coordinator`")
    parser.add_argument("--out", type=Path, default=Path("keys"), help="folder for the files (default: keys)")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
