"""What one would need to doubt a run: code, packages, weights, machine, time."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

from reasonmech.versions import version_of

PACKAGES: Final = (
    "torch",
    "transformers",
    "transformer-lens",
    "sae-lens",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "pydantic",
    "plotly",
)
SOURCE: Final = Path(__file__).parent.parent


VIEWS: Final = {"cli", "report", "viz", "testing.py"}  # above experiments: they cannot change a number


@cache
def code_hash() -> str:
    """SHA-256 over every module that can change a result: after an edit the stages are done again."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] in VIEWS:
            continue
        digest.update(str(path.relative_to(SOURCE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Installed versions of what results depend on; "not installed" where one is absent."""
    return {name: version_of(name) for name in ("reasonmech", *PACKAGES)}


def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the package runs from; both None for an installed wheel."""
    if not (SOURCE.parent / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):  # no git on this machine, or no commit yet
        return {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Where it ran."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def code_state() -> dict[str, Any]:
    """Version, commit, source hash, command and packages."""
    return {
        "git": git_state(),
        "code_sha256": code_hash(),
        "command": sys.argv,
        "packages": package_versions(),
        "machine": machine(),
    }
