"""Pairs of SmolLM2-135M-Instruct under shipped adapters: merged on first use into the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import torch

from reasonmech.errors import MismatchError
from reasonmech.files import new_directory
from reasonmech.hosts import Host, load_host, organism_stores
from reasonmech.hosts.on_demand import smollm2
from reasonmech.organisms.adapters import with_adapter
from reasonmech.paths import adapter_dir, cache_dir

WEIGHTS: Final = "05f6bbcf1b663a0e562bb41f2a038acfe52bbb6d031cd06afffbfa328dad746f"
"""`Host.weight_hash` of the model that the adapters belong to, in bfloat16 as `make smollm2` writes it."""
ROLES: Final = ("base", "thinking")


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
