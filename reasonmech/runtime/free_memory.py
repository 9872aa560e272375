"""free_memory: how many bytes a process may still take, of a device or of the machine."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

_MEMINFO: Final = Path("/proc/meminfo")
_STATUS: Final = Path("/proc/self/status")
_CGROUP: Final = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken: of a GPU what is free and what torch holds unused; of the CPU the least
    of what the machine, the control group and `ulimit` leave. None: it is not known here."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    available = _field(_MEMINFO, "MemAvailable:")
    if available is not None:
        yield available * 1024
    most, taken = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if most is not None and taken is not None:
        # pages of files count as taken, and would be given up
        yield max(0, most - taken + (_field(_CGROUP / "memory.stat", "inactive_file") or 0))
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    size = _field(_STATUS, "VmSize:")
    if address_space != resource.RLIM_INFINITY and size is not None:
        yield max(0, address_space - size * 1024)


def _field(file: Path, key: str) -> int | None:
    """The number that stands behind a key; None where there is no such file or key."""
    if not file.is_file():
        return None
    lines = (line.split() for line in file.read_text().splitlines())
    return next((int(words[1]) for words in lines if words and words[0] == key), None)


def _number(file: Path) -> int | None:
    """What a file of a control group says; None where there is none, or it says "max"."""
    if not file.is_file():
        return None
    text = file.read_text().strip()
    return int(text) if text.isdecimal() else None
