"""Paths: where configurations, shipped weights and the cache are, and how a configuration is read."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.files import OURS, PLAN_FILE, RECORD_FILE
from reasonmech.yaml_text import read_yaml

M = TypeVar("M", bound=BaseModel)

_PACKAGE: Final = Path(__file__).resolve().parent
ORGANISM_PREFIX: Final = "organism:"
CACHE_VARIABLE: Final = "REASONMECH_CACHE"
SMOLLM2_VARIABLE: Final = "SMOLLM2"
LONGEST_NAME: Final = 200  # bytes: the disks' 255, less the ends that names are given meanwhile


def config_dir() -> Path:
    """Directory of the shipped configurations: `sae_configs/` of a checkout, else the wheel's copy."""
    in_checkout, in_wheel = _PACKAGE.parent / "sae_configs", _PACKAGE / "_sae_configs"
    return in_checkout if in_checkout.is_dir() else in_wheel


def cache_dir() -> Path:
    """Directory of what can be built again: $REASONMECH_CACHE where it is set, else `~/.cache/reasonmech`."""
    return Path(os.environ.get(CACHE_VARIABLE, "~/.cache/reasonmech")).expanduser()


def organism_dir() -> Path:
    """Directory of the shipped organisms' weights."""
    return _PACKAGE / "organisms" / "weights"


def adapter_dir() -> Path:
    """Directory of the shipped adapters of models that are not ours to ship."""
    return _PACKAGE / "organisms" / "adapter_weights"


def smollm2_dir() -> Path:
    """Directory of SmolLM2-135M-Instruct: $SMOLLM2 where it is set, else what `make smollm2` writes."""
    return Path(os.environ.get(SMOLLM2_VARIABLE, _PACKAGE.parent / ".smollm2")).expanduser()


def resolve(path: str | Path) -> Path | None:
    """A local path: "organism:tiny-when/base" points at shipped weights, "~" at home. None: nothing is there.

    Raises:
        UnknownNameError: no such organism is shipped; those that are shipped are listed.
    """
    text = str(path)
    if text.startswith(ORGANISM_PREFIX):
        name = text.removeprefix(ORGANISM_PREFIX)
        weights = organism_dir() / name
        if not weights.exists() or ".." in Path(name).parts or Path(name).is_absolute():
            shipped = sorted(
                p.relative_to(organism_dir()).as_posix() for p in organism_dir().glob("*/*") if p.is_dir()
            )
            raise UnknownNameError("organism", text, [ORGANISM_PREFIX + name for name in shipped])
        return weights
    local = Path(text).expanduser()
    return local if local.exists() else None


def read_config(path: Path, model: type[M]) -> M:
    """Read a YAML file into a pydantic model.

    Raises:
        ConfigError: as `read_yaml`, or keys that the model does not have or accept; file, line and key are
            named.
    """
    read = read_yaml(path)
    try:
        return model.model_validate(read.value)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}{read.line_of(e['loc'])}"
            for e in error.errors()
        )
        raise ConfigError(f"{path}: {wrong}", allowed=f"keys {', '.join(model.model_fields)}") from error


def check_name(name: str, *, what: str, taken: Collection[str] = ()) -> str:
    """A name that somebody chose and that becomes that of a file or folder, if it is one, and inside.

    Args:
        what: whose name it is, for the error: "coder", "arm".
        taken: names that the folder holds already.

    Raises:
        ConfigError: it leaves the folder ("..", "a/b", "/a") or hides in it, is one of ours or taken, or is
            too long.
    """
    happened = why_no_name(str(name), taken)
    if not isinstance(name, str) or happened:
        raise ConfigError(
            f"{what} {name!r:.80} {happened or 'is no text'}: it is to be the name of a file or folder",
            allowed="letters, digits, and signs other than / and \\, not beginning with a dot nor ending in "
            + ", ".join(OURS),
            do="give it another name",
        )
    return name


def why_no_name(text: str, taken: Collection[str] = ()) -> str:
    """Why a text cannot be the name of a file or folder inside another one; empty where it can."""
    if text.strip() != text or not text or not text.isprintable():
        return "is empty, or has blanks at its ends or signs that are not printed"
    if text.startswith(".") or "/" in text or "\\" in text:
        return "leaves its folder, or hides in it"
    if text.endswith(OURS) or text in (PLAN_FILE, RECORD_FILE) or text in taken:
        return "is a name that the folder keeps for itself"
    if len(text.encode(errors="surrogatepass")) > LONGEST_NAME:
        return f"has more than {LONGEST_NAME} bytes"
    return ""
