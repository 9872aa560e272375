"""A plan's canonical form, its tensors and coders in files, is read back as the very plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given, settings
from safetensors.torch import save_file
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.interventions import Intervention, PlanPart, load_plan, plan_fingerprint
from reasonmech.interventions.canonical import tensor_json
from tests.laws.random_plans import HOSTS, host_of, plans


def parts_of(part: PlanPart) -> Iterator[PlanPart]:
    """An axis, an edit, a mask or a gate, and those inside it."""
    yield part
    for value in vars(part).values():
        if isinstance(value, PlanPart):
            yield from parts_of(value)


def tensors_of(intervention: Intervention) -> dict[str, Tensor]:
    """Every tensor of an intervention, by the hash that stands in its canonical form."""
    parts = [p for part in (intervention.axis, intervention.edit, intervention.when) for p in parts_of(part)]
    tensors = [value for part in parts for value in vars(part).values() if isinstance(value, Tensor)]
    return {tensor_json(tensor)["sha256"]: tensor for tensor in tensors}


def coders_of(intervention: Intervention) -> dict[str, SparseCoder]:
    parts = [p for part in (intervention.axis, intervention.when) for p in parts_of(part)]
    coders = [coder for part in parts if (coder := vars(part).get("coder")) is not None]
    return {directory_of(coder.weight_hash, str(coder.site)): coder for coder in coders}


def directory_of(weight_hash: str, site: str) -> str:
    """Random coders of one seed have the same weights at every site of one width."""
    return f"{weight_hash}-{site}"


def as_file(value: Any) -> Any:
    """Canonical JSON as a person would write it: a file for a tensor and a coder, `features` for indices."""
    if isinstance(value, list):
        return [as_file(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "sha256" in value:
        return value | {"file": f"{value['sha256']}.safetensors"}
    if value.get("kind") == "features":
        coder = directory_of(value["coder"], value["site"])
        return {"kind": "features", "coder": coder, "features": value["indices"]}
    return {key: as_file(item) for key, item in value.items()}


def write(plan: list[Intervention], folder: Path) -> Path:
    for intervention in plan:
        for digest, tensor in tensors_of(intervention).items():
            save_file({"tensor": tensor.contiguous()}, folder / f"{digest}.safetensors")
        for name, coder in coders_of(intervention).items():
            if not (folder / name).exists():
                coder.save(folder / name)
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"plan": [as_file(one.to_json()) for one in plan]}))
    return path


@pytest.mark.parametrize("name", HOSTS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_plan_written_down_is_read_back_with_its_fingerprint(name: str, data: st.DataObject) -> None:
    plan = data.draw(plans(name))
    with TemporaryDirectory() as folder:
        again = load_plan(write(plan, Path(folder)), host_of(name))
    assert plan_fingerprint(again) == plan_fingerprint(plan)
    assert [repr(one.where) for one in again] == [repr(one.where) for one in plan]
