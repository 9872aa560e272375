"""Weights of organisms: those that ship with the package, else those of a store that builds what it does not
have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from reasonmech.door import checked
from reasonmech.errors import NotBuiltError, UnknownNameError
from reasonmech.hosts.gguf_file import converted, gguf_of
from reasonmech.paths import ORGANISM_PREFIX, organism_dir, resolve, smollm2_dir
from reasonmech.registry import Registry

SMOLLM2: Final = "smollm2-135m"
"""A name that `load_host` takes: a real model of 30 layers, which `make smollm2` gets."""


class OrganismStore(Protocol):
    """Organisms whose weights are built on this machine. `reasonmech.organisms` registers the zoo's cache."""

    def parts(self) -> Sequence[str]:
        """Everything that it has or can build, such as "tiny-rotated/thinking"."""
        ...

    def cached(self, name: str) -> Path | None:
        """Directory of an organism that was built by today's recipe; None where it was not."""
        ...

    def fetch(self, name: str) -> Path:
        """Directory of an organism, built now where that takes seconds.

        Raises:
            NotBuiltError: building takes minutes; the command and how many are named.
        """
        ...


organism_stores: Registry[OrganismStore] = Registry("organism store")


def smollm2() -> Path:
    """Directory of SmolLM2-135M-Instruct, which does not ship: it is a wheel of the package index.

    Raises:
        NotBuiltError: it is not on this machine.
    """
    source = smollm2_dir()
    if not (source / "config.json").is_file():
        raise NotBuiltError(
            f"SmolLM2-135M-Instruct is not in {source}",
            do="make smollm2  (a wheel of 93 MB), or say in $SMOLLM2 where it is",
        )
    return source


def locate(path: str | Path) -> Path | None:
    """A local path, as `resolve` finds it; an organism that does not ship is looked for in the stores; GGUF
    is the directory that it was converted to.

    Raises:
        MismatchError, CorruptFileError: GGUF that cannot be read.
        UnknownNameError: no such organism, or it has no such part; the known ones are listed.
        NotBuiltError: its weights are not on this machine, and building them takes minutes; nor is SmolLM2.
    """
    if str(path) == SMOLLM2:
        return smollm2()
    name, role = _organism(path)
    if (role and (organism_dir() / name / role).exists()) or not str(path).startswith(ORGANISM_PREFIX):
        local = resolve(path)
        file = None if local is None else gguf_of(local)
        return local if file is None else converted(file)
    return _store_of(path).fetch(name) / role


@checked
def is_here(path: str | Path) -> bool:
    """Whether weights are on this machine already; nothing is built."""
    if str(path) == SMOLLM2:
        return (smollm2_dir() / "config.json").is_file()
    name, role = _organism(path)
    if not name or (organism_dir() / name / role).exists():
        return resolve(path) is not None
    return _store_of(path).cached(name) is not None


def _organism(path: str | Path) -> tuple[str, str]:
    """Name and part of "organism:NAME/part"; two empty strings for any other path."""
    text = str(path)
    if not text.startswith(ORGANISM_PREFIX):
        return "", ""
    name, _, role = text.removeprefix(ORGANISM_PREFIX).partition("/")
    return name, role


def _store_of(path: str | Path) -> OrganismStore:
    for kind in organism_stores:
        store = organism_stores.get(kind)
        if str(path).removeprefix(ORGANISM_PREFIX) in store.parts():
            return store
    name, role = _organism(path)
    models = [part for part in _parts() if part.startswith(f"{ORGANISM_PREFIX}{name}/")]
    if name and not role and models:
        do = f"name one of its models: {' or '.join(models)}; both are rm.load_pair({name!r})"
    else:
        do = "rm.load_host takes one of these, rm.load_pair a pair by its name alone"
    raise UnknownNameError("organism", str(path), _parts(), do=do)


def _parts() -> list[str]:
    shipped = {p.relative_to(organism_dir()).as_posix() for p in organism_dir().glob("*/*") if p.is_dir()}
    built = {part for kind in organism_stores for part in organism_stores.get(kind).parts()}
    return [ORGANISM_PREFIX + part for part in sorted(shipped | built)]
