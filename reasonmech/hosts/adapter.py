"""Adapters as models: read from a directory or the Hub, and held to the base that they were trained from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from reasonmech.digest import hash_tensors
from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    NotBuiltError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.files import check_safetensors
from reasonmech.hosts.adapter_files import ADAPTER, AGAIN, check_adapter
from reasonmech.hosts.on_demand import locate
from reasonmech.hosts.tokenizer_files import is_path
from reasonmech.json_text import read_object

WEIGHTS: Final = "adapter_model.safetensors"
PICKLED: Final = "adapter_model.bin"
CONFIG: Final = "config.json"
BASE_WEIGHTS: Final = "base_weights"  # of a file's metadata: `weights_of` the model that it was trained from
_SHAPE: Final = {"peft_type": str, "base_model_name_or_path?": (str, type(None))}


@final
@dataclass(frozen=True)
class Adapter:
    """An adapter in a directory.

    Attributes:
        kind: peft's name for it, such as "LORA".
        base: what it says its base is called; empty where it does not say.
        base_weights: `weights_of` the model that it was trained from; empty where nobody recorded it, as peft
            does not.
    """

    directory: Path
    kind: str
    base: str
    base_weights: str

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Raises CorruptFileError, PickleRefusedError, NonFiniteError."""
        if not (directory / ADAPTER).is_file():
            raise CorruptFileError(f"{directory} is no adapter: no {ADAPTER} is in it", do=AGAIN)
        settings = read_object(directory / ADAPTER, _SHAPE, do=AGAIN)
        file = directory / WEIGHTS
        if not file.is_file():
            if (directory / PICKLED).is_file():
                raise PickleRefusedError(
                    f"the adapter in {directory} is pickled ({PICKLED}); loading a pickle executes code",
                    allowed=WEIGHTS,
                    do="convert it where you trust it: peft_model.save_pretrained(NEW) writes safetensors",
                )
            raise CorruptFileError(f"{directory} holds {ADAPTER}, and no {WEIGHTS}", do=AGAIN)
        check_safetensors(file)
        with safe_open(file, framework="pt") as opened:
            recorded = (opened.metadata() or {}).get(BASE_WEIGHTS, "")
            for name in opened.keys():  # noqa: SIM118
                if not bool(torch.isfinite(opened.get_tensor(name)).all()):
                    raise NonFiniteError(
                        f"{name} of the adapter in {directory} holds NaN or infinity",
                        do="use another checkpoint",
                    )
        return cls(directory, settings["peft_type"], settings.get("base_model_name_or_path") or "", recorded)

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer lies beside it; else its base's is meant."""
        return any((self.directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))

    def named_base(self) -> str:
        """What it says its base is called. Raises ArgumentError where it says nothing."""
        if not self.base:
            raise ArgumentError(
                f"the adapter in {self.directory} does not say what it was trained from",
                allowed="base_model_name_or_path in its adapter_config.json, or base=",
                do="rm.load_host(adapter, base=...)",
            )
        return self.base

    def no_base(self, base: str, error: UnknownNameError) -> UnknownNameError:
        """The error for a base that is not there."""
        return UnknownNameError(
            f"base (of the adapter in {self.directory})",
            base,
            [error.allowed],
            do=f"{error.do}; or give base=",
        )

    def other_base(self, model: PreTrainedModel, source: str) -> str | None:
        """The base whose weights are to be compared with this model's, where nothing else can say whether it
        is the adapter's; None where it is.

        A record of the weights decides; without one, a base that is on this machine is to be compared;
        without that, the last part of both names ("Qwen2.5-1.5B") must be the same.

        Args:
            source: where the model was read from just now; empty for one in hand, which may have changed.

        Raises:
            MismatchError: the model is another one than that the adapter was trained from.
        """
        if self.base_weights:
            self.check_weights(model)
            return None
        name = source or model.name_or_path
        if not self.base or self.base == source:
            return None
        lies = _place(self.base)
        if lies is not None:
            return None if lies == _place(source) else self.base
        if name and _last(name) != _last(self.base):
            raise self.of_other(
                f"the base given is {name!r}",
                f"; if {name!r} is the same under another name, write it as base_model_name_or_path in its "
                f"{ADAPTER}",
            )
        return None

    def check_weights(self, model: PreTrainedModel) -> None:
        """Raise MismatchError for a base with other weights than are recorded, where they are."""
        if self.base_weights and (weights := weights_of(model)) != self.base_weights:
            raise self.of_other(f"weights {self.base_weights[:12]}, not {weights[:12]}")

    def of_other(self, what: str, do: str = "") -> MismatchError:
        """The error for a base that is another model, whatever its shapes."""
        return MismatchError(
            f"the adapter in {self.directory} was trained from {self.base or 'another model'!r}: {what}",
            allowed="the very model that it was trained from",
            do=f"give that as base={do}",
        )


def adapter_at(source: str | Path) -> Adapter | None:
    """The adapter in a directory, or under a name on the Hub; None where there is none, or weights beside it.

    Raises what `Adapter.read` and `locate` do; MismatchError where both are on the Hub.
    """
    local = locate(source)
    if local is not None:
        return Adapter.read(local) if is_adapter(local) else None
    if is_path(source):
        return None
    name = str(source)
    with suppress(OSError, ValueError):  # no such model, or no name: reading the model says so
        file = find_adapter_config_file(name)
        if file is not None:
            if cached_file(name, CONFIG, _raise_exceptions_for_missing_entries=False) is not None:
                check_adapter(Path(file), name)
            cached_file(name, WEIGHTS, _raise_exceptions_for_missing_entries=False)
            return Adapter.read(Path(file).parent)
    return None


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter, and no whole weights, which it would be merged into or not."""
    whole = [
        file
        for pattern in ("*.safetensors", "*.gguf", "pytorch_model*.bin")
        for file in directory.glob(pattern)
        if not file.name.startswith("adapter_model")
    ]
    return (directory / ADAPTER).is_file() and not whole


def _place(name: str) -> Path | None:
    """Where a model lies on this machine."""
    with suppress(UnknownNameError, NotBuiltError, MismatchError, CorruptFileError):
        local = locate(name) if name else None
        return None if local is None else local.resolve()
    return None


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()


def weights_of(model: nn.Module) -> str:
    """SHA-256 of a model's weights as float32: the same in bfloat16 and where it was read wider."""
    return hash_tensors({name: tensor.float() for name, tensor in model.state_dict().items()})
