"""The public test helpers: they pass what obeys the laws and catch what does not."""

from collections.abc import Callable

import pytest
import torch

from reasonmech.errors import ArgumentError, DataError, ReasonmechError, UnknownNameError
from reasonmech.interventions.axes import Axis, Features, Whole
from reasonmech.interventions.edits import Ablate, Clamp, Edit, Patch, Place, Scale, Steer
from reasonmech.interventions.masks import Everywhere
from reasonmech.testing import (
    ARCHITECTURES,
    assert_causal,
    assert_edit_laws,
    tiny_coder,
    tiny_host,
    tiny_pair,
    tiny_tokenizer,
)


@pytest.mark.parametrize(
    "edit", [Ablate(), Ablate(2.0), Clamp(1.5), Scale(-2.0), Steer(0.5), Patch(torch.ones(32))]
)
def test_every_edit_obeys_the_laws_on_every_axis(edit: Edit) -> None:
    assert_edit_laws(edit)
    assert_edit_laws(edit, axis=Features(tiny_coder(tiny_host()), (1, 2, 3)))
    if isinstance(edit, Ablate | Patch):
        assert_edit_laws(edit, axis=Whole("resid_post.1"))


class Broken(Edit):
    kind = "broken"

    def check(self, axis: Axis) -> None:
        pass

    def to_json(self) -> dict[str, object]:
        return {"kind": self.kind}


class MixesTokens(Broken):
    def new(self, coords: torch.Tensor, axis: Axis, place: Place) -> torch.Tensor:
        return coords - coords.mean(0)


class InPlace(Broken):
    def new(self, coords: torch.Tensor, axis: Axis, place: Place) -> torch.Tensor:
        coords.data.zero_()
        return coords


class Random(Broken):
    def new(self, coords: torch.Tensor, axis: Axis, place: Place) -> torch.Tensor:
        return coords * torch.rand(1)


@pytest.mark.parametrize(
    ("edit", "message"),
    [(MixesTokens(), "mixes tokens"), (InPlace(), "in place"), (Random(), "deterministic")],
)
def test_assert_edit_laws_raises_on_a_broken_edit(edit: Edit, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_edit_laws(edit)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tiny_host(d_model=30), DataError, "multiple of 8"),
        (lambda: tiny_host(n_layers=0), DataError, "0 layers"),
        (lambda: tiny_host(vocab_size=6), DataError, "vocab_size 6"),
        (lambda: tiny_coder(tiny_pair()), ArgumentError, "host is a ModelPair"),
        (lambda: tiny_coder(tiny_host(), k=65), DataError, "k 65 of 64"),
        (lambda: assert_causal("."), ArgumentError, "where is the string"),
        (lambda: assert_edit_laws(2.0), ArgumentError, "edit is the number"),
    ],
)
def test_a_helper_refuses_a_wrong_argument_in_three_parts(
    call: Callable[[], object], error: type[ReasonmechError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert caught.value.allowed


def test_tiny_hosts_are_seeded_and_small() -> None:
    a, b, other = tiny_host(), tiny_host(), tiny_host(seed=1)
    assert a.weight_hash == b.weight_hash != other.weight_hash
    assert tiny_host(dtype=torch.bfloat16).dtype == torch.bfloat16
    assert all(tiny_host(arch).n_layers == 4 for arch in ARCHITECTURES)
    with pytest.raises(UnknownNameError, match="llama"):
        tiny_host("bert")
    assert tiny_tokenizer().encode("w0 <think> .") == [6, 4, 3]
    assert_causal(Everywhere(), seeds=2)


def test_a_tiny_pair_shares_its_vocabulary_and_not_its_weights() -> None:
    pair = tiny_pair()
    assert pair.base.weight_hash != pair.thinking.weight_hash
    assert pair.base.tokenizer.get_vocab() == pair.thinking.tokenizer.get_vocab()
    assert pair.think_tags == ("<think>", "</think>")


def test_a_tiny_coder_belongs_to_its_host() -> None:
    host = tiny_host()
    coder = tiny_coder(host, "mlp_out.2", d_sae=48, k=3)
    assert (str(coder.site), coder.d_sae, coder.model_hash) == ("mlp_out.2", 48, host.weight_hash)
    assert ((coder.encode(torch.randn(5, 32)) != 0).sum(-1) <= 3).all()
