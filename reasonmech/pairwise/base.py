"""What statistics of a pair share: the registry, the protocol, the rollouts of both, the tidy rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.registry import Registry
from reasonmech.rollout import Rollouts
from reasonmech.stats import bounds_of, mean_interval

COLUMNS: Final = ("measure", "statistic", "text", "compared", "value", "low", "high", "unit", "problems")
CALL: Final = "PairRollouts(base=rm.generate(pair.base, ...), thinking=rm.generate(pair.thinking, ...))"
EXAMPLE: Final = "{kind: divergence, threshold: 0.1}"


@final
@dataclass(frozen=True, eq=False)
class PairRollouts:
    """What each model of a pair wrote, on the same problems.

    Raises:
        ArgumentError: something that is no `Rollouts`.
        DataError: no rollout, or rollouts of other problems on one side.
    """

    base: Rollouts
    thinking: Rollouts

    def __post_init__(self) -> None:
        for side, rollouts in self.sides().items():
            check_type(
                rollouts, Rollouts, name=side, allowed="the Rollouts that rm.generate returns", do=CALL
            )
            if not len(rollouts):
                raise DataError(f"no rollout of the {side} model", do=CALL)
        base, thinking = ({r.problem.id for r in rollouts} for rollouts in self.sides().values())
        if base != thinking:
            odd = sorted(base ^ thinking)
            raise DataError(
                f"{len(odd)} problems were answered by one model alone, such as {odd[0]!r}",
                allowed="the same problems for both",
                do=CALL,
            )

    def sides(self) -> dict[str, Rollouts]:
        """ "base" and "thinking", each with what it wrote."""
        return {"base": self.base, "thinking": self.thinking}

    def __repr__(self) -> str:
        return f"PairRollouts({len(self.base)} of base, {len(self.thinking)} of thinking)"


@runtime_checkable
class PairMeasure(Protocol):
    """One statistic of a pair, or several that come out of one computation."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    def measure(self, pair: ModelPair, rollouts: PairRollouts) -> pd.DataFrame:
        """Rows of `COLUMNS`; a row whose `compared` is not "base and thinking" is a control's."""
        ...


measures: Registry[Callable[..., PairMeasure]] = Registry("measure")


def measure_pair(
    pair: ModelPair, rollouts: PairRollouts, chosen: Sequence[str | Mapping[str, object]] | None = None
) -> pd.DataFrame:
    """Every chosen statistic of a pair, as one table of `COLUMNS`: values with intervals by problem.

    Args:
        rollouts: what both wrote on the same problems.
        chosen: kinds, or mappings of a kind and its settings. None: all that are registered.

    Raises:
        ArgumentError: no pair, or no rollouts of one. ConfigError, UnknownNameError: see
            `measure_from_config`.
        DataError: nothing was chosen, or a measure has nothing to measure.
    """
    check_type(pair, ModelPair, name="pair", allowed="a ModelPair", do='rm.load_pair("tiny-when")')
    check_type(rollouts, PairRollouts, name="rollouts", allowed="PairRollouts", do=CALL)
    configs = (
        measures.kinds()
        if chosen is None
        else as_sequence(
            chosen,
            (str, Mapping),
            name="chosen",
            allowed="kinds of measures, or mappings of one and its settings",
        )
    )
    if not configs:
        raise DataError("no measure was chosen", allowed=", ".join(measures.kinds()))
    frames = [measure_from_config(config).measure(pair, rollouts) for config in configs]
    return pd.concat(frames, ignore_index=True)


def measure_from_config(config: Mapping[str, object] | str) -> PairMeasure:
    """The measure that a kind, or a mapping of a kind and its settings, describes.

    Raises:
        UnknownNameError: a kind that nobody registered, or a setting that this kind does not have.
        ConfigError: no kind.
    """
    kind, settings = measures.split_config(config, example=EXAMPLE)
    make = measures.get(kind)
    measures.check_settings(kind, settings, list(inspect.signature(make).parameters))
    return make(**settings)


@checked
@final
@dataclass(frozen=True)
class ComparedModels:
    """What a row compares, and on which text.

    Attributes:
        measure: name of the measure.
        text: whose text was read: "base" or "thinking".
        compared: what was compared on it.
    """

    measure: str
    text: str
    compared: str

    @checked
    def row(
        self, statistic: str, values: Float[np.ndarray, " text"], problems: Sequence[str], *, unit: str
    ) -> dict[str, object]:
        """One row of `COLUMNS`: the mean over problems of a value per text.

        Args:
            unit: a "share" or "probability" lies within [0, 1], and has an interval that knows it.

        Raises:
            DataError: texts of one problem alone, a share outside of [0, 1].
        """
        mean = mean_interval(values, np.asarray(problems), bounds=bounds_of(unit))
        return {
            "measure": self.measure,
            "statistic": statistic,
            "text": self.text,
            "compared": self.compared,
            "value": mean.estimate,
            "low": mean.low,
            "high": mean.high,
            "unit": unit,
            "problems": len(set(problems)),
        }
