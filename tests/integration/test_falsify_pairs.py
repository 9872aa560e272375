"""What becomes of features found on shipped pairs whose truth is known: the table of docs/falsify.md."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

import reasonmech as rm
from reasonmech.locate import Search
from reasonmech.locate.falsify import Baselines, Corpus, Counterexamples, Crossed, Residualised, TriggerSwap
from reasonmech.organisms.ground_truth.chain_examples import ChainExamples
from reasonmech.tasks.chain.world import CHAIN, SWAPPED

pytestmark = pytest.mark.slow

SEARCH = Search(top=8, draws=500)
CONFIG = rm.CoderConfig(architecture="topk", d_sae=512, k=12, steps=600, batch_size=512, lr=3e-3)


@dataclass(frozen=True, eq=False)
class Study:
    """Thinking rollouts on training problems as the base reads them, and a coder of what the base reads."""

    pair: rm.hosts.ModelPair
    rollouts: rm.Rollouts
    acts: rm.Activations
    coder: rm.coders.SparseCoder

    def corpus(self, labels: rm.Labels) -> Corpus:
        return Corpus(self.acts, labels, self.rollouts, SEARCH)

    def ends_of_checks(self) -> rm.Labels:
        """Positive where the author then gives the standing value up."""
        ends = [
            [
                rm.behaviours.Opportunity(b.start, b.relation == "revises")
                for a, b in pairwise(t.sentences)
                if a.relation == "verifies"
            ]
            for t in rm.parse(self.rollouts)
        ]
        return rm.Labels.from_opportunities("backtrack", self.rollouts, ends)

    def says_wait(self) -> rm.Labels:
        """Positive where the word stands."""
        (wait,) = self.pair.base.encode("wait")
        spans = [[(t, t + 1) for t, token in enumerate(r.ids) if token == wait] for r in self.rollouts]
        return rm.Labels.from_spans("says wait", self.rollouts, spans)

    def about_to_say_wait(self) -> rm.Labels:
        """Every sentence boundary; positive where the next sentence begins with the word."""
        ends = [
            [rm.behaviours.Opportunity(b.start, t.words[b.start] == "wait") for _, b in pairwise(t.sentences)]
            for t in rm.parse(self.rollouts)
        ]
        return rm.Labels.from_opportunities("backtrack", self.rollouts, ends)

    def falsify(
        self, labels: rm.Labels, grammar: ChainExamples, *more: TriggerSwap
    ) -> rm.falsify.Falsification:
        table, corpus = rm.locate(self.acts, labels, self.coder, search=SEARCH), self.corpus(labels)
        attempts = [
            Crossed(self.pair.base, grammar.crossed(200)),
            Residualised(corpus),
            Baselines(corpus),
            Counterexamples(self.pair.base, grammar, n=200),
            *more,
        ]
        falsification = rm.falsify.falsify(table, self.coder, attempts=attempts, k=5)
        n_positive = int(labels.positive.sum())
        print(f"\n{self.pair.name}, {n_positive} of {len(labels)} rows positive: {falsification}")
        for row in falsification.frame.itertuples():
            print(f"  {row.feature}: {row.attempt}: {row.outcome}: {row.reason}")
        return falsification


def study(name: str, site: str) -> Study:
    pair = rm.load_pair(name)
    problems = rm.load_task(pair.task, n=150, seed=1, split="train")
    decode = rm.Decode(max_new_tokens=200, temperature=1.0, samples=2, batch_size=300)
    rollouts = rm.generate(pair.thinking, problems, decode=decode, progress=False)
    acts = rm.capture(pair.base, rollouts, [site], progress=False)
    return Study(pair, rollouts, acts, rm.train_coder(acts, CONFIG, progress=False))


def drivers(falsification: rm.falsify.Falsification) -> dict[int, str]:
    """Candidate -> what moves it, by the 2x2."""
    rows = falsification.frame.loc[falsification.frame["attempt"] == "cue x context"]
    return {int(f): reason.split(":")[0] for f, reason in zip(rows["feature"], rows["reason"], strict=True)}


def test_features_of_the_filler_word_are_token_driven_and_none_survives() -> None:
    here = study("tiny-surface", "resid_post.2")
    labels = here.says_wait()
    assert labels.positive.sum() >= 30
    falsification = here.falsify(labels, ChainExamples(SWAPPED))
    assert falsification.table.top(1).frame["value"].max() > 0.95  # the search is sure of it
    assert len(falsification.candidates) == 5 and falsification.survivors == ()
    assert drivers(falsification)[falsification.candidates[0]] == "token-driven"
    assert (
        falsification.of(falsification.candidates[0]).set_index("attempt").loc["token residual", "outcome"]
        != "survives"
    )
    assert list(drivers(falsification).values()).count("token-driven") >= 2
    assert not {"context-driven", "conjunctive"} & set(drivers(falsification).values())


def test_features_that_anticipate_a_backtrack_survive_as_features_of_the_context() -> None:
    here = study("tiny-when", "resid_post.3")
    falsification = here.falsify(here.ends_of_checks(), ChainExamples(CHAIN))
    assert falsification.survivors
    assert {drivers(falsification)[feature] for feature in falsification.survivors} == {"context-driven"}
    assert "token-driven" not in drivers(falsification).values()


def test_where_another_word_marks_it_survivors_follow_the_function() -> None:
    here = study("tiny-swap", "resid_post.3")
    every = here.corpus(here.ends_of_checks())
    swap = TriggerSwap(every, here.about_to_say_wait())
    falsification = here.falsify(here.ends_of_checks(), ChainExamples(SWAPPED), swap)
    assert falsification.survivors
    assert {drivers(falsification)[feature] for feature in falsification.survivors} == {"context-driven"}
    assert "refuted" not in set(
        falsification.frame.loc[falsification.frame["attempt"] == "trigger swap", "outcome"]
    )
