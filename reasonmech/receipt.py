"""Receipt: what a plan really did in a run, so that silence is never taken for "no effect"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, final

from reasonmech.door import checked
from reasonmech.json_text import check_shape

if TYPE_CHECKING:
    import pandas as pd

_NUMBER: Final = (float, type(None))
_LINE: Final = {
    "fingerprint": str,
    "verb": str,
    "site": str,
    "where": str,
    "n_tokens": int,
    "n_masked": int,
    "n_gated": int,
    "n_changed": (int, type(None)),
    "mean_relative": _NUMBER,
    "max_relative": _NUMBER,
    "reread": _NUMBER,
}
_RECEIPT: Final = {
    "lines": [dict],
    "kl?": _NUMBER,
    "n_kl_rows?": int,
    "n_kl_tokens?": int,
    "noop_parity?": _NUMBER,
}
OLD_NAMES: Final = {"n_fired": "n_gated"}  # of columns and keys written before gates were said to open


@checked
@final
@dataclass(frozen=True)
class ReceiptLine:
    """What one intervention of a plan did in one run; counts are tokens.

    Attributes:
        fingerprint, verb, site, where: which intervention it is.
        n_tokens: tokens that passed its site.
        n_masked: tokens that its mask named.
        n_gated: those of them at which its gate was open (weight > 0).
        n_changed: tokens of which any coordinate of the stream was another after the edit; None in receipts
            that were stored before it was counted.
        mean_relative, max_relative: ||change|| / ||stream||, over the tokens at which the gate was open (0
            when none); None where no norms were computed.
        reread: mean coordinate that is read when the stream is encoded again after a clamp of features; None
            for other edits.
    """

    fingerprint: str
    verb: str
    site: str
    where: str
    n_tokens: int
    n_masked: int
    n_gated: int
    n_changed: int | None
    mean_relative: float | None
    max_relative: float | None
    reread: float | None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReceiptLine:
        """A stored line, whenever it was written. Raises TypeError or ValueError where it is none."""
        current = current_line(values)
        check_shape(current, _LINE)
        return cls(**current)


@checked
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
            Hugging Face; 0 unless something is broken. None when it was not measured.
    """

    lines: tuple[ReceiptLine, ...]
    kl: float | None = None
    n_kl_rows: int = 0
    n_kl_tokens: int = 0
    noop_parity: float | None = None

    def table(self) -> pd.DataFrame:
        """One row per intervention; NaN where a number was not measured."""
        import pandas as pd

        numbers = {"mean_relative": "float64", "max_relative": "float64", "reread": "float64"}
        columns = [field.name for field in fields(ReceiptLine)]
        frame = pd.DataFrame([asdict(line) for line in self.lines], columns=columns)
        return frame.astype({**numbers, "n_changed": "Int64"})

    def to_json(self) -> dict[str, Any]:
        """JSON values only."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Receipt:
        """A stored receipt, whenever it was written. Raises TypeError or ValueError where it is none."""
        check_shape(values, _RECEIPT)
        return cls(**{**values, "lines": tuple(ReceiptLine.from_json(line) for line in values["lines"])})

    def _repr_html_(self) -> str:
        return self.table().to_html()


def current_line(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a stored line (and whatever was put beside them) under the names that they have now."""
    return {"n_changed": None} | {OLD_NAMES.get(name, name): value for name, value in values.items()}
