"""Runs: what a measurement consists of, each carried out once and kept as it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import numpy as np
from tqdm.auto import tqdm

from reasonmech.errors import CorruptFileError
from reasonmech.resumable import ResumableDirectory
from reasonmech.rollout import Rollouts

Arrays = Mapping[str, np.ndarray]


@final
class Runs:
    """Carries out named runs. One that is known, or that an earlier process finished, is not run again.

    Args:
        directory: keeps what each run gave, open for writing; None: nothing is kept.
        bar: moves on by the rows of every run.
    """

    def __init__(self, directory: ResumableDirectory | None, bar: tqdm) -> None:
        self._directory, self._bar = directory, bar
        self._rollouts: dict[str, Rollouts] = {}

    def rollouts(self, name: str, make: Callable[[], Rollouts], *, rows: int) -> Rollouts:
        """Rollouts of a run by its name; kept as one JSON line each."""
        if name not in self._rollouts:
            self._bar.set_postfix_str(name)
            self._rollouts[name] = self._read_or_make(name, make)
            self._bar.update(rows)
        return self._rollouts[name]

    def _read_or_make(self, name: str, make: Callable[[], Rollouts]) -> Rollouts:
        if self._directory is None:
            return make()
        file = f"{name}.jsonl"
        if not self._directory.path(file).exists():
            made = make()
            with self._directory.piece(file) as unfinished:
                made.save(unfinished, overwrite=True)
            return made
        return Rollouts.load(self._directory.path(file))

    def arrays(self, name: str, make: Callable[[], Arrays], *, rows: int) -> Arrays:
        """Arrays of a run by its name; kept as one npz file."""
        self._bar.set_postfix_str(name)
        result = self._read_or_make_arrays(name, make)
        self._bar.update(rows)
        return result

    def _read_or_make_arrays(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        if self._directory is None:
            return make()
        path = self._directory.path(f"{name}.npz")
        if not path.exists():
            made = make()
            with self._directory.piece(f"{name}.npz") as unfinished, unfinished.open("wb") as out:
                np.savez_compressed(out, allow_pickle=False, **made)
            return made
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, KeyError) as error:
            raise CorruptFileError(
                f"{path} holds no arrays: {error}", do=f"delete it; {name} is measured again"
            ) from error
