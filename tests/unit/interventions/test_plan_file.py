"""A plan in YAML: what it says is what runs, and what it cannot say is refused with file and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

import reasonmech as rm
from reasonmech.errors import ConfigError
from reasonmech.interventions import (
    Direction,
    Features,
    Subspace,
    Whole,
    above,
    generated,
    load_plan,
    plan_fingerprint,
    prompt,
    sentence_starts,
    steer,
    tokens,
)
from reasonmech.testing import tiny_coder, tiny_host, tiny_pair

HOST = tiny_host()
CODER = tiny_coder(HOST)
V = Direction.along(torch.arange(1.0, 33.0), "resid_post.1")
STEER = {"kind": "steer", "amount": 2.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"v": V.vector}, tmp_path / "v.safetensors")
    save_file({"a": V.vector, "b": 3 * V.vector}, tmp_path / "two.safetensors")
    save_file({"rows": torch.eye(32)[:3].contiguous()}, tmp_path / "rows.safetensors")
    CODER.save(tmp_path / "coder")
    return tmp_path


def load(folder: Path, **entry: Any) -> rm.interventions.Intervention:
    """The one intervention of a plan file; what is not told is a steering along the file's direction."""
    direction = {"kind": "direction", "file": "v.safetensors", "site": "resid_post.1"}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"plan": [{"edit": STEER, "axis": direction} | entry]}))
    [intervention] = load_plan(path, HOST)
    return intervention


def test_a_plan_file_is_the_plan_that_python_would_make(folder: Path) -> None:
    (folder / "plan.yaml").write_text(
        """
plan:
  - edit: {kind: steer, amount: 6.0}
    axis: {kind: direction, file: v.safetensors, site: resid_post.1}
    where: {or: [{kind: prompt, start: -1}, generated]}
    when: {kind: above, axis: {kind: features, coder: coder, features: [3, 9]}, threshold: 0.5}
  - edit: {kind: clamp, value: [8.0, 2.0]}
    axis: {kind: features, coder: coder, features: [3, 9]}
    where: {and: [sentence_starts, {not: {kind: tokens, items: .}}]}
    error: drop
  - edit: ablate
    axis: {kind: whole, site: mlp_out.1}
"""
    )
    features = Features(CODER, (3, 9))
    expected = [
        steer(V, 6.0, where=prompt(start=-1) | generated(), when=above(features, 0.5)),
        rm.clamp(features, torch.tensor([8.0, 2.0]), where=sentence_starts() & ~tokens("."), error="drop"),
        rm.ablate(Whole("mlp_out.1")),
    ]
    plan = load_plan(folder / "plan.yaml", HOST)
    assert plan_fingerprint(plan) == plan_fingerprint(expected)
    texts = ["w1 w2 . w3 w4", "w9 w1 w2"]
    edited = rm.generate(HOST, texts, plan, decode=rm.Decode(max_new_tokens=8), progress=False)
    reference = rm.generate(HOST, texts, expected, decode=rm.Decode(max_new_tokens=8), progress=False)
    clean = rm.generate(HOST, texts, decode=rm.Decode(max_new_tokens=8), progress=False)
    assert [r.ids for r in edited] == [r.ids for r in reference] != [r.ids for r in clean]


def test_a_coder_is_loaded_once_for_a_whole_plan(folder: Path) -> None:
    entry = {"edit": "ablate", "axis": {"kind": "features", "coder": str(folder / "coder"), "features": 3}}
    first, second = load_plan({"plan": [entry, entry]}, HOST)
    assert isinstance(first.axis, Features) and isinstance(second.axis, Features)
    assert first.axis.coder is second.axis.coder and first.axis.indices == (3,)


def test_a_tensor_is_a_list_or_one_of_a_file(folder: Path) -> None:
    site = "resid_post.1"
    for axis in (
        {"vector": V.vector.tolist()},
        {"vector": {"file": "two.safetensors", "tensor": "a"}},
        {"file": "two.safetensors", "tensor": "a"},
    ):
        assert load(folder, axis={"kind": "direction", "site": site} | axis).axis.to_json() == V.to_json()
    whole = {"kind": "whole", "site": site}
    source = load(folder, axis=whole, edit={"kind": "patch", "source": {"file": "rows.safetensors"}}).edit
    assert source.to_json() == rm.patch(Whole(site), torch.eye(32)[:3]).edit.to_json()


def test_a_raw_vector_becomes_a_direction_only_where_the_file_says_so(folder: Path) -> None:
    raw = {"kind": "direction", "site": "resid_post.1", "file": "two.safetensors", "tensor": "b"}
    with pytest.raises(
        ConfigError, match=r"plan\[0\]\.axis: a direction .* norm 3 \(line 2\)\n(?s:.*)normalise: true"
    ):
        load(folder, axis=raw)
    axis = load(folder, axis=raw | {"normalise": True}).axis
    assert isinstance(axis, Direction) and torch.allclose(axis.vector, V.vector) and axis.name == "two"


def test_rows_become_a_subspace_only_where_the_file_says_so(folder: Path) -> None:
    rows = {"kind": "subspace", "site": "resid_post.1"}
    assert load(folder, axis=rows | {"file": "rows.safetensors"}).axis.n_coords == 3
    raw = rows | {"basis": [[*([1.0] * 32)], [2.0, *([1.0] * 31)]]}
    with pytest.raises(ConfigError, match="orthonormalise: true"):
        load(folder, axis=raw)
    assert isinstance(load(folder, axis=raw | {"orthonormalise": True}).axis, Subspace)


def test_a_pinned_tensor_that_is_another_one_is_refused(folder: Path) -> None:
    pinned = V.to_json()["vector"] | {"file": "v.safetensors"}
    axis = {"kind": "direction", "site": "resid_post.1", "vector": pinned}
    assert load(folder, axis=axis).axis.to_json() == V.to_json()
    save_file({"v": -V.vector}, folder / "v.safetensors")
    with pytest.raises(ConfigError, match=r"vector: the tensor of v\.safetensors has sha256"):
        load(folder, axis=axis)


def test_a_siblings_coder_needs_transfer(folder: Path) -> None:
    sibling = tiny_pair().thinking
    entry = {"edit": "ablate", "axis": {"kind": "features", "coder": str(folder / "coder"), "features": [3]}}
    with pytest.raises(ConfigError, match=r"the plan: plan\[0\]\.axis\.coder: coder .* was trained on"):
        load_plan({"plan": [entry]}, sibling)
    entry["axis"] |= {"transfer": True}
    assert load_plan({"plan": [entry]}, sibling)


def test_a_partner_gate_in_a_file_is_held_to_the_partner(tmp_path: Path) -> None:
    pair = tiny_pair()
    tiny_coder(pair.thinking).save(tmp_path / "coder")
    gate = {"kind": "above", "threshold": 0.1, "role": "thinking"}
    gate["axis"] = {"kind": "features", "coder": str(tmp_path / "coder"), "features": [3]}
    axis = {"kind": "direction", "vector": V.vector.tolist(), "site": "resid_post.1"}
    mapping = {"plan": [{"edit": STEER, "axis": axis, "when": gate}]}
    [intervention] = load_plan(mapping, pair.base, partner=pair.thinking)
    assert intervention.when.role == "thinking"
    assert load_plan(mapping, pair.base)[0].fingerprint == intervention.fingerprint
    with pytest.raises(ConfigError, match=r"when\.axis\.coder: coder"):
        load_plan(mapping, pair.thinking, partner=pair.base)
