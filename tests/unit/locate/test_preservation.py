"""behaviour_preservation: P(onset) under a coder's reconstruction, against passes of single texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.errors import DataError, MismatchError
from reasonmech.hosts import Host
from reasonmech.labels import Labels
from reasonmech.locate import behaviour_preservation
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.site import Site
from reasonmech.testing import tiny_coder, tiny_host

ONSET = (7, 9)


@pytest.fixture(scope="module")
def host() -> Host:
    return tiny_host()


@pytest.fixture(scope="module")
def rollouts() -> list[Rollout]:
    rng = np.random.default_rng(0)
    ids = [tuple(int(t) for t in rng.integers(6, 64, 8 + i % 5)) for i in range(12)]
    flags = [(False,) * (len(t) - 3) for t in ids]
    return [
        Rollout(Problem(f"p{i // 2}", "", ""), 0, t[:3], t[3:], f, f, "eos", "")
        for i, (t, f) in enumerate(zip(ids, flags, strict=True))
    ]


@pytest.fixture(scope="module")
def labels(rollouts: list[Rollout]) -> Labels:
    rows = [(r, p, p == 4, f"p{r // 2}") for r in range(12) for p in (4, 6)]
    return Labels("check", "anticipates", *(np.array(column) for column in zip(*rows, strict=True)))


def probabilities(
    host: Host, coder: SparseCoder | None, rollouts: list[Rollout], labels: Labels
) -> list[float]:
    """P(onset) at every row, one unpadded text per pass; under reconstruction if there is a coder."""

    def splice(x: Tensor) -> Tensor:
        assert coder is not None
        return coder.decode(coder.encode(x))

    handle = None if coder is None else host.hook_point(coder.site).attach(splice)
    onset = []
    with torch.no_grad():
        for r, position in zip(labels.rollout, labels.position, strict=True):
            logits = host.model(torch.tensor([rollouts[r].all_ids[: position + 1]])).logits[0, -1]
            onset.append(float(logits.double().softmax(-1)[list(ONSET)].sum()))
    if handle is not None:
        handle.remove()
    return onset


@pytest.mark.parametrize("layer", [1, 3])  # the last layer: what is captured there is the reconstruction
def test_hazards_are_those_of_single_passes(host: Host, rollouts, labels: Labels, layer: int) -> None:
    coder = tiny_coder(host, f"resid_post.{layer}", d_sae=48, k=6)
    preservation = behaviour_preservation(
        host, coder, rollouts=rollouts, labels=labels, onset_ids=ONSET, draws=50
    )
    clean, spliced = (np.mean(probabilities(host, splice, rollouts, labels)) for splice in (None, coder))
    assert clean != spliced
    assert preservation.clean.estimate == pytest.approx(clean, rel=1e-5)
    assert preservation.spliced.estimate == pytest.approx(spliced, rel=1e-5)
    assert preservation.ratio.estimate == pytest.approx(spliced / clean, rel=1e-5)
    assert preservation.ratio.low < preservation.ratio.estimate < preservation.ratio.high
    assert 0 < preservation.error_share.estimate < 1
    assert (preservation.n_rows, preservation.n_effects) == (24, 24)
    assert "ratio" in str(preservation)


def test_the_share_of_the_error_node_is_that_of_gradients(host: Host, rollouts, labels: Labels) -> None:
    coder, site = tiny_coder(host, "resid_post.1", d_sae=48, k=6), Site("resid_post", 1)
    features, error = [], []
    for r, position in zip(labels.rollout, labels.position, strict=True):
        held: list[Tensor] = []

        def watch(x: Tensor, held: list[Tensor] = held) -> Tensor:
            held.append(x.detach().requires_grad_())
            return held[0]

        handle = host.hook_point(site).attach(watch)
        try:
            p = host.model(torch.tensor([rollouts[r].all_ids[: position + 1]])).logits[0, -1].softmax(-1)
        finally:
            handle.remove()
        onset = p[list(ONSET)].sum()
        (slope,) = torch.autograd.grad((onset / (1 - onset)).log(), held[0])
        with torch.no_grad():
            x, g = held[0][0, -1], slope[0, -1]
            f = coder.encode(x)
            features.append(abs(float(g @ (f @ coder.rows(range(48))))))
            error.append(abs(float(g @ (x - coder.decode(f)))))
    preservation = behaviour_preservation(
        host, coder, rollouts=rollouts, labels=labels, onset_ids=ONSET, draws=50
    )
    assert preservation.error_share.estimate == pytest.approx(
        sum(error) / (sum(error) + sum(features)), rel=1e-4
    )


def test_the_host_is_left_as_it_was(host: Host, rollouts, labels: Labels) -> None:
    before = probabilities(host, None, rollouts, labels)
    broken = tiny_coder(host, "resid_post.1", d_sae=48, k=6)
    behaviour_preservation(host, broken, rollouts=rollouts, labels=labels, onset_ids=ONSET, draws=50)
    with pytest.raises(DataError, match="no such token"):
        behaviour_preservation(host, broken, rollouts=rollouts, labels=labels, onset_ids=[10**6], draws=50)
    assert probabilities(host, None, rollouts, labels) == before


def test_labels_coders_and_onset_ids_that_do_not_fit_are_refused(
    host: Host, rollouts, labels: Labels
) -> None:
    coder = tiny_coder(host, "resid_post.1", d_sae=48, k=6)
    recognised = replace(labels, mode="recognises")
    with pytest.raises(DataError, match="recognise"):
        behaviour_preservation(host, coder, rollouts=rollouts, labels=recognised, onset_ids=ONSET)
    with pytest.raises(DataError, match="no onset token"):
        behaviour_preservation(host, coder, rollouts=rollouts, labels=labels, onset_ids=[])
    few = replace(labels, problem=np.array(["p0"] * len(labels)))
    with pytest.raises(DataError, match="1 problems"):
        behaviour_preservation(host, coder, rollouts=rollouts, labels=few, onset_ids=ONSET)
    with pytest.raises(MismatchError, match="made from other rollouts"):
        behaviour_preservation(host, coder, rollouts=rollouts[::-1], labels=labels, onset_ids=ONSET)
    with pytest.raises(MismatchError, match="trained on a model"):
        other = tiny_coder(tiny_host(seed=1), "resid_post.1")
        behaviour_preservation(host, other, rollouts=rollouts, labels=labels, onset_ids=ONSET)
