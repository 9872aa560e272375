"""Receipt: what a plan really did in a run, so that silence is never taken for "no effect"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, final
from weakref import WeakKeyDictionary

import pandas as pd
import torch

from reasonmech.errors import NeverFiredError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Whole
from reasonmech.interventions.bind import Bound, bind
from reasonmech.interventions.fwd_hooks import check_masked
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.verbs import steer
from reasonmech.runtime.decoding.decoder import Decoder
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import RowLogits, full_logits, run_passes
from reasonmech.runtime.receipt.replay import replay
from reasonmech.runtime.receipt.tally import Tally
from reasonmech.site import Site
from reasonmech.step import CausalLabeller, Step

ReceiptMode = Literal["sample", "full", "none"]
SAMPLE_ROWS: Final = 16
MAX_LOGITS: Final = 2**26  # numbers held for one pass of a replay
_parity: WeakKeyDictionary[Host, float] = WeakKeyDictionary()  # measured once per host and process


@final
@dataclass(frozen=True)
class Line:
    """One intervention of a plan in one run; counts are tokens (see `interventions.tally.Effect`)."""

    fingerprint: str
    verb: str
    site: str
    where: str
    n_tokens: int
    n_masked: int
    n_fired: int
    mean_relative: float | None
    max_relative: float | None
    reread: float | None


@final
@dataclass(frozen=True)
class Receipt:
    """What a plan did.

    Attributes:
        lines: one per intervention, in the order of the plan.
        kl: mean over the tokens chosen in the replayed rows of KL(edited || clean) of the next-token
            distribution, teacher-forced on the run's own text, in nats per token; None when it was not
            measured.
        n_kl_rows, n_kl_tokens: how much was replayed.
        noop_parity: largest difference of logits between the hooked model under an identity edit and plain
            Hugging Face; 0 unless something is broken. Measured once per host; None when it was not.
    """

    lines: tuple[Line, ...]
    kl: float | None = None
    n_kl_rows: int = 0
    n_kl_tokens: int = 0
    noop_parity: float | None = None

    def table(self) -> pd.DataFrame:
        """One row per intervention; NaN where a number was not measured."""
        numbers = {"mean_relative": "float64", "max_relative": "float64", "reread": "float64"}
        return pd.DataFrame([asdict(line) for line in self.lines], columns=list(Line.__annotations__)).astype(
            numbers
        )

    def to_json(self) -> dict[str, object]:
        """JSON values only."""
        return asdict(self)

    def _repr_html_(self) -> str:
        return self.table().to_html()


def make_receipt(
    bound: Bound,
    tally: Tally,
    texts: Sequence[PassRow],
    *,
    mode: ReceiptMode,
    batch_size: int = 64,
    decoder: Decoder | None = None,
) -> Receipt:
    """Put together what was counted, and replay some rows for the KL.

    Args:
        texts: the run's own rows, answers included.
        mode: "sample" replays 16 rows at most, evenly spread; "full" all; "none" none.
        decoder: the host under the plan, for a plan whose gates exist only while decoding: rows are then
            decoded again with their own tokens. None: teacher-forced passes.
    """
    lines = tuple(
        Line(
            fingerprint=given.fingerprint,
            verb=given.verb,
            site=str(given.site),
            where=str(given.where),
            **effect._asdict(),
        )
        for given, effect in zip(bound.given, tally.effects(), strict=True)
    )
    if mode == "none" or not lines:
        return Receipt(lines)
    rows = range(len(texts)) if mode == "full" else _spread(len(texts))
    kl, n_tokens = replay_kl(bound, texts, rows, batch_size=batch_size, decoder=decoder)
    return Receipt(
        lines, kl=kl, n_kl_rows=len(rows), n_kl_tokens=n_tokens, noop_parity=noop_parity(bound.host)
    )


def check_receipt(bound: Bound, receipt: Receipt, *, result: object) -> None:
    """Raise NeverFiredError, the result attached, when a mask matched nothing or a required count was
    missed."""
    check_masked(bound.given, [line.n_masked for line in receipt.lines], result=result)
    for given, line in zip(bound.given, receipt.lines, strict=True):
        if line.n_fired < given.require_fired:
            raise NeverFiredError(
                f"{given.verb} at {given.site} fired at {line.n_fired} of {line.n_masked} masked tokens",
                allowed=f"at least {given.require_fired} (require_fired)",
                do="look at the gate's threshold; what was computed is on the error's .result",
                result=result,
            )


def replay_kl(
    bound: Bound,
    texts: Sequence[PassRow],
    rows: Sequence[int],
    *,
    batch_size: int,
    decoder: Decoder | None = None,
) -> tuple[float | None, int]:
    """KL(edited || clean) in nats per chosen token of some rows, and the number of tokens; None when there is
    none.

    Rows keep their number in the run, which a source of `patch` is aligned with. Of a text that is all prompt
    every position counts; of a rollout those that chose its tokens.
    """
    longest = max((len(texts[row].ids) for row in rows), default=1)
    together = max(1, min(batch_size, MAX_LOGITS // (longest * bound.host.vocab_size)))
    total, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(rows), together):
            numbers = rows[start : start + together]
            some = [texts[row] for row in numbers]
            clean = {
                row: x[_choosing(some[row])] for row, x in run_passes(bound.host, some, batch_size=together)
            }
            for row, logits in _edited(bound, some, numbers, batch_size=together, decoder=decoder):
                p, q = (x.float().log_softmax(-1) for x in (logits, clean.pop(row)))
                total += float((p.exp() * (p - q)).sum())
                count += len(p)
    return (total / count if count else None), count


def _edited(
    bound: Bound,
    texts: Sequence[PassRow],
    numbers: Sequence[int],
    *,
    batch_size: int,
    decoder: Decoder | None,
) -> Iterator[RowLogits]:
    """Edited logits of the positions that chose the answers' tokens."""
    if decoder is not None:
        yield from (RowLogits(row, logits) for row, logits in enumerate(replay(decoder, texts, numbers)))
        return
    for row, logits in run_passes(
        bound.host, texts, hooks=Hooks(bound), numbers=numbers, batch_size=batch_size
    ):
        yield RowLogits(row, logits[_choosing(texts[row])])


