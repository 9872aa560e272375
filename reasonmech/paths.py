"""Paths: where configurations, shipped weights and the cache are, and how a configuration is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from reasonmech.errors import ConfigError, UnknownNameError

M = TypeVar("M", bound=BaseModel)

_PACKAGE: Final = Path(__file__).resolve().parent
ORGANISM_PREFIX: Final = "organism:"
CACHE_VARIABLE: Final = "REASONMECH_CACHE"


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


def resolve(path: str | Path) -> Path | None:
    """A local path: "organism:tiny-when/base" points at shipped weights, "~" at home. None: nothing is there.

    Raises:
        UnknownNameError: no such organism is shipped; those that are shipped are listed.
    """
    text = str(path)
    if text.startswith(ORGANISM_PREFIX):
        weights = organism_dir() / text.removeprefix(ORGANISM_PREFIX)
        if not weights.exists():
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
        ConfigError: not YAML, or keys that the model does not have or accept; the file and every key are
            named.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {wrong}", allowed=f"keys {', '.join(model.model_fields)}") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
