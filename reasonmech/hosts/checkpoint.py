"""Checks of a checkpoint directory's files, made before any weight is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from reasonmech.errors import CorruptFileError, PickleRefusedError
from reasonmech.files import check_safetensors

PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def check_checkpoint(directory: Path) -> None:
    """Check that a directory holds a complete safetensors checkpoint.

    Raises:
        PickleRefusedError: its weights are pickled.
        CorruptFileError: config.json or weights are missing, unreadable or truncated.
    """
    config = directory / "config.json"
    if not config.is_file():
        raise CorruptFileError(
            f"{directory} holds no config.json",
            do="give a directory written by save_pretrained, or a Hub name",
        )
    _read_json(config)
    shards = sorted(directory.glob("*.safetensors"))
    if not shards:
        pickled = sorted(p.name for pattern in PICKLES for p in directory.glob(pattern))
        if pickled:
            raise PickleRefusedError(
                f"{directory} holds pickled weights only ({', '.join(pickled)}); loading a pickle executes "
                "code",
                allowed="*.safetensors",
                do="convert it where you trust it: model.save_pretrained(directory) writes safetensors",
            )
        raise CorruptFileError(f"{directory} holds no weights", allowed="*.safetensors", do="copy it again")
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        missing = sorted(set(_read_json(index)["weight_map"].values()) - {shard.name for shard in shards})
        if missing:
            raise CorruptFileError(f"{directory} lacks {', '.join(missing)}", do="copy or download it again")
    for shard in shards:
        check_safetensors(shard)


def _read_json(path: Path) -> dict[str, dict[str, str]]:
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path} is not JSON: {error}", do="copy or download it again") from error
