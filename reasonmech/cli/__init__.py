"""The command `reasonmech`: `app` is the table of its verbs, whose functions are in the other modules."""

from reasonmech.cli.app import app, main

__all__ = ["app", "main"]
