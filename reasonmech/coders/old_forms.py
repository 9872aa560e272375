"""What only old files of SAELens say: a layer beside the hook's name, factors that scale what is decoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open

from reasonmech.errors import CorruptFileError, MismatchError

_LAYERS: Final = ("hook_layer", "hook_point_layer")
_HOOKS: Final = ("hook_name", "hook_point")
_FACTORS: Final = ("scaling_factor", "finetuning_scaling_factor")
_NUMBER: Final = re.compile(r"\.(\d+)(?:\.|$)")


def check_old_forms(written: Mapping[str, Any], weights: Path, *, file: str) -> None:
    """Refuse an old record that contradicts itself, and an SAE whose decoder has factors beside it.

    Args:
        written: cfg.json, as it stands.

    Raises:
        CorruptFileError: its layer is another one than its hook's.
        MismatchError: it was finetuned by a factor per feature, which SAELens no longer reads.
    """
    record = {**written.get("metadata", {}), **written}
    for hook in (record[name] for name in _HOOKS if isinstance(record.get(name), str)):
        number = _NUMBER.search(hook)
        for name in _LAYERS:
            layer = record.get(name)
            if number is not None and isinstance(layer, int) and layer != int(number[1]):
                raise CorruptFileError(
                    f"{file} says {name} = {layer}, and the hook {hook!r}",
                    allowed="one layer",
                    do="ask who trained it which one is meant, and mend the other",
                )
    if not record.get("finetuning_scaling_factor"):  # factors all the same contradict it, which SAELens says
        return
    with safe_open(weights, framework="pt") as opened:
        for name in (name for name in opened.keys() if name in _FACTORS):  # noqa: SIM118
            factor = opened.get_tensor(name)
            if name == _FACTORS[1] or not torch.allclose(factor, torch.ones_like(factor)):
                raise MismatchError(
                    f"{weights} was finetuned by a factor for each feature ({name}), which SAELens does "
                    "not read",
                    allowed="SAEs whose factors are in their weights",
                    do=f"multiply row i of W_dec by factor i, take {name} out of the file, and set "
                    "finetuning_scaling_factor to false in cfg.json",
                )
