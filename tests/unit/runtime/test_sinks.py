"""Attention sinks: tokens whose stream is many times as long as others' decide no mean, norm or variance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import reasonmech as rm
from reasonmech.coders import CoderConfig, SAELensCoder, SparseCoder, find_sinks, load_coder, train_coder
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts import Host
from reasonmech.interventions.axes import Direction, Features, Whole
from reasonmech.locate.feature_summary.facts import feature_facts
from reasonmech.runtime import Activations, Keep, capture, check_fit, joined, mean_of, sinks_of
from reasonmech.testing import tiny_coder, tiny_host
from tests.layouts import smollm2_host

SITES = ("resid_post.1", "resid_post.2", "resid_post.3")
N_TEXTS = 40
CONFIG = CoderConfig(architecture="topk", d_sae=64, k=6, steps=200, batch_size=128, lr=3e-3)
QUICK = CONFIG.model_copy(update={"steps": 30})  # for trainings that are held to each other alone


def sink_host(factor: float = 1000) -> Host:
    """A random model of which the word w0 is a sink."""
    host = tiny_host("llama")
    with torch.no_grad():
        host.model.get_input_embeddings().get_parameter("weight")[6] *= factor
    return host


def texts_with(first: str = "w0", *, n: int = N_TEXTS, length: int = 30, seed: int = 0) -> list[str]:
    random = torch.Generator().manual_seed(seed)
    numbers = torch.randint(1, 50, (n, length), generator=random).tolist()
    return [f"{first} " + " ".join(f"w{i}" for i in row) for row in numbers]


def positions(acts: Activations) -> torch.Tensor:
    return torch.tensor(acts.index["position"].to_numpy().copy())


def labelled(coder: SparseCoder, path: Path, layer: int, host: Host) -> SparseCoder:
    """The same coder, said to be of another layer."""
    coder.save(path)
    config = json.loads((path / "cfg.json").read_text())
    config["metadata"]["hook_name"] = f"blocks.{layer}.hook_out"
    config["metadata"]["reasonmech"]["site"] = f"resid_post.{layer}"
    (path / "cfg.json").write_text(json.dumps(config))
    return load_coder(path, host=host)


def explained(coder: SparseCoder, x: torch.Tensor) -> float:
    with torch.no_grad():
        error = (x - coder.decode(coder.encode(x))).double().pow(2).sum()
    return 1 - (error / (x - x.mean(0)).double().pow(2).sum()).item()


def test_a_coder_that_knows_the_sink_and_nothing_else_explains_nothing(tmp_path: Path) -> None:
    host, texts = sink_host(), texts_with()
    acts = capture(host, texts, ("resid_post.0", *SITES), progress=False)
    x, first = acts.at("resid_post.1"), positions(acts) == 0
    unit = torch.nn.functional.normalize(x[first].mean(0), dim=0)
    random = torch.Generator().manual_seed(1)
    rows = torch.cat([unit[None], 1e-3 * torch.randn(7, 32, generator=random)])
    tiny_coder(host, d_sae=8, k=1).save(tmp_path / "c")
    zeros = {"b_enc": torch.zeros(8), "b_dec": torch.zeros(32)}
    save_file(
        {"W_enc": rows.T.contiguous(), "W_dec": rows, **zeros}, tmp_path / "c" / "sae_weights.safetensors"
    )
    coder = load_coder(tmp_path / "c", host=host)
    assert check_fit(host, coder, texts, include_sinks=True, progress=False).explained_variance > 0.99
    report = check_fit(host, coder, texts, progress=False)
    assert report.explained_variance == pytest.approx(explained(coder, x[~first]), abs=1e-5)
    assert report.explained_variance < 0.5
    assert (report.n_left_out, report.n_tokens) == (N_TEXTS, len(acts))
    assert report.left_out_variance > 0.9
    for site, value in report.neighbours.items():
        assert value == pytest.approx(explained(coder, acts.at(site)[~first]), abs=1e-5)


def test_a_coder_said_to_be_a_layer_off_is_refused_although_both_layers_have_the_same_sink(
    tmp_path: Path,
) -> None:
    host, texts = sink_host(), texts_with()
    coder = train_coder(
        capture(host, texts_with(seed=1, n=120), SITES, progress=False),
        CONFIG,
        site="resid_post.2",
        progress=False,
    )
    report = check_fit(host, coder, texts, progress=False)
    assert report.explained_variance > 0.1 + max(report.neighbours.values())
    for claimed in (1, 3):
        wrong = labelled(coder, tmp_path / f"said to be {claimed}", claimed, host)
        with pytest.raises(MismatchError, match=rf"at resid_post\.{claimed}, where .* at resid_post\.2"):
            check_fit(host, wrong, texts, progress=False)


@pytest.mark.parametrize("where", ["first", "middle", "two"])
def test_sinks_are_left_out_wherever_they_stand(where: str) -> None:
    host = sink_host()
    texts = texts_with({"first": "w0", "middle": "w3", "two": "w0"}[where])
    if where != "first":
        texts = [" ".join([*text.split()[:9], "w0", *text.split()[9:]]) for text in texts]
    acts = capture(host, texts, SITES, progress=False)
    sink = torch.tensor(acts.index["token"].to_numpy().copy()) == 6
    sinks = sinks_of(acts, "resid_post.2")
    assert sinks.n_sinks == int(sink.sum()) == N_TEXTS * (2 if where == "two" else 1)
    assert sinks.first == (where != "middle") and sinks.variance_share > 0.9
    assert f"{sinks.n_sinks} of {len(acts)} tokens are attention sinks" in str(sinks)
    x = acts.at("resid_post.2")
    with pytest.warns(UserWarning, match=f"leaves out {sinks.n_sinks} of {len(acts)} tokens"):
        mean = mean_of(acts, Whole("resid_post.2"))
    assert torch.allclose(mean, x[~sink].mean(0), atol=1e-5)
    assert torch.allclose(
        mean_of(acts, Whole("resid_post.2"), include_sinks=True), x.mean(0), atol=1e-3, rtol=1e-4
    )


def test_first_tokens_that_are_long_but_less_so_are_sinks_too() -> None:
    """Five medians at position 0, as layers 2 to 8 of SmolLM2 have them, and a longer token elsewhere."""
    random = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(400, 16, generator=random), dim=-1)
    position = torch.arange(400) % 20
    x[position == 0] *= 5
    x[7], x[0] = 9 * x[7], x[0] / 5  # one sink in the middle, one first token that is none by its norm
    sinks = find_sinks(lambda rows: x[rows], 400, position)
    assert sinks.first and sinks.mask(x.norm(dim=-1), position).nonzero().flatten().tolist() == [
        *(7 if i == 1 else i for i in (0, 1)),
        *range(20, 400, 20),
    ]
    assert not find_sinks(
        lambda rows: x[rows], 400
    ).n_sinks  # without positions only a far longer one is told
    x[7] *= 3
    assert find_sinks(lambda rows: x[rows], 400).n_sinks == 1


def test_rows_of_which_all_are_first_tokens_are_all_kept() -> None:
    host = sink_host()
    acts = capture(host, texts_with(), SITES, keep=Keep(where=rm.at(0)), progress=False)
    assert sinks_of(acts, "resid_post.2").n_sinks == 0
    mean = mean_of(acts, Whole("resid_post.2"))
    assert torch.allclose(mean, acts.at("resid_post.2").mean(0), rtol=1e-4)


def test_means_of_directions_and_features_leave_the_same_tokens_out() -> None:
    host = sink_host()
    acts = capture(host, texts_with(), SITES, progress=False)
    x, first = acts.at("resid_post.1"), positions(acts) == 0
    direction = Direction.along(torch.ones(32), "resid_post.1")
    features = Features(tiny_coder(host), (3, 9))
    with pytest.warns(UserWarning, match="attention sinks"):
        along = mean_of(acts, direction)
    assert torch.allclose(along, (x[~first] @ direction.vector).mean()[None], atol=1e-4)
    with pytest.warns(UserWarning, match="attention sinks"):
        values = mean_of(acts, features, tokens=torch.arange(62))
    of_two = x[:62][~first[:62]]
    assert torch.allclose(values, features.coder.encode(of_two)[:, [3, 9]].mean(0), atol=1e-4)
    with pytest.raises(DataError, match="all 1 tokens of this mean are attention sinks"):
        mean_of(acts, direction, tokens=torch.tensor([0]))


def test_a_training_leaves_sinks_out_and_records_it(tmp_path: Path) -> None:
    host = sink_host()
    acts = capture(host, texts_with(n=120), SITES, progress=False)
    kept = capture(host, texts_with(n=120), SITES, keep=Keep(where=~rm.at(0)), progress=False)
    held_out = kept.at("resid_post.2")
    coder = train_coder(acts, CONFIG, site="resid_post.2", progress=False)
    with_sinks = CONFIG.model_copy(update={"include_sinks": True})
    spoilt = train_coder(acts, with_sinks, site="resid_post.2", progress=False)
    clean = train_coder(kept, CONFIG, site="resid_post.2", progress=False)
    # not the same batches as `clean` saw, but as good a coder; with sinks it is a poor one
    good, best, poor = (explained(one, held_out) for one in (coder, clean, spoilt))
    assert good > best - 0.05 and poor < good - 0.1
    assert isinstance(coder, SAELensCoder) and isinstance(spoilt, SAELensCoder)
    record = coder.record["sinks"]
    assert (record["n_sinks"], record["n_tokens"]) == (120, len(acts))
    assert 0.9 < record["variance_share"] <= 1 and record["limit"] > 0
    assert spoilt.record["sinks"]["n_sinks"] == 0 and spoilt.record["config"]["include_sinks"] is True
    coder.save(tmp_path / "c")
    again = load_coder(tmp_path / "c", host=host)
    assert isinstance(again, SAELensCoder) and again.record["sinks"] == record


def test_a_store_and_a_tensor_lose_the_same_sinks(tmp_path: Path) -> None:
    host = sink_host()
    acts = capture(host, texts_with(n=120), ["resid_post.2"], progress=False)
    stored = capture(host, texts_with(n=120), ["resid_post.2"], out=tmp_path / "store", progress=False)
    rows = acts.at("resid_post.2")
    coders = [
        train_coder(acts, QUICK, progress=False),
        train_coder(stored, QUICK, progress=False),
        train_coder(rows, QUICK, site="resid_post.2", host=host, progress=False),
    ]
    assert len({coder.weight_hash for coder in coders[:2]}) == 1
    for coder in coders:
        assert isinstance(coder, SAELensCoder) and coder.record["sinks"]["n_sinks"] == 120
    assert torch.equal(stored.positions(torch.arange(len(stored))), positions(acts))
    assert (stored.longest, acts.longest) == (31, 31)


@pytest.mark.parametrize("name", ["tiny-when", "tiny-how", "tiny-stealth", "tiny-rotated"])
def test_the_organisms_have_no_sink_so_no_number_of_theirs_changes(name: str) -> None:
    pair = rm.load_pair(name)
    rollouts = rm.generate(
        pair.thinking, rm.load_task("chain", n=5), decode=rm.Decode(max_new_tokens=160), progress=False
    )
    for host in (pair.base, pair.thinking):
        sites = [f"{kind}.{layer}" for layer in range(host.n_layers) for kind in host.kinds]
        acts = capture(host, rollouts, sites, progress=False)
        one = capture(host, rollouts[:1], sites, progress=False)
        for site in sites:
            assert sinks_of(acts, site).n_sinks == sinks_of(one, site).n_sinks == 0, site
            rows = torch.arange(len(acts))
            plain = (
                torch.stack([acts.take(site, c).float().double().sum(0) for c in rows.split(8192)]).sum(0)
                / len(acts)
            ).float()
            assert torch.equal(mean_of(acts, Whole(site)), plain)


@pytest.fixture(scope="module")
def smollm2() -> Host:
    return smollm2_host()


def test_real_first_tokens_are_sinks(smollm2: Host) -> None:
    document = "".join((Path(rm.__file__).parents[1] / name).read_text() for name in ("README.md",))
    ids = smollm2.tokenizer.encode(document, add_special_tokens=False)[: 32 * 12]
    texts = [smollm2.decode(ids[i : i + 32]) for i in range(0, len(ids), 32)]
    acts = capture(smollm2, texts, ["resid_post.4", "resid_post.10", "resid_post.12"], progress=False)
    x, first = acts.at("resid_post.12"), positions(acts) == 0
    assert x[first].norm(dim=-1).median() > 100 * x[~first].norm(dim=-1).median()
    sinks = sinks_of(acts, "resid_post.12")
    assert sinks.first and 0.95 < sinks.variance_share <= 1
    assert int(first.sum()) <= sinks.n_sinks <= int(first.sum()) + 8
    assert sinks_of(acts, "resid_post.4").first  # eight medians there
    assert sinks_of(acts, "resid_post.10").n_sinks == 0  # and none
    with pytest.warns(UserWarning, match="attention sinks"):
        mean = mean_of(acts, Whole("resid_post.12"))
    rest = x[~first].mean(0)
    assert mean.norm() < x[~first].norm(dim=-1).median()
    assert torch.cosine_similarity(mean, rest, dim=0) > 0.9


@pytest.mark.real_model
def test_a_real_prompt_of_one_token_makes_no_direction(smollm2: Host) -> None:
    site, prompts = "resid_post.12", rm.features.ContrastivePrompts
    for positive, negative in (
        (["Love", "Joy"], ["Hatred of it", "Sadness of it"]),
        (["I feel: Love", "Love"], ["I feel: Hatred", "I feel: Sadness"]),
        (["Love"], ["Hate"]),
    ):
        with pytest.raises(DataError, match="is its first, and first tokens are attention sinks"):
            rm.direction(smollm2, prompts(positive, negative), site=site)
        rm.direction(smollm2, prompts(positive, negative, position=0), site=site)
        rm.direction(smollm2, prompts(positive, negative), site="resid_post.10")  # no sink there
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    chats = [[template.format(word)] for word in ("Is it good?", "Is it bad?")]
    for at in range(smollm2.n_layers):  # sinks at the end of all texts alike are read
        rm.direction(smollm2, prompts(*chats), site=f"resid_post.{at}")


@pytest.mark.real_model
def test_a_real_coder_said_to_be_a_layer_off_is_refused(smollm2: Host, tmp_path: Path) -> None:
    names = ("README.md", "docs/statistics.md", "docs/scores.md", "docs/falsify.md")
    document = "".join((Path(rm.__file__).parents[1] / name).read_text() for name in names)
    ids = smollm2.tokenizer.encode(document, add_special_tokens=False)[: 64 * 60]
    texts = [smollm2.decode(ids[i : i + 64]) for i in range(0, len(ids), 64)]
    config = CoderConfig(architecture="topk", d_sae=512, k=16, steps=120, batch_size=512, lr=2e-3)
    acts = capture(smollm2, texts[:-8], ["resid_post.12"], progress=False)
    coder = train_coder(acts, config, host=smollm2, progress=False)
    report = check_fit(smollm2, coder, texts[-8:], progress=False)
    assert report.explained_variance > 0.02 + max(report.neighbours.values())
    assert report.ce_recovered > 0.5 and report.n_left_out >= 8 and report.left_out_variance > 0.95
    wrong = labelled(coder, tmp_path / "c", 13, smollm2)
    with pytest.raises(MismatchError, match=r"at resid_post\.13, where .* at resid_post\.12"):
        check_fit(smollm2, wrong, texts[-8:], progress=False)


def test_what_features_do_is_not_what_they_do_at_sinks() -> None:
    host = sink_host()
    acts = capture(host, texts_with(), SITES, progress=False)
    x, first = acts.at("resid_post.1"), positions(acts) == 0
    coder = tiny_coder(host)
    stats, plain = rm.features.feature_stats(coder, x), rm.features.feature_stats(coder, x[~first])
    assert (stats.n_left_out, plain.n_left_out) == (N_TEXTS, 0)
    assert "40 sinks left out" in repr(stats)
    for name in ("rate", "mean_active", "effect"):
        assert np.array_equal(getattr(stats, name), getattr(plain, name))


def test_a_direction_is_not_that_of_a_sink() -> None:
    host = sink_host()
    acts = capture(host, texts_with(), SITES, progress=False)
    index = acts.index
    position = index["position"].to_numpy()
    labels = rm.Labels(
        "even",
        "recognises",
        index["rollout"].to_numpy(),
        position,
        position % 2 == 0,
        index["problem"].to_numpy(str),
    )
    kept = labels.take(np.flatnonzero(position > 0))
    with pytest.warns(UserWarning, match=f"without {N_TEXTS} of {len(labels)} rows"):
        fitted = rm.direction(acts, labels, site="resid_post.2")
    assert torch.equal(fitted.vector, rm.direction(acts, kept, site="resid_post.2").vector)
    sink = torch.nn.functional.normalize(acts.at("resid_post.2")[positions(acts) == 0].mean(0), dim=0)
    assert abs(float(fitted.vector @ sink)) < 0.9
    firsts = rm.features.ContrastivePrompts(["w0 w1", "w0 w2"], ["w3 w1", "w4 w2"], position=0)
    rm.direction(host, firsts, site="resid_post.2")  # who asks for first tokens gets them, without a warning


def test_contrastive_prompts_that_are_read_at_a_sink_are_refused() -> None:
    host, site = sink_host(), "resid_post.2"
    prompts = rm.features.ContrastivePrompts
    for positive, negative, number in (
        (["w0", "w0"], ["w0 w3 w1", "w0 w4 w2"], 2),
        (["w0 w5", "w0"], ["w0 w3 w1", "w0 w4 w2"], 1),
        (["w0 w1", "w0 w2"], ["w0 w3 w1", "w0"], 1),
    ):
        message = rf"token -1 of 'w0' is its first, .* at resid_post\.2 \({number} of 4 texts\)"
        with pytest.raises(DataError, match=message):
            rm.direction(host, prompts(positive, negative), site=site)
    with pytest.raises(DataError, match="token -2 of 'w0 w1' is its first"):
        rm.direction(host, prompts(["w0 w1"], ["w0 w3 w1 w2"], position=-2), site=site)
    with pytest.raises(DataError, match=r"(?s)token -1 of 'w3 w1 w2 w0' is an attention sink.*end alike"):
        many = [f"w{i} w1 w2 w{i + 1} w4 w5 w6" for i in range(3, 12)]
        rm.direction(host, prompts(["w3 w1 w2 w0", *many], ["w4 w2 w1 w3", *many[::-1]]), site=site)
    plain = tiny_host()
    rm.direction(plain, prompts(["w0"], ["w3"]), site=site)  # a model without sinks has none


def test_parts_of_several_captures_are_one() -> None:
    host = tiny_host()
    texts = texts_with("w5")
    whole = capture(host, texts, SITES, progress=False)
    parts = [capture(host, part, SITES, progress=False) for part in (texts[:7], texts[7:8], texts[8:])]
    both = joined(parts)
    rows = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    assert torch.equal(both.take("resid_post.2", rows), whole.take("resid_post.2", rows))
    assert torch.equal(both.positions(rows), whole.positions(rows))
    columns = ["rollout", "position", "token"]
    assert both.index[columns].reset_index(drop=True).equals(whole.index[columns])
    trained = [train_coder(acts, QUICK, site="resid_post.2", progress=False) for acts in (both, whole)]
    assert trained[0].weight_hash == trained[1].weight_hash
    with pytest.raises(MismatchError, match="part 1"):
        joined([parts[0], capture(host, texts, SITES[:1], progress=False)])
    with pytest.raises(DataError, match="no activations"):
        joined([])


def test_the_mean_of_a_sentence_is_that_of_its_other_tokens() -> None:
    host = sink_host()
    texts = texts_with()
    ids = [host.encode(text) for text in texts]
    none = (False,) * len(ids[0])
    rollouts = [
        rm.runtime.Rollout(rm.Problem(f"p{i}", text, ""), 0, (), tuple(row), none, none, "length", text)
        for i, (text, row) in enumerate(zip(texts, ids, strict=True))
    ]
    acts = capture(host, rollouts, SITES, progress=False)
    sentences = rm.taxonomies.Sentences.of(
        rollouts, [[(0, 1), (0, 4), (4, 9)] for _ in rollouts], texts=[["a", "b", "c"] for _ in rollouts]
    )
    means, x = sentences.means(acts, site="resid_post.2"), acts.at("resid_post.2").reshape(N_TEXTS, 31, 32)
    want = torch.stack([x[:, 0], x[:, 1:4].mean(1), x[:, 4:9].mean(1)], dim=1).flatten(0, 1)
    assert torch.allclose(means, want, atol=1e-4, rtol=1e-5)  # of a sentence of a sink alone, its own


def test_what_is_said_of_a_feature_is_not_said_of_sinks() -> None:
    host = sink_host()
    texts = texts_with(n=12)
    none = (False,) * 31
    rollouts = [
        rm.runtime.Rollout(
            rm.Problem(f"p{i}", text, ""), 0, (), tuple(host.encode(text)), none, none, "length", text
        )
        for i, text in enumerate(texts)
    ]
    acts = capture(host, rollouts, ["resid_post.1"], progress=False)
    x, first = acts.at("resid_post.1"), positions(acts) == 0
    coder = tiny_coder(host)
    feature = int(coder.encode(x[first])[0].argmax())
    values = coder.encode(x)[:, feature].numpy()
    assert values[first.numpy()].min() > 20 * values[~first.numpy()].max()
    traces = [rm.Trace(one, (), tuple(one.text.split())) for one in rollouts]
    (fact,) = feature_facts(Features(coder, (feature,)), host, traces=traces, acts=acts)
    others = values[~first.numpy()]
    assert fact.peak == pytest.approx(float(others.max()))
    assert fact.mean_active == pytest.approx(float(others[others > 0].mean()), rel=1e-5)
    assert fact.rate == pytest.approx(float((others > 0).mean()))
