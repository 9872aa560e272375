"""`reasonmech doctor`: what is installed, and what is known to break."""

from __future__ import annotations

import typer

from reasonmech.cli.console import make_console


def doctor() -> None:
    """Name the versions in this environment, and combinations that are known to break."""
    from reasonmech.doctor import diagnose

    diagnosis = diagnose()
    make_console().print(diagnosis.table())
    raise typer.Exit(0 if diagnosis.healthy else 1)
