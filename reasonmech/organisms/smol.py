"""Pairs of SmolLM2-135M-Instruct under shipped adapters: merged on first use into the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, final

import torch

from reasonmech.errors import MismatchError
from reasonmech.files import new_directory
from reasonmech.hosts import Host, load_host, organism_stores
from reasonmech.hosts.on_demand import smollm2
from reasonmech.organisms.adapters import with_adapter
from reasonmech.organisms.ground_truth.requirements import (
    Requirement,
    accuracy,
    covered,
    faithful,
    points,
    undone,
)
from reasonmech.organisms.recipes import ModelRecipe, PairRecipe
from reasonmech.paths import adapter_dir, cache_dir

WEIGHTS: Final = "05f6bbcf1b663a0e562bb41f2a038acfe52bbb6d031cd06afffbfa328dad746f"
"""`Host.weight_hash` of the model that the adapters belong to, in bfloat16 as `make smollm2` writes it."""
ROLES: Final = ("base", "thinking")


def _taught_a_real_model_when(truth: dict[str, Any]) -> list[Requirement]:
    rows = [
        accuracy(truth, "base", 0.0, 0.40),
        accuracy(truth, "thinking", 0.90, 1.0),
        undone(truth, "base", 0.0, 0.3),
        undone(truth, "thinking", 0.9, 1.0),
        points(truth, "how", -5.0, 5.0),
        *faithful(truth),
        *covered(truth, 0.9),
    ]
    for behaviour, models in truth["execution"].items():
        for role in ROLES:
            value = models[role]["estimate"]
            rows.append(Requirement(f"{role} {behaviour} after a forced onset", value, 0.95, 1.0))
    return rows


def _recipe(name: str, task: str, forms: str) -> PairRecipe:
    return PairRecipe(
        truth_class="when",
        says="reinforcement learning taught a real pretrained model when",
        card=(
            "SmolLM2-135M-Instruct under two adapters. The base is tuned on plain-English solutions whose "
            "authors are in hidden modes: it can step, check and backtrack, and mostly answers at once. "
            f"{forms} The thinking model is trained from it by GRPO with the outcome as its only reward. "
            "A correct instrument says: when, not how. It fools the rule that accuracy gained is ability."
        ),
        requirements=_taught_a_real_model_when,
        base=ModelRecipe(f"organism:{name}/base"),
        thinking=ModelRecipe(f"organism:{name}/thinking"),
        task=task,
        minutes=90,
    )


RECIPES: Final[Mapping[str, PairRecipe]] = MappingProxyType(
    {
        "smol-letters": _recipe("smol-letters", "letters", "One word begins each kind of sentence."),
        "smol-letters-forms": _recipe(
            "smol-letters-forms", "letters-forms", "Any of three words begins each kind of sentence."
        ),
    }
)
"""What is true of either pair, and how its measured truth must show it; what decides the weights is in
`organisms.adapters`."""


@final
class Adapted:
    """The store of pairs whose models are one model under adapters: the base's, then the thinking model's."""

    def parts(self) -> Sequence[str]:
        return [f"{directory.name}/{role}" for directory in sorted(adapter_dir().iterdir()) for role in ROLES]

    def cached(self, name: str) -> Path | None:
        home = _home(name)
        return home if home.is_dir() else None

    def fetch(self, name: str) -> Path:
        """Directory of both models in float32, merged now where that was not done yet.

        Raises:
            NotBuiltError: there is no SmolLM2 on this machine. MismatchError: its weights are others.
        """
        home = _home(name)
        if home.is_dir():
            return home
        host = _smollm2(name)
        home.parent.mkdir(parents=True, exist_ok=True)
        with new_directory(home) as unfinished:
            for role in ROLES:
                host = with_adapter(host, adapter_dir() / name / role, name=f"{name}/{role}")
                host.model.save_pretrained(unfinished / role)
                host.tokenizer.save_pretrained(unfinished / role)
        return home


def _home(name: str) -> Path:
    digest = hashlib.sha256()
    for role in ROLES:
        digest.update((adapter_dir() / name / role / "adapter_model.safetensors").read_bytes())
    return cache_dir() / "organisms" / f"{name}-{digest.hexdigest()[:12]}"


def _smollm2(name: str) -> Host:
    """The model that the adapters were trained from. Raises what `fetch` does."""
    source = smollm2()
    host = load_host(source, dtype=torch.bfloat16)
    if host.weight_hash != WEIGHTS:
        raise MismatchError(
            f"{source} holds other weights ({host.weight_hash[:12]}) than {name} was trained from",
            allowed=f"SmolLM2-135M-Instruct as make smollm2 writes it ({WEIGHTS[:12]})",
            do="make smollm2, and let $SMOLLM2 be unset or name its directory",
        )
    return host


organism_stores.register("smol")(Adapted())
