"""What the ladder of a run's features reads: what the stage `kept` wrote, and features of a random model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.experiments.stages.ladder import ClimbLadder, LadderScope, WrittenGroup
from reasonmech.experiments.stages.preservation import _row, read_preservation
from reasonmech.experiments.stages.random_model import random_features
from reasonmech.locate import BehaviourPreservation
from reasonmech.locate.falsify import Candidates, random_twin
from reasonmech.organisms.ground_truth.chain_examples import ChainExamples, encode
from reasonmech.organisms.ground_truth.text_attempts import attempts_by_texts, is_written_about
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.stats import Interval
from reasonmech.testing import tiny_coder, tiny_host
from tests.layouts import layout_host


def test_what_was_measured_under_reconstruction_is_read_back(tmp_path: Path) -> None:
    context = SimpleNamespace(of=lambda kind: tmp_path / kind)
    assert read_preservation(context) == {}  # pyright: ignore[reportArgumentType]
    intervals = [Interval(i / 10, i / 20, i / 5, 0.95) for i in range(1, 5)]
    kept = BehaviourPreservation("resid_post.1", "check", *intervals, n_rows=40, n_effects=20)
    folder = tmp_path / "kept" / "keep"
    folder.mkdir(parents=True)
    pd.DataFrame([_row(kept) | {"coder": "topk/a"}]).to_parquet(folder / "kept.parquet")
    assert read_preservation(context) == {("topk/a", "check"): kept}  # pyright: ignore[reportArgumentType]


def test_features_of_a_random_model_are_its_own_and_as_many_as_asked() -> None:
    host = tiny_host()
    twin, site = random_twin(host, seed=1), Site.parse("resid_post.1")
    acts = capture(twin, ["w1 w2 w3 w4", "w5 w6"], [site], progress=False)
    coder = random_features(twin, acts, site, n=96, seed=0)
    assert coder.d_sae == 96 and coder.model_hash == twin.weight_hash != host.weight_hash
    codes = coder.encode(acts.at(site))
    x = acts.at(site)
    rows = coder.rows(range(96))
    assert torch.allclose(codes, ((x - x.mean(0)) @ rows.T).relu(), atol=1e-5)
    active = (codes > 0).float().mean(0)
    assert (
        0.2 < float(np.median(active.detach().numpy())) < 0.8
    )  # about half the tokens, like no chosen threshold
    other = random_features(twin, acts, site, n=96, seed=1)
    assert not torch.equal(other.rows(range(96)), rows)


def test_a_scope_asks_for_its_behaviours_only() -> None:
    stage = ClimbLadder(where=(LadderScope(behaviours=("step",)),))
    assert stage.where[0].source == "base" and stage.where[0].among == "opportunities"
    group = WrittenGroup("check", "topk/a", {"clamp": (3, 1), "ablate": (1, 2)})
    assert group.all_features == (1, 2, 3)


def test_texts_are_written_about_backtracks_of_chain_worlds_and_about_nothing_else() -> None:
    assert is_written_about("backtrack", "chain") and is_written_about("backtrack", "chain-swap")
    host = rm.load_host("organism:tiny-when/base")
    for behaviour, task in (("check", "chain"), ("backtrack", "letters")):
        assert not is_written_about(behaviour, task)
        assert attempts_by_texts(host, behaviour, task, seed=0) == ()


def test_written_texts_are_attempts_on_the_features_of_a_run() -> None:
    host = rm.load_host("organism:tiny-when/base")
    crossed, examples = attempts_by_texts(host, "backtrack", "chain", seed=0)
    again = attempts_by_texts(host, "backtrack", "chain", seed=0)
    candidates = Candidates((3, 5), np.array([1.0, 1.0]))
    coder = tiny_coder(host, "resid_post.2")
    for attempt, same in zip((crossed, examples), again, strict=True):
        findings = attempt.findings(coder, candidates)
        assert [finding.feature for finding in findings] == [3, 5]
        assert findings == same.findings(coder, candidates)
    assert [crossed.name, examples.name] == ["cue x context", "counterexamples"]


@pytest.mark.parametrize("words", [True, False])
def test_texts_are_in_the_tokens_of_the_model_or_refused(words: bool) -> None:
    """In other ids, with a BOS, they are the same texts; in pieces nobody knows where their words are."""
    host = layout_host("words" if words else "qwen2")
    if not words:
        with pytest.raises(DataError, match="a tokenizer with a token for every word"):
            attempts_by_texts(host, "backtrack", "chain", seed=0)
        return

    def shifted(text: str) -> list[int]:
        return [0, *(i + 1 for i in encode(text))]

    plain, moved = ChainExamples(), ChainExamples(encode=shifted)
    for one, other in zip(plain.examples(20, seed=1), moved.examples(20, seed=1), strict=True):
        assert list(other.ids) == [0, *(i + 1 for i in one.ids)]
        assert other.start == one.start + 1 and other.stop == one.stop + 1
    for text, same in zip(plain.crossed(5), moved.crossed(5), strict=True):
        assert list(same.neutral) == [0, *(i + 1 for i in text.neutral)]
        assert list(same.cue) == [i + 1 for i in text.cue]
