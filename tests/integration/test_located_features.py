"""On shipped organisms features for backtracking anticipate it in the base, and follow the function, not the
word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from reasonmech.behaviours import behaviours
from reasonmech.coders import CoderConfig, SparseCoder, train_coder
from reasonmech.labels import Labels, Opportunity
from reasonmech.locate import Search, compare_detectors, locate, select
from reasonmech.organisms import load_pair
from reasonmech.rollout import Rollouts, Sentence, Trace
from reasonmech.runtime import Activations, Decode, capture, generate
from reasonmech.stats import Interval, auroc
from reasonmech.tasks import load_task, parse

pytestmark = pytest.mark.slow

SITES = ("resid_post.1", "resid_post.3")
CONFIG = CoderConfig(architecture="topk", d_sae=512, k=12, steps=250, batch_size=1024, lr=3e-3)
Asked = Callable[[Trace, Sentence, Sentence], bool]


@dataclass(frozen=True, eq=False)
class Study:
    """Rollouts of a pair, half for the coders, half to be searched, as the base reads them."""

    traces: list[Trace]
    acts: Activations
    coders: dict[str, SparseCoder]

    def labels(self, begins: Asked, *, where: Asked) -> Labels:
        """A row at the end of every sentence that `where` accepts, read before the next one begins."""
        rows = [
            [Opportunity(b.start, begins(t, a, b)) for a, b in pairwise(t.sentences) if where(t, a, b)]
            for t in self.traces
        ]
        return Labels.from_opportunities("backtrack", [t.rollout for t in self.traces], rows)


def _study(name: str, task: str, *, searched: tuple[str, ...]) -> Study:
    pair, problems = load_pair(name), load_task(task, n=150, seed=0, split="test")
    decode = Decode(max_new_tokens=224, temperature=1.0, samples=3, batch_size=450)
    hosts = {"base": pair.base, "thinking": pair.thinking}
    wrote = {side: generate(host, problems, decode=decode, progress=False) for side, host in hosts.items()}
    read = capture(
        pair.base, [r for of_model in wrote.values() for r in of_model[:225]], SITES, progress=False
    )
    coders = {site: train_coder(read, CONFIG, site=site, progress=False) for site in SITES}
    texts = Rollouts([r for side in searched for r in wrote[side][225:]], task=task)
    return Study(list(parse(texts)), capture(pair.base, texts, SITES, progress=False), coders)


@pytest.fixture(scope="module")
def when() -> Study:
    return _study("tiny-when", "chain", searched=("thinking",))


def _is_check(trace: Trace, before: Sentence, after: Sentence) -> bool:
    return before.relation == "verifies"


def _backtracks(trace: Trace, before: Sentence, after: Sentence) -> bool:
    return after.start in {span.start for span in behaviours.get("backtrack").spans(trace)}


def test_the_base_anticipates_a_backtrack_at_the_end_of_a_check(when: Study) -> None:
    labels = when.labels(_backtracks, where=_is_check)
    assert labels.positive.sum() > 60 and (~labels.positive).sum() > 200
    comparison = compare_detectors(when.acts, labels, when.coders["resid_post.3"], search=Search(claim=True))
    value = comparison.frame.set_index("detector")["value"]
    assert value["group"] >= 0.95
    assert not comparison.sae_is_lower, comparison.headline
    early = compare_detectors(
        when.acts, labels, when.coders["resid_post.1"]
    )  # the digits are hardly compared there
    assert early.frame.set_index("detector")["value"]["group"] < 0.8
    assert early.sae_is_lower and early.headline.startswith("The SAE is LOWER by")


def test_a_single_feature_tells_contradiction_from_confirmation(when: Study) -> None:
    labels = when.labels(lambda t, a, b: a.value != a.standing, where=_is_check)
    search = Search(correction="max_t", top=4)
    frame = locate(when.acts, labels, when.coders["resid_post.3"], search=search).frame
    best = frame[frame.kind == "feature"].sort_values("train_value").iloc[-1]
    assert best.value >= 0.99 and best.p_adjusted <= 0.05
    early = locate(when.acts, labels, when.coders["resid_post.1"], search=search).frame
    assert early[early.kind == "feature"].value.max() < 0.8


def test_on_tiny_swap_the_group_follows_the_function_and_not_the_word() -> None:
    """There "blick" begins backtracks, and "wait", tiny-when's word for them, begins sentences that do
    nothing."""
    study, site = _study("tiny-swap", "chain-swap", searched=("base", "thinking")), "resid_post.3"
    coder = study.coders[site]

    def says_wait(trace: Trace, before: Sentence, after: Sentence) -> bool:
        return trace.words[after.start] == "wait"

    def everywhere(trace: Trace, before: Sentence, after: Sentence) -> bool:
        return True

    function = study.labels(_backtracks, where=everywhere)
    group = select(locate(study.acts, function, coder, search=Search(top=4)), 2, coder=coder)
    word = study.labels(says_wait, where=lambda t, a, b: not _backtracks(t, a, b))

    def told(labels: Labels) -> Interval:
        active = coder.read(study.acts.rows(site, labels), group.indices).sum(-1).detach().numpy()
        return auroc(active, labels.positive, labels.problem)

    assert told(function).low > 0.95
    assert word.positive.sum() > 20 and told(word).high < 0.75
