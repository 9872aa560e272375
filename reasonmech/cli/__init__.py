"""The command `reasonmech`: `app` holds the verbs of the main path, `organisms` those of the zoo."""

from reasonmech.cli.app import app, main

__all__ = ["app", "main"]