def _choosing(text: PassRow) -> slice:
    """Positions whose logits chose the answer's tokens."""
    return (
        slice(None)
        if text.prompt_length == len(text.ids)
        else slice(text.prompt_length - 1, len(text.ids) - 1)
    )


def noop_parity(host: Host) -> float:
    """Largest |difference| of logits, hooked with an identity edit against plain Hugging Face, on fixed
    tokens."""
    if host not in _parity:
        ids = torch.arange(16).remainder(host.vocab_size)[None]
        identity = steer(Whole(Site("resid_post", host.n_layers // 2)), torch.zeros(host.d_model))
        step = Step.of(ids)
        with torch.no_grad():
            plain = host.model(ids.to(host.device), use_cache=False).logits
            with Hooks(bind([identity], host)) as hooks:
                hooks.begin(step)
                ours = full_logits(host, step)
        _parity[host] = float((ours.float() - plain.float()).abs().max())
    return _parity[host]


def label_text(text: PassRow, labellers: Mapping[str, CausalLabeller]) -> PassRow:
    """The same text with the positions that causal labellers mark in it."""
    labels = {
        name: frozenset(i for i, mark in enumerate(labeller(text.ids, text.prompt_length)) if mark)
        for name, labeller in labellers.items()
    }
    return PassRow(text.ids, text.prompt_length, text.name, labels)


def _spread(n_rows: int) -> list[int]:
    """At most SAMPLE_ROWS rows of a run, evenly spread."""
    n = min(SAMPLE_ROWS, n_rows)
    return [i * n_rows // n for i in range(n)]
