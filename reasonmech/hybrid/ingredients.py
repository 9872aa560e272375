"""Ingredients: the pair, the vectors and the clamped features that arms are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import ModelPair
from reasonmech.hybrid.executors import ClampFeatures, Vectors
from reasonmech.hybrid.matching import NeutralTexts
from reasonmech.hybrid.oracle_free import OnsetProbe
from reasonmech.hybrid.partition import Partition
from reasonmech.hybrid.power import PowerConfig
from reasonmech.hybrid.rules import Times
from reasonmech.kinds import Kinds
from reasonmech.ranges import Seed, Share

T = TypeVar("T")


class PartitionVectors(NamedTuple):
    """Categories of the thinking model's stream, and a vector of the base for each."""

    partition: Partition
    vectors: Vectors


@checked
@dataclass(frozen=True, eq=False)
class Ingredients:
    """What arms are made of.

    Attributes:
        vectors: trained category vectors of the base; None where there are none.
        clamp: clamped features of the base's coder; None where there are none.
        rate: probability per token at which random positions open. Steered tokens of the full arm per token
            that the *base* chooses gives both the same number of steered tokens per problem, whatever the
            length of their texts. None where the full arm was not run.
        seed: of the nulls' randomness.
        times: where the full arm steered each text; None where it was not run.
        probe: oracle-free controller; None where there is none.
        neutral: positions at which strength is measured; None where there are none.
        prompt: what stands around a problem for a prompted base, such as "careful {problem}"; "" for nothing.
        steps_prompt: the same, asking for steps, such as "{problem} Think step by step."
        power: how a power-sampled base moves.
        answer_kinds: names of the kinds of sentence that state an answer; () where the task names none.
        lengths: (problem id, sample) -> tokens of the thinking model's text; empty where it has not answered.
        best: arm with a fixed category -> the category, chosen on tuning problems.
        forms: vectors of other forms (`hybrid.forms`), trained on the same texts.
        means: differences of means at first words of categories; None where there are none.
        parted: kind of partition -> the partition, and vectors of its categories.
        absent: name of an ingredient that is None -> why there is none.
    """

    pair: ModelPair
    kinds: Kinds
    vectors: Vectors | None
    clamp: ClampFeatures | None
    rate: Share | None
    seed: Seed = 0
    absent: Mapping[str, DataError] = field(default_factory=dict)
    times: Times | None = None
    probe: OnsetProbe | None = None
    neutral: NeutralTexts | None = None
    prompt: str = ""
    best: Mapping[str, int] = field(default_factory=dict)
    steps_prompt: str = ""
    power: PowerConfig = field(default_factory=PowerConfig)
    answer_kinds: tuple[str, ...] = ()
    lengths: Mapping[tuple[str, int], int] = field(default_factory=dict)
    forms: Mapping[str, Vectors] = field(default_factory=dict)
    means: Vectors | None = None
    parted: Mapping[str, PartitionVectors] = field(default_factory=dict)

    @checked
    def trained_vectors(self, form: str = "") -> Vectors:
        """The vectors, or those of another form. Raises DataError where there are none: the reason in
        `absent`."""
        if form:
            return self._present(self.forms.get(form), f"vectors of form {form!r}")
        return self._present(self.vectors, "vectors")

    @checked
    def parted_vectors(self, kind: str) -> PartitionVectors:
        """A partition of the thinking stream and its vectors. Raises DataError where there are none."""
        return self._present(self.parted.get(kind), f"vectors of partition {kind!r}")

    def means_of_onsets(self) -> Vectors:
        """Differences of means. Raises DataError where there are none: the reason in `absent`."""
        return self._present(self.means, "means")

    def clamped_features(self) -> ClampFeatures:
        """The clamped features. Raises DataError where there are none: the reason in `absent`."""
        return self._present(self.clamp, "clamp")

    def steering_rate(self) -> float:
        """The rate. Raises DataError where there is none: the reason in `absent`."""
        return self._present(self.rate, "rate")

    def times_of_full(self) -> Times:
        """Where the full arm steered. Raises DataError where there is none: the reason in `absent`."""
        return self._present(self.times, "times")

    def onset_probe(self) -> OnsetProbe:
        """The oracle-free controller. Raises DataError where there is none: the reason in `absent`."""
        return self._present(self.probe, "probe")

    def neutral_texts(self) -> NeutralTexts:
        """Where strength is measured. Raises DataError where there is none: the reason in `absent`."""
        return self._present(self.neutral, "neutral")

    @checked
    def best_category(self, arm: str) -> int:
        """The category of an arm that has a fixed one. Raises DataError where none was chosen."""
        return self._present(self.best.get(arm), f"category for arm {arm!r}")

    def prompt_around(self) -> str:
        """The prompt of a prompted base. Raises DataError where there is none."""
        if not self.prompt:
            raise DataError(
                "no prompt for a prompted base", do='name one in stage `arms`: prompt: "careful {problem}"'
            )
        return self.prompt

    def prompt_for_steps(self) -> str:
        """The prompt that asks a base for steps. Raises DataError where there is none."""
        if not self.steps_prompt:
            raise DataError(
                "no prompt that asks the base for steps",
                do='name one in stage `arms`: steps_prompt: "{problem} Think step by step."',
            )
        return self.steps_prompt

    def answer_categories(self) -> tuple[int, ...]:
        """Categories that state an answer. Raises DataError where the task does not say which."""
        if not self.answer_kinds:
            raise DataError(
                "the task does not say which kinds of sentence state an answer",
                allowed="a task with `answer_kinds`, as a chain world's",
                do="leave the arms `format_only` and `length_matched` out",
            )
        return tuple(self.kinds.names.index(name) for name in self.answer_kinds)

    def lengths_of_thinking(self) -> Mapping[tuple[str, int], int]:
        """Tokens of the thinking model's texts. Raises DataError where there are none."""
        return self._present(self.lengths or None, "lengths")

    def trained_categories(self) -> tuple[int, ...]:
        return tuple(self.trained_vectors().trained.nonzero()[:, 0].tolist())

    def _present(self, value: T | None, name: str) -> T:
        if value is None:
            raise self.absent.get(name) or DataError(f"no {name} among the ingredients", do=f"give {name}=")
        return value
