"""GGUF files: read by transformers, once, into a directory of plain float32 weights in the cache."""

from __future__ import annotations

import copy
import hashlib
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.files import RECORD_FILE, new_directory, write_text
from reasonmech.hosts.adapter_files import AGAIN, check_adapters
from reasonmech.paths import cache_dir

SUFFIX: Final = ".gguf"
MAGIC: Final = b"GGUF"
_HOME: Final = "gguf"  # folder of the cache


def gguf_of(path: Path) -> Path | None:
    """The GGUF file that a path stands for: it is one, or a directory whose only weights are in one.

    Raises:
        MismatchError: the directory holds several, and no other weights; or an adapter beside one.
    """
    if path.suffix == SUFFIX and path.is_file():
        return path
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else []
    if not files or list(path.glob("*.safetensors")):
        return None
    check_adapters(path)
    if len(files) > 1:
        raise MismatchError(
            f"{path} holds {len(files)} GGUF files, and no other weights",
            allowed=", ".join(file.name for file in files),
            do=f"name one of them: rm.load_host({str(files[0])!r})",
        )
    return files[0]


def converted(path: Path) -> Path:
    """Directory of the model in a GGUF file, dequantised to float32, and of its tokenizer; made now where it
    is not in the cache, which keeps it under the file's SHA-256. Its `record.json` says of which file it is.

    Quantised weights are those of no other model: what is studied is the model in the file.

    Raises:
        MismatchError: the package `gguf` is not installed, or transformers cannot read the architecture.
        CorruptFileError: it is no GGUF file, or damaged.
    """
    stat = path.stat()
    digest = _digest(path, stat.st_size, stat.st_mtime_ns)
    home = cache_dir() / _HOME / f"{path.stem}-{digest[:12]}"
    if home.is_dir():
        return home
    if find_spec("gguf") is None:
        raise MismatchError(
            f"{path} is GGUF, which takes the package gguf to read",
            allowed="a directory with config.json and *.safetensors, where it is not installed",
            do="pip install gguf",
        )
    model = _plain(_read(AutoModelForCausalLM, path, dtype=torch.float32))
    tokenizer = _read(AutoTokenizer, path)
    home.parent.mkdir(parents=True, exist_ok=True)
    with new_directory(home) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        record = {"source": path.name, "sha256": digest, "dtype": "float32"}
        write_text(unfinished / RECORD_FILE, json.dumps(record, indent=1) + "\n")
    return home


@lru_cache(maxsize=16)  # a model and its tokenizer are two calls
def _digest(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; `size` and the time of its last change tell it from what stood there before."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise CorruptFileError(f"{path} does not begin as a GGUF file does", do=AGAIN)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(auto: Any, path: Path, **settings: torch.dtype) -> Any:
    """What transformers reads of a GGUF file."""
    try:
        return auto.from_pretrained(path.parent, gguf_file=path.name, **settings)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # readers of damaged bytes raise whatever they trip over
        if "not supported" in str(error) or isinstance(error, NotImplementedError):
            raise MismatchError(
                f"transformers cannot read {path}: {error}",
                allowed="GGUF of an architecture that transformers reads",
                do="give the checkpoint that it was made from, with config.json and *.safetensors",
            ) from error
        raise CorruptFileError(f"{path} cannot be read: {type(error).__name__}: {error}", do=AGAIN) from error


def _plain(read: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that does not say it is quantised, which would refuse to be saved."""
    config = copy.deepcopy(read.config)
    vars(config).pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config = read.generation_config
    return model
