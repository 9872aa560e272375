"""A task, a behaviour, a corpus, a pair and an organism."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from transformers import PreTrainedTokenizerBase

from reasonmech.behaviours import OnsetWords, behaviours
from reasonmech.behaviours.base import spans_with_word
from reasonmech.experiments.stages import corpora
from reasonmech.hosts import register_pair_path
from reasonmech.kinds import Kinds
from reasonmech.labels import Opportunity, Span
from reasonmech.organisms.recipes import recipes
from reasonmech.problem import Problem, ProblemSet
from reasonmech.rollout import Rollout, Trace
from reasonmech.tasks import Split, tasks
from reasonmech.tasks.chain import OneWordKinds


class Counting:
    """Count on: w1 w2 w3 ..."""

    onset_words: Mapping[str, str] = MappingProxyType({"count": "w1"})

    def problems(self, n: int, *, seed: int, split: Split) -> ProblemSet:
        drawn = [
            Problem(f"counting/{split}/{seed}/{i}", f"w{i % 9} w{i % 9 + 1}", f"w{i % 9 + 2}")
            for i in range(n)
        ]
        return ProblemSet(drawn, task="counting")

    def kinds(self, tokenizer: PreTrainedTokenizerBase) -> Kinds:
        return OneWordKinds({"count": "w1"}, tokenizer)

    def parse(self, rollout: Rollout) -> Trace:
        return Trace(rollout, (), tuple(rollout.text.split()))

    def grade(self, rollout: Rollout) -> bool:
        return rollout.text.startswith(rollout.problem.answer)

    def verified(self, trace: Trace) -> bool:
        return self.grade(trace.rollout)


class Count:
    """Every token counts."""

    name = "count"
    functional = False

    def spans(self, trace: Trace) -> list[Span]:
        return [Span(t, t + 1) for t in range(len(trace.words))]

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        return spans_with_word(trace, onset_words.get("count"))

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return [Opportunity(t, True) for t in range(len(trace.words))]

    def verify(self, trace: Trace, span: Span) -> bool:
        return True


tasks.register("counting")(Counting())
behaviours.register("count")(Count())
register_pair_path("counting-pair", Path("counting-pair"))
recipes.register("tiny-counting")(replace(recipes.get("tiny-when"), truth_class="neither"))


@corpora.register("counting")
def counting(n: int, seed: int) -> list[str]:
    """The same sentence n times."""
    return ["w1 w2 w3 ."] * n
