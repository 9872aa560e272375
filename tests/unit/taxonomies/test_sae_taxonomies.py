"""A taxonomy of sentences finds planted kinds, and its scores know a good one from a bad one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reasonmech.coders import CoderConfig, load_coder
from reasonmech.errors import ConfigError, CorruptFileError, DataError, MismatchError, UnknownNameError
from reasonmech.labels import Labels
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.taxonomies.sae import (
    Sentences,
    SentenceTaxonomy,
    judge_taxonomy,
    load_taxonomy,
    score_taxonomy,
    train_taxonomies,
)
from reasonmech.taxonomies.sae.scores import independence, macro_f1
from reasonmech.testing import tiny_host

SITE, KINDS, LENGTH, PER = Site("resid_post", 1), 5, 4, 6
N = 120  # rollouts, of PER sentences of LENGTH tokens each, behind a prompt of 3 tokens
CONFIG = CoderConfig(architecture="topk", d_sae=10, k=1, steps=300, batch_size=128, lr=1e-2, dead_after=20)
RANDOM = np.random.default_rng(0)
KIND = RANDOM.integers(0, KINDS, (N, PER))


class Planted:
    """Activations whose sentence means are a direction per kind, far off centre, plus noise."""

    sites, host_name, host_hash, n_tokens = (SITE,), "made", "0" * 64, N * (3 + LENGTH * PER)

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        directions = torch.randn(KINDS, 24, generator=random)
        per_token = directions[torch.from_numpy(KIND)].repeat_interleave(LENGTH, dim=1)
        noise = 0.3 * torch.randn(N, PER * LENGTH, 24, generator=random)
        self.values = torch.cat([torch.full((N, 3, 24), 1e3), per_token + noise + 5.0], dim=1)

    def rows(self, site: Site | str, labels: Labels) -> torch.Tensor:
        return self.values[torch.from_numpy(labels.rollout), torch.from_numpy(labels.position)]


def sentences() -> Sentences:
    ids = tuple(range(LENGTH * PER))
    none = (False,) * len(ids)
    rollouts = [
        Rollout(Problem(f"p/{i // 2}", "q", "a"), i % 2, (1, 2, 3), ids, none, none, "eos", "")
        for i in range(N)
    ]
    spans = [[(LENGTH * s, LENGTH * (s + 1)) for s in range(PER)] for _ in range(N)]
    texts = [[f"word{kind} of {RANDOM.integers(9)}" for kind in row] for row in KIND]
    return Sentences.of(rollouts, spans, texts=texts)


@pytest.fixture(scope="module")
def taxonomies() -> dict[int, SentenceTaxonomy]:
    train = sentences().split().train
    return train_taxonomies(
        Planted(), train, site=SITE, sizes=(KINDS, 2 * KINDS), config=CONFIG, progress=False
    )


def test_means_are_those_of_the_tokens_and_the_prompt_is_not_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acts, sentence_rows = Planted(), sentences()
    means = sentence_rows.means(acts, site=SITE)
    assert torch.allclose(means, acts.values[:, 3:].reshape(N * PER, LENGTH, 24).mean(1), atol=1e-5)
    monkeypatch.setattr("reasonmech.taxonomies.sae.sentences.CHUNK", 50)
    assert torch.allclose(sentence_rows.means(acts, site=SITE), means, atol=1e-6)


def test_means_of_captured_rollouts() -> None:
    host = tiny_host()
    none = (False,) * 4
    rollouts = [
        Rollout(Problem("p", "q", "a"), 0, (7, 8), (9, 10, 11, i), none, none, "eos", "")
        for i in range(6, 10)
    ]
    acts = capture(host, rollouts, ["resid_post.1"], progress=False)
    means = Sentences.of(rollouts, [[(1, 4)]] * 4, texts=[["s"]] * 4).means(acts, site="resid_post.1")
    at = acts.at("resid_post.1").reshape(4, 6, -1)
    assert torch.allclose(means, at[:, 3:].mean(1), atol=1e-5) and not torch.allclose(means[0], means[1])


def test_planted_kinds_are_found_and_scored(taxonomies: dict[int, SentenceTaxonomy]) -> None:
    halves, acts = sentences().split(), Planted()
    assert not set(halves.train.problem) & set(halves.held_out.problem)
    taxonomy = taxonomies[KINDS]
    answers = taxonomy.categories(halves.held_out.means(acts, site=SITE)).numpy()
    true = np.array([int(text[4]) for text in halves.held_out.text])
    of = [
        np.bincount(answers[true == kind][answers[true == kind] >= 0], minlength=KINDS)
        for kind in range(KINDS)
    ]
    assert (
        sum(counts.max() for counts in of) / len(true) > 0.75
    )  # by chance a category holds a fifth of each kind
    table = score_taxonomy(taxonomy, acts, sentences=halves, draws=300).set_index("metric")
    assert table.loc["completeness", "value"] > 0.5 and table.loc["assigned", "value"] > 0.75
    assert table.loc["consistency", "value"] > 0.75
    assert table.loc["consistency", "low"] > table.loc["consistency_shuffled", "high"]
    assert 0.4 < table.loc["independence", "value"] <= 1 and np.isnan(table.loc["independence", "low"])
    for metric in ("completeness", "assigned", "consistency", "consistency_shuffled"):
        assert table.loc[metric, "low"] <= table.loc[metric, "value"] <= table.loc[metric, "high"]
    assert set(table["n_problems"]) == {24} and set(table["latents"]) == {KINDS}


def test_a_taxonomy_is_saved_loaded_and_no_coder_of_tokens(
    taxonomies: dict[int, SentenceTaxonomy], tmp_path: Path
) -> None:
    taxonomies[KINDS].save(tmp_path / "t")
    again = load_taxonomy(tmp_path / "t")
    means = sentences().means(Planted(), site=SITE)
    assert torch.equal(again.codes(means), taxonomies[KINDS].codes(means)) and (again.codes(means) > 0).any()
    with pytest.raises(MismatchError, match="use load_taxonomy"):
        load_coder(tmp_path / "t")
    with pytest.raises(MismatchError, match="width 24"):
        load_taxonomy(tmp_path / "t", host=tiny_host())
    from reasonmech.testing import tiny_coder

    tiny_coder(tiny_host()).save(tmp_path / "c")
    with pytest.raises(MismatchError, match="use load_coder"):
        load_taxonomy(tmp_path / "c")


def test_macro_f1_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    true, answers = random.integers(0, 4, 200), random.integers(0, 4, 200)
    answers[:100] = true[:100]
    value, low, high = macro_f1(true, answers, np.repeat(np.arange(20), 10), draws=200, seed=0)
    assert value == pytest.approx(f1_score(true, answers, average="macro")) and low < value < high
    true[:10] = -1  # no category: what is said of them is wrong
    expected = f1_score(true, answers, average="macro", labels=[0, 1, 2, 3])
    assert macro_f1(true, answers, np.arange(200), draws=10, seed=0)[0] == pytest.approx(expected)
    assert independence(torch.eye(3)) == 1 and independence(torch.ones(3, 2)) == pytest.approx(0, abs=1e-6)


def test_a_judge_scores_it_too(taxonomies: dict[int, SentenceTaxonomy]) -> None:
    held, acts, taxonomy = sentences().split().held_out, Planted(), taxonomies[KINDS]
    prompts: list[str] = []

    def honest(prompt: str) -> str:
        """Goes by the first word, as the planted kinds do."""
        prompts.append(prompt)
        if "belong to one category" in prompt:
            words = re.findall(r'"(word\d)', prompt)
            return json.dumps({"title": max(set(words), key=words.count), "description": "it"})
        if "How similar" in prompt:
            return '```json\n{"similarity": 1}\n```'
        titles = {title: int(i) for i, title in re.findall(r"^(\d+): (word\d): it$", prompt, re.MULTILINE)}
        answers = re.findall(r'^\d+: "(word\d)', prompt, re.MULTILINE)
        return json.dumps({str(i): [titles.get(word, -1), 8] for i, word in enumerate(answers, 1)})

    table = judge_taxonomy(honest, taxonomy, acts, sentences=held).set_index("metric")
    assert (
        table.loc["completeness", "value"] == pytest.approx(0.8) and table.loc["independence", "value"] == 1
    )
    assert table.loc["consistency", "value"] > 0.7 and set(table["by"]) == {"judge"}
    assert len(prompts) <= KINDS + -(-len(held) // 20) + KINDS * (KINDS - 1) // 2

    def lazy(prompt: str) -> str:
        return '{"1": [0, 11]}' if "numbered" in prompt else honest(prompt)

    with pytest.raises(DataError, match="3 invalid answers"):
        judge_taxonomy(lazy, taxonomy, acts, sentences=held)


def test_activations_of_another_model_are_not_scored(taxonomies: dict[int, SentenceTaxonomy]) -> None:
    halves, other = sentences().split(), Planted()
    other.host_hash = "1" * 64
    with pytest.raises(MismatchError, match=r"0000.*1111"):
        score_taxonomy(taxonomies[KINDS], other, sentences=halves)
    with pytest.raises(MismatchError, match=r"0000.*1111"):
        judge_taxonomy(lambda prompt: "", taxonomies[KINDS], other, sentences=halves.held_out)


def test_a_size_that_is_asked_for_twice_is_trained_once() -> None:
    short = CONFIG.model_copy(update={"steps": 2})
    assert [
        *train_taxonomies(Planted(), sentences(), site=SITE, sizes=(5, 7, 5), config=short, progress=False)
    ] == [
        5,
        7,
    ]


@pytest.mark.parametrize("tensors", [{"x": torch.zeros(24)}, {"centre": torch.zeros(3)}])
def test_a_damaged_centre_is_refused(
    tensors: dict[str, torch.Tensor], taxonomies: dict[int, SentenceTaxonomy], tmp_path: Path
) -> None:
    taxonomies[KINDS].save(tmp_path / "t")
    save_file(tensors, tmp_path / "t" / "centre.safetensors")
    with pytest.raises(CorruptFileError, match="centre"):
        load_taxonomy(tmp_path / "t")


def test_a_judge_is_not_asked_to_apply_a_single_category(taxonomies: dict[int, SentenceTaxonomy]) -> None:
    held, taxonomy, acts = sentences().split().held_out, taxonomies[KINDS], Planted()
    same = held.where(taxonomy.categories(held.means(acts, site=SITE)).numpy() == 0)
    prompts: list[str] = []

    def judge(prompt: str) -> str:
        prompts.append(prompt)
        return json.dumps({"title": "t", "description": "d"})

    with pytest.raises(DataError, match="fewer than two categories"):
        judge_taxonomy(judge, taxonomy, acts, sentences=same)
    assert len(prompts) <= 1


def test_what_makes_no_taxonomy_is_refused() -> None:
    sentence_rows, acts = sentences(), Planted()
    about = {"config": CONFIG, "progress": False}
    with pytest.raises(UnknownNameError, match=r"resid_post\.1"):
        train_taxonomies(acts, sentence_rows, site="resid_post.2", **about)
    with pytest.raises(ConfigError, match="at least 7"):
        train_taxonomies(
            acts, sentence_rows, site=SITE, **about | {"config": CONFIG.model_copy(update={"k": 7})}
        )
    with pytest.raises(DataError, match="6 sentences are fewer"):
        train_taxonomies(acts, sentence_rows.where(sentence_rows.rollout == 0), site=SITE, **about)
    with pytest.raises(DataError, match="one side empty"):
        sentence_rows.where(sentence_rows.rollout == 0).split()
    rollout = Rollout(Problem("p", "q", "a"), 0, (), (1, 2), (False,) * 2, (False,) * 2, "eos", "")
    with pytest.raises(DataError, match=r"\[1, 3\) of rollout 0 lies outside its 2 tokens"):
        Sentences.of([rollout], [[(1, 3)]], texts=[["x"]])
    with pytest.raises(DataError, match="1 spans and 2 texts"):
        Sentences.of([rollout], [[(0, 1)]], texts=[["x", "y"]])
    with pytest.raises(DataError, match="no sentence"):
        Sentences.of([rollout], [[]], texts=[[]])
