"""The command `flext-plugins`; needs the extra `cli`."""

from __future__ import annotations

import sys

__all__ = ["main"]

NEEDED = {"typer", "rich"}
ADVICE = "the command needs the extra `cli` of flext-plugins"


def main() -> None:
    """Run the command, or say what to install."""
    try:
        from flext_plugins.cli._commands import run  # noqa: PLC0415 - so that a missing extra is told in one line
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        sys.exit(ADVICE)
    run()
