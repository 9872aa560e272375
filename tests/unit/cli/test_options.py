"""Options that belong together: one dataclass in the verb, one option per field on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import getdoc, signature
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from reasonmech.cli.app import VERBS
from reasonmech.cli.options import grouped


@dataclass(frozen=True)
class Amount:
    dose: Annotated[float, typer.Option(help="how much")] = 1.0
    unit: Annotated[str, typer.Option("--in", help="of what")] = "nats"


def calls_of(*arguments: str) -> list[tuple[str, Amount, bool]]:
    """What a verb with grouped options is called with; an exit code but 0 fails."""
    calls: list[tuple[str, Amount, bool]] = []

    def push(name: Annotated[str, typer.Argument()], amount: Amount, quiet: bool = False) -> None:
        """Push."""
        calls.append((name, amount, quiet))

    app = typer.Typer()
    app.command()(grouped(push))
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 0, result.output
    return calls


@pytest.mark.parametrize(
    ("options", "amount", "quiet"),
    [
        ((), Amount(), False),
        (("--dose", "4", "--in", "tokens"), Amount(4.0, "tokens"), False),
        (("--quiet", "--dose", "2"), Amount(2.0), True),
    ],
)
def test_each_field_is_an_option(options: tuple[str, ...], amount: Amount, quiet: bool) -> None:
    assert calls_of("here", *options) == [("here", amount, quiet)]


def test_fields_are_explained_in_the_help() -> None:
    def push(amount: Amount) -> None:
        """Push."""

    app = typer.Typer()
    app.command()(grouped(push))
    text = CliRunner().invoke(app, ["--help"]).output
    assert "--dose" in text and "--in" in text and "how much" in text and "--amount" not in text


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_help_and_at_most_six_parameters(name: str) -> None:
    assert getdoc(VERBS[name])
    assert len(signature(VERBS[name]).parameters) <= 6
