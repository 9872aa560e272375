"""A direction, an edit, a mask, a gate and an intervention print as one line without a tensor's numbers."""

from __future__ import annotations

import pytest
import torch

import reasonmech as rm
from reasonmech.interventions import (
    always,
    below,
    disagree,
    everywhere,
    inside,
    ramp,
    sentence_starts,
    uncertain_above,
)
from reasonmech.interventions.masks import PrecomputedMask
from reasonmech.testing import tiny_coder, tiny_host

CODER = tiny_coder(tiny_host())
V = rm.Direction.along(torch.arange(1.0, 33.0), "resid_post.2", name="check")
FEATURES = rm.Features(CODER, (3, 9))
NAME = repr(CODER.name)

SHOWN = {
    "Direction('check', resid_post.2, width 32)": V,
    "Direction(z.1.2, width 8)": rm.Direction.along(torch.ones(8), "z.1.2"),
    f"Features({NAME}, resid_post.1, [3, 9])": FEATURES,
    f"Features({NAME}, resid_post.1, [0, 1, 2, 3, ... 60 features])": rm.Features(CODER, range(60)),
    "Subspace('plane', resid_mid.1, 2 of 32 dimensions)": rm.Subspace(
        torch.eye(32)[:2], "resid_mid.1", "plane"
    ),
    "Whole(mlp_out.1)": rm.Whole("mlp_out.1"),
    "Ablate()": rm.ablate(V).edit,
    "Ablate(value=Tensor[2])": rm.ablate(FEATURES, value=torch.ones(2)).edit,
    "Clamp(value=8.0)": rm.clamp(FEATURES, 8.0).edit,
    "Scale(factor=0.5)": rm.scale(V, 0.5).edit,
    "Steer(amount=Tensor[32])": rm.steer(rm.Whole("mlp_out.1"), torch.ones(32)).edit,
    "Patch(source=Tensor[40, 32])": rm.patch(V, torch.ones(40, 32)).edit,
    "(generated(start=1) & ~tokens(items=('w1',)))": rm.generated(1) & ~rm.tokens("w1"),
    "(prompt(start=-1) | everywhere())": rm.prompt(start=-1) | everywhere(),
    "at(3, 5)": rm.at(3, 5),
    "at(per_row=2 rows)": rm.at(per_row=[(3,), (5, 6)]),
    "inside(open='<think>', close='</think>')": inside("<think>", "</think>"),
    "sentence_starts()": sentence_starts(),
    "labelled(name='mine')": rm.labelled("mine"),
    "Always()": always(),
    "Above(axis=Direction('check', resid_post.2, width 32), threshold=0.5)": rm.above(V, 0.5),
    "Below(axis=Direction('check', resid_post.2, width 32), role='base', threshold=1)": below(
        V, 1, role="base"
    ),
    "Ramp(axis=Direction('check', resid_post.2, width 32), lo=0.0, hi=1.0)": ramp(V, 0.0, 1.0),
    "Disagree()": disagree(),
    "UncertainAbove(threshold=0.5)": uncertain_above(0.5),
    "Intervention(Direction('check', resid_post.2, width 32), Steer(amount=4.0))": rm.steer(V, 4.0),
    "Intervention(Whole(z.1), Ablate(), where=generated(), when=UncertainAbove(threshold=0.5))": rm.ablate(
        rm.Whole("z.1"), where=rm.generated(), when=uncertain_above(0.5)
    ),
}


@pytest.mark.parametrize(
    "shown", SHOWN, ids=[f"part-{i}" for i in range(len(SHOWN))]
)  # workers must agree on ids
def test_a_part_of_a_plan_prints_as_one_line(shown: str) -> None:
    assert repr(SHOWN[shown]) == shown


def test_a_precomputed_mask_prints_no_marks() -> None:
    assert "\n" not in repr(PrecomputedMask(torch.ones(50, 50).bool()))
    assert "tensor(" not in repr(PrecomputedMask(torch.ones(50, 50).bool()))
