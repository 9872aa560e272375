"""Exchange: pairs of texts, one of which is run while the other lends it activations."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.causal.clean import clean_values
from reasonmech.causal.positions import Place, Positions, align
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks import at
from reasonmech.interventions.verbs import patch
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.memory import is_out_of_memory
from reasonmech.runtime.pass_rows import PassRow, TextLike, pass_rows
from reasonmech.runtime.readout import Readout
from reasonmech.site import Site

PatchDirection: TypeAlias = Literal["denoise", "noise"]
CAPTURE_ROWS: Final = 64


@final
@dataclass(frozen=True, eq=False)
class Exchange:
    """Made by `exchange`.

    Attributes:
        clean, corrupt: rows of the two runs, pair by pair.
        problems: id of each pair's problem, the unit of every interval.
        places: per pair the tokens that stand for each other.
        direction: "denoise" runs the corrupt texts and takes from the clean ones, "noise" the other way
            round.
    """

    clean: tuple[PassRow, ...]
    corrupt: tuple[PassRow, ...]
    problems: tuple[str, ...]
    places: tuple[tuple[Place, ...], ...]
    direction: PatchDirection

    @property
    def target(self) -> tuple[PassRow, ...]:
        """The texts that are run."""
        return self.corrupt if self.direction == "denoise" else self.clean

    @property
    def source(self) -> tuple[PassRow, ...]:
        """The texts that activations are taken from."""
        return self.clean if self.direction == "denoise" else self.corrupt

    @cached_property
    def moves(self) -> dict[str, dict[int, tuple[int, int]]]:
        """Name of a place -> pair -> (position in the target, position in the source), where the pair has
        it."""
        found: dict[str, dict[int, tuple[int, int]]] = {}
        longest_first = sorted(range(len(self.places)), key=lambda pair: -len(self.places[pair]))
        for pair in longest_first:
            for name, clean, corrupt in self.places[pair]:
                found.setdefault(name, {})[pair] = (
                    (corrupt, clean) if self.direction == "denoise" else (clean, corrupt)
                )
        return {name: dict(sorted(own.items())) for name, own in found.items()}

    def over(self, rows: Sequence[PassRow], pairs: Sequence[int]) -> Exchange:
        """The same exchange with other rows to run, each of them a text of its pair, or that text and
        more."""
        source = tuple(self.source[pair] for pair in pairs)
        clean, corrupt = (source, tuple(rows)) if self.direction == "denoise" else (tuple(rows), source)
        problems = tuple(self.problems[pair] for pair in pairs)
        return Exchange(clean, corrupt, problems, tuple(self.places[pair] for pair in pairs), self.direction)

    def streams(self, host: Host, sites: Sequence[Site], *, progress: bool = False) -> Activations:
        """What the sites held in the source run, in the model's dtype; where memory is short, in smaller
        batches."""
        batch = min(CAPTURE_ROWS, len(self.source))
        while True:
            try:
                return capture(
                    host, [*map(as_rollout, self.source)], sites, batch_size=batch, progress=progress
                )
            except (RuntimeError, MemoryError) as error:
                if batch == 1 or not is_out_of_memory(error):
                    raise
                warnings.warn(
                    f"out of memory with {batch} texts at once; going on with {batch // 2}", stacklevel=2
                )
                batch //= 2

    def patches(self, axis: Axis, acts: Activations) -> dict[str, Intervention]:
        """Name of a place -> the patch of that place, in whichever pairs have it.

        They share one edit, as long as no two names give one token of the target different sources.
        """
        found: dict[str, Intervention] = {}
        for names in self._compatible():
            shared = patch(axis, self._aligned(acts, axis.at, [self.moves[name] for name in names]))
            for name in names:
                own = self.moves[name]
                rows = [(own[pair][0],) if pair in own else () for pair in range(len(self.target))]
                found[name] = replace(shared, where=at(per_row=rows))
        return found

    def _compatible(self) -> list[list[str]]:
        """The names, in groups within which every token of the target has one source."""
        found: list[tuple[list[str], dict[tuple[int, int], int]]] = []
        for name, moves in self.moves.items():
            own = {(pair, target): source for pair, (target, source) in moves.items()}
            for names, taken in found:
                if all(taken.get(token, source) == source for token, source in own.items()):
                    names.append(name)
                    taken.update(own)
                    break
            else:
                found.append(([name], own))
        return [names for names, _ in found]

    def _aligned(
        self, acts: Activations, site: Site, moves: Sequence[dict[int, tuple[int, int]]]
    ) -> Float[Tensor, "row pos width"]:
        """The source's stream at the target's rows and positions; zeros where nothing is taken from."""
        lengths = torch.tensor([len(text.ids) for text in self.source])
        starts = (lengths.cumsum(0) - lengths).tolist()
        wanted = {
            (pair, target): starts[pair] + source for own in moves for pair, (target, source) in own.items()
        }
        rows, columns = torch.tensor(list(wanted)).T
        stream = acts.take(site, torch.tensor(list(wanted.values())))
        out = stream.new_zeros(len(self.target), int(columns.max()) + 1, stream.shape[1])
        out[rows, columns] = stream
        return out

    def whole_runs(self, host: Host, metric: Readout, *, batch_rows: int) -> tuple[Tensor, Tensor]:
        """The metric after every clean and every corrupt text, nothing patched, float64."""
        pairs = range(len(self.clean))
        clean, corrupt = (
            clean_values(host, texts, pairs, metric, batch_rows=batch_rows).double()
            for texts in (self.clean, self.corrupt)
        )
        return clean, corrupt


def exchange(
    host: Host,
    clean: Sequence[TextLike],
    corrupt: Sequence[TextLike],
    *,
    positions: Positions,
    direction: PatchDirection,
) -> Exchange:
    """Pairs of texts and the tokens that stand for each other (see `positions.align`).

    Raises:
        DataError: texts that cannot be aligned, or a pair of one and the same text.
        UnknownNameError: no such direction.
    """
    if direction not in get_args(PatchDirection):
        raise UnknownNameError("direction", str(direction), get_args(PatchDirection))
    first, second = tuple(pass_rows(host, clean)), tuple(pass_rows(host, corrupt))
    places = tuple(align(first, second, positions))
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        if a.ids == b.ids:
            raise DataError(
                f"clean and corrupt text {pair} are the same {len(a.ids)} tokens: a patch would change "
                "nothing",
                do="give a corrupt text that differs where the clean one says what matters",
            )
    problems = [text.problem.id if isinstance(text, Rollout) else f"text {i}" for i, text in enumerate(clean)]
    return Exchange(first, second, tuple(problems), places, direction)


def as_rollout(text: PassRow) -> Rollout:
    """A row of a run as a rollout, for what reads rollouts."""
    prompt, ids = text.ids[: text.prompt_length], text.ids[text.prompt_length :]
    nobody = (False,) * len(ids)
    return Rollout(Problem(text.name, "", ""), 0, prompt, ids, nobody, nobody, "length", "")
