"""Before and after: one prompt continued with and without an intervention, coloured where the two part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from reasonmech.coders import load_coder
from reasonmech.errors import ConfigError
from reasonmech.hosts import Host
from reasonmech.interventions import Direction, Features, Intervention, generated, prompt, steer
from reasonmech.interventions.reading import load_tensor
from reasonmech.organisms import load_host
from reasonmech.problem import ProblemSet
from reasonmech.receipt import ReceiptLine
from reasonmech.rollout import Rollout
from reasonmech.runtime import Decode, HostDecoder, generate


@dataclass(frozen=True)
class Push:
    """What the command line says about an intervention: features of a coder, or a vector at a site.

    Attributes:
        amount: added at every generated token, and at the last token of the prompt; activation units of a
            feature, or residual-norm units along the vector.
    """

    coder: str | None
    features: str
    vector: Path | None
    site: str
    amount: float

    def intervention(self, host: Host) -> Intervention:
        """Raises ConfigError when it names neither features of a coder nor a vector with its site."""
        where = prompt(start=-1) | generated()
        if self.coder is not None and self.features and self.vector is None:
            return steer(
                Features(load_coder(self.coder, host=host), self._indices()), self.amount, where=where
            )
        if self.vector is not None and self.site and self.coder is None:
            return steer(load_direction(self.vector, self.site), self.amount, where=where)
        raise ConfigError(
            "nothing to steer with",
            allowed="--coder with --features, or --vector with --site",
            do="reasonmech steer MODEL PROMPT --coder DIR --features 14,53 --amount 8",
        )

    def _indices(self) -> tuple[int, ...]:
        parts = [part.strip() for part in self.features.split(",") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            raise ConfigError(
                f"features {self.features!r} are no numbers", allowed="comma-separated indices: 14,53"
            )
        return tuple(map(int, parts))


def load_direction(path: Path, site: str) -> Direction:
    """The one vector of a safetensors file, scaled to unit norm, as a direction at `site`.

    Raises:
        CorruptFileError: the file is damaged. DataError: it holds several tensors. BindError: or one that
            is no vector.
    """
    return Direction.along(load_tensor(path).float(), site, name=path.stem)


def side_by_side(model: str, text: str, push: Push, *, tokens: int) -> Group:
    """Both continuations of a text and the receipt, greedy, as rich renderables."""
    host = load_host(model)
    return compare(host, [text], [push.intervention(host)], decode=Decode(max_new_tokens=tokens))


def compare(
    host: Host,
    problems: ProblemSet | Sequence[str],
    plan: Sequence[Intervention],
    *,
    decode: Decode,
    partner: Host | None = None,
) -> Group:
    """What a host writes without a plan and under it, prompt by prompt, and the receipt, as rich renderables.

    Args:
        partner: the other model of a pair, for gates that read it.
    """
    untouched = generate(host, problems, decode=decode, progress=False)
    decoder = HostDecoder.of(host, plan, partner=partner)
    steered = generate(decoder, problems, decode=decode, progress=False, receipt="full")
    receipt = steered.receipt
    assert receipt is not None, "a run under a plan has one"
    rows = [_row(host, *pair) for pair in zip(untouched, steered, strict=True)]
    return Group(*rows, *(_receipt_line(line, receipt.kl) for line in receipt.lines))


def _row(host: Host, untouched: Rollout, steered: Rollout) -> Group:
    """A prompt, and under it what was written without the plan and with it."""
    table = Table("untouched", "steered", header_style="bold", expand=True, show_lines=True)
    table.add_row(*_coloured(host, untouched, steered))
    return Group(Text(steered.problem.prompt, style="dim"), table)


def _receipt_line(line: ReceiptLine, kl: float | None) -> Text:
    """The receipt of one intervention as a line of text."""
    return Text(
        f"{line.verb} at {line.site}, {line.where}: changed at {line.n_changed} of {line.n_tokens} tokens, "
        f"mean change {line.mean_relative:.1%} of the stream, KL {kl:.3g} nats per token",
        style="dim",
    )


def _coloured(host: Host, untouched: Rollout, steered: Rollout) -> tuple[Text, Text]:
    """Words in common plain; from the first that differs on, red without the plan and green with it."""
    pairs = zip(untouched.ids, steered.ids, strict=False)
    shortest = min(len(untouched.ids), len(steered.ids))
    shared = next((i for i, (a, b) in enumerate(pairs) if a != b), shortest)
    return _two_tone(host, untouched.ids, shared, "red"), _two_tone(host, steered.ids, shared, "green")


def _two_tone(host: Host, ids: Sequence[int], shared: int, colour: str) -> Text:
    text = host.decode(list(ids))
    # a character that is spread over tokens on both sides is of what differs
    pairs = zip(text, host.decode(list(ids[:shared])), strict=False)
    common = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return Text.assemble(common, (text.removeprefix(common), colour))
