"""What every command line does with an error that the user can mend."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from twin.errors import TwinError

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_INPUT = 2
"""Exit status of a command that was given something it cannot use."""

INTERRUPTED = 130
"""Exit status of a command that was stopped from the keyboard (128 + SIGINT)."""


def guarded(main: Callable[[], int]) -> int:
    """Run a command and turn a `TwinError` into one message instead of a traceback.

    Args:
        main: The command; returns its exit status.

    Returns:
        The exit status of `main`, 2 after a `TwinError` (its message goes to stderr), or 130 after an
        interrupt from the keyboard.
    """
    try:
        return main()
    except TwinError as error:
        sys.stderr.write(f"error: {error}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
