"""What a plan file cannot say is refused in three parts, with the file and the place in it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from reasonmech.errors import ArgumentError, ConfigError
from reasonmech.interventions import load_plan
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
STEER = {"kind": "steer", "amount": 2.0}
DIRECTION = {"kind": "direction", "file": "v.safetensors", "site": "resid_post.1"}
FEATURES = {"kind": "features", "coder": "coder", "features": [3]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans")
    save_file({"v": torch.eye(32)[0].contiguous()}, path / "v.safetensors")
    save_file({"v": torch.eye(16)[0].contiguous()}, path / "narrow.safetensors")
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, path / "two.safetensors")
    (path / "damaged.safetensors").write_bytes(b"no")
    (path / "pickled.pt").write_bytes(b"no")
    tiny_coder(HOST).save(path / "coder")
    return path


ENTRIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown edit": ({"edit": {"kind": "stear"}}, r"plan\[0\]\.edit: unknown edit 'stear': did", "steer"),
    "an edit without a kind": (
        {"edit": {"amount": 2.0}},
        r"plan\[0\]\.edit is a dict",
        "a mapping with a kind",
    ),
    "a number as edit": ({"edit": 2.0}, r"plan\[0\]\.edit is the number 2\.0", "ablate, clamp"),
    "an unknown setting": (
        {"edit": {"kind": "steer", "amont": 2.0}},
        r"plan\[0\]\.edit: unknown setting of edit 'steer' 'amont': did you mean 'amount'",
        "amount",
    ),
    "a missing setting": (
        {"edit": {"kind": "steer"}},
        r"plan\[0\]\.edit: edit 'steer' lacks amount",
        "amount",
    ),
    "an amount as text": (
        {"edit": {"kind": "steer", "amount": "6"}},
        r"plan\[0\]\.edit\.amount is the string '6'",
        "valid number",
    ),
    "an amount that is true": (
        {"edit": {"kind": "steer", "amount": True}},
        r"edit\.amount is the truth value",
        "valid number",
    ),
    "an amount that is a date": (
        {"edit": {"kind": "steer", "amount": datetime.date(2026, 1, 1)}},
        r"edit\.amount is a date",
        "numbers",
    ),
    "words in a list": ({"edit": {"kind": "steer", "amount": ["a"]}}, r"edit\.amount is a list", "numbers"),
    "an unknown axis": (
        {"axis": {"kind": "directoin"}},
        r"plan\[0\]\.axis: unknown axis .*'direction'",
        "whole",
    ),
    "an unknown site": (
        {"axis": DIRECTION | {"site": "resid_pots.1"}},
        r"plan\[0\]\.axis\.site: unknown site 'resid_pots\.1'",
        r"resid_post\.LAYER",
    ),
    "a layer too many": (
        {"axis": DIRECTION | {"site": "z.9"}},
        r"plan\[0\]\.axis: unknown site 'z\.9'",
        r"z\.0",
    ),
    "a number as site": (
        {"axis": {"kind": "whole", "site": 3}},
        r"axis\.site is the integer 3",
        r"resid_post\.2",
    ),
    "another width": (
        {"axis": DIRECTION | {"file": "narrow.safetensors"}},
        r"plan\[0\]\.axis: direction 'narrow' has 16 dimensions",
        "",
    ),
    "no such file": (
        {"axis": DIRECTION | {"file": "w.safetensors"}},
        r"axis: .*w\.safetensors cannot be read",
        "",
    ),
    "a damaged file": ({"axis": DIRECTION | {"file": "damaged.safetensors"}}, "axis: .*cannot be read", ""),
    "a pickle": (
        {"axis": DIRECTION | {"file": "pickled.pt"}},
        "is a pickle; loading one executes",
        "safetensors",
    ),
    "several tensors": ({"axis": DIRECTION | {"file": "two.safetensors"}}, "axis: .*holds 2 tensors", "a, b"),
    "no such tensor": (
        {"axis": DIRECTION | {"tensor": "w"}},
        r"axis: unknown tensor of v\.safetensors 'w'",
        "v",
    ),
    "a file twice": ({"axis": DIRECTION | {"vector": [1.0]}}, "has both vector and file", "one of them"),
    "a tensor by its hash": (
        {"axis": {"kind": "direction", "site": "z.1", "vector": {"sha256": "0" * 64}}},
        r"axis\.vector is a dict",
        "a list of numbers, or {file:",
    ),
    "no such coder": (
        {"axis": FEATURES | {"coder": "coderr"}},
        r"axis\.coder: unknown coder 'coderr'",
        "release",
    ),
    "a feature too many": ({"axis": FEATURES | {"features": [64]}}, "axis: coder .* has no feature 64", "63"),
    "features as text": (
        {"axis": FEATURES | {"features": "3"}},
        r"axis\.features is the string '3'",
        "integer",
    ),
    "an unknown mask": (
        {"where": "genrated"},
        r"plan\[0\]\.where: unknown mask 'genrated': did you",
        "generated",
    ),
    "an inner mask": (
        {"where": {"and": ["generated", {"not": {"kind": "prompt", "start": "1"}}]}},
        r"plan\[0\]\.where\.and\[1\]\.not\.start is the string '1'",
        "valid integer",
    ),
    "one mask in or": ({"where": {"or": ["generated"]}}, r"where\.or is a list of 1", "two masks or more"),
    "a mask refuses": (
        {"where": {"kind": "generated", "start": -1}},
        r"where: generated\(start=-1",
        "bounds",
    ),
    "no mask": (
        {"where": True},
        r"plan\[0\]\.where is the truth value True",
        "a mapping with a kind of mask",
    ),
    "an unknown gate": ({"when": "alwais"}, r"plan\[0\]\.when: unknown gate 'alwais': did you", "always"),
    "a gate on the whole stream": (
        {"when": {"kind": "above", "axis": {"kind": "whole", "site": "z.1"}, "threshold": 0.0}},
        r"plan\[0\]\.when: a gate on the whole stream",
        "Features, Direction",
    ),
    "an unknown role": (
        {"when": {"kind": "above", "axis": DIRECTION, "threshold": 0.0, "role": "student"}},
        r"when\.role is the string 'student'",
        "'base' or 'thinking'",
    ),
    "an unknown key": (
        {"wehre": "generated"},
        r"plan\[0\]: unknown setting of .* 'wehre': did .*'where'",
        "when",
    ),
    "an unknown error term": (
        {"error": "dorp"},
        r"plan\[0\]\.error is the string 'dorp'",
        "'keep' or 'drop'",
    ),
    "an edit that means nothing": (
        {"edit": {"kind": "clamp", "value": 1.0}, "axis": {"kind": "whole", "site": "z.1"}},
        r"plan\[0\]: clamp has no meaning",
        "Features, Direction",
    ),
}


def test_an_amount_that_is_no_number_is_refused_with_its_line_and_in_a_mapping(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # a mapping's paths are relative to where one is
    entry = {"edit": {"kind": "steer", "amount": float("nan")}, "axis": DIRECTION}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"plan": [entry]}))
    with pytest.raises(ConfigError, match=r"plan\.yaml:7: the number \.nan"):
        load_plan(path, HOST)
    with pytest.raises(ConfigError, match=r"plan\[0\]: the amount of steer is not finite"):
        load_plan({"plan": [entry]}, HOST)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_mistake_names_file_place_and_what_is_allowed(folder: Path, name: str) -> None:
    entry, happened, allowed = ENTRIES[name]
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"plan": [{"edit": STEER, "axis": DIRECTION} | entry]}))
    with pytest.raises(ConfigError, match=happened) as caught:
        load_plan(path, HOST)
    assert caught.value.happened.startswith(f"{path}: plan")
    with pytest.raises(ConfigError, match=f"(?s)Allowed: .*{allowed}" if allowed else "."):
        load_plan(path, HOST)


@pytest.mark.parametrize(
    ("text", "happened"),
    [
        ("plan: [", "is not YAML"),
        ("- edit: ablate", "holds no mapping"),
        ("", "holds no mapping"),
        ("plan: []", "plan is a list of 0"),
        ("plan: ablate", "plan is the string 'ablate'"),
        ("plan: [ablate]", r"plan\[0\] is the string 'ablate'"),
        ("model: here", "plan is None"),
        ("plam: [ablate]", r"unknown key 'plam': did you mean 'plan'"),
        ("plan: [{axis: {kind: whole, site: z.1}}]", r"plan\[0\]: an intervention lacks edit"),
    ],
)
def test_a_file_that_holds_no_plan_says_so(tmp_path: Path, text: str, happened: str) -> None:
    path = tmp_path / "plan.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=happened) as caught:
        load_plan(path, HOST)
    assert str(path) in caught.value.happened


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_plan(tmp_path / "no.yaml", HOST)


@pytest.mark.parametrize("source", [None, 3, torch.ones(2), ["ablate"]])
def test_a_source_that_is_neither_path_nor_mapping_is_refused(source: object) -> None:
    with pytest.raises(ArgumentError, match=r"(?s)source is .*rm\.load_plan"):
        load_plan(source, HOST)  # type: ignore[arg-type]
