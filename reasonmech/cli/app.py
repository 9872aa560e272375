"""The command `reasonmech`: the table of its verbs, with errors a person can act on.

To add a verb, write a function in a module of this package (see `pairs.py`) and give it a row in `VERBS`.
Its docstring is the help text, its annotated parameters are the arguments and options. Import what is heavy
inside the function: `reasonmech --help` must answer at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Final

import typer

from reasonmech.cli.check import check
from reasonmech.cli.console import complain, plain_warnings
from reasonmech.cli.doctor import doctor
from reasonmech.cli.evaluate import evaluate
from reasonmech.cli.hybrid import hybrid
from reasonmech.cli.judge import judge
from reasonmech.cli.options import grouped
from reasonmech.cli.organisms import organisms_app
from reasonmech.cli.pairs import pairs
from reasonmech.cli.runs import demo, run_experiment, show
from reasonmech.cli.steer import steer
from reasonmech.cli.train_coder import train_coder
from reasonmech.cli.validate import validate
from reasonmech.cli.validate_features import validate_features
from reasonmech.errors import ReasonmechError

VERBS: Final[Mapping[str, Callable[..., None]]] = {
    "judge": judge,
    "evaluate": evaluate,
    "demo": demo,
    "run": run_experiment,
    "hybrid": hybrid,
    "check": check,
    "show": show,
    "pairs": pairs,
    "train-coder": train_coder,
    "steer": steer,
    "validate": validate,
    "validate-features": validate_features,
    "doctor": doctor,
}
MISTAKE: Final = 2  # exit code of what a caller can mend, as click has it for options
INTERRUPTED: Final = 130  # exit code that typer gives Ctrl-C

app = typer.Typer(
    name="reasonmech",
    help="Which reasoning features a base model already carries, and what firing them at the right moment "
    "does.",
    epilog="Ends with 0; with 1 where what was checked is not as it should be (doctor, organisms verify, "
    "an invalid judgement); with 2 for a mistake that its message explains; with 3 where a run ended and "
    "lacks something that it was asked for; with 130 after Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for name, verb in VERBS.items():
    app.command(name)(grouped(verb))
app.add_typer(organisms_app, name="organisms")


def main() -> None:
    """Run the command; a caller's mistake ends it with code 2 and a message, Ctrl-C with 130."""
    try:
        with plain_warnings():
            app()
    except (ReasonmechError, OSError, MemoryError) as error:  # of the system: a path that was given
        complain(f"{type(error).__name__}: {error}")
        raise SystemExit(MISTAKE) from None
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        # another Ctrl-C may come while this one is being answered: it changes nothing
        earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
        complain("interrupted: what was finished is kept, and the same command resumes there")
        signal.signal(signal.SIGINT, earlier)
        raise SystemExit(INTERRUPTED) from None
