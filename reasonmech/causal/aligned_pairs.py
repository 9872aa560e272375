"""AlignedPairs: pairs of texts as one model reads them; one text is run, the other lends it activations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.arguments import check_type
from reasonmech.causal.metric_values import unedited_values
from reasonmech.causal.text_pairs import PatchDirection, PositionPair, TextPairs
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Axis
from reasonmech.interventions.intervention import Intervention
from reasonmech.interventions.masks import at
from reasonmech.interventions.verbs import patch
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.memory import is_out_of_memory
from reasonmech.runtime.pass_rows import PassRow, pass_rows
from reasonmech.runtime.readout import Readout
from reasonmech.site import Site

CAPTURE_ROWS: Final = 64


class TokenPair(NamedTuple):
    """One token of a clean text and the token of its corrupt text that stands for it.

    Attributes:
        name: what tables call the place; the same name in every pair makes one row of them.
        clean, corrupt: its absolute, pad-free position in either text.
    """

    name: str
    clean: int
    corrupt: int


class Move(NamedTuple):
    """Where an activation is put, and where it is taken from: positions in the target and in the source."""

    target: int
    source: int


@final
@dataclass(frozen=True, eq=False)
class AlignedPairs:
    """Made by `align`.

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
    places: tuple[tuple[TokenPair, ...], ...]
    direction: PatchDirection

    @property
    def target(self) -> tuple[PassRow, ...]:
        """The texts that are run."""
        return self.corrupt if self.direction == "denoise" else self.clean

    @property
    def source(self) -> tuple[PassRow, ...]:
        """The texts that activations are taken from."""
        return self.clean if self.direction == "denoise" else self.corrupt

    def move(self, place: TokenPair) -> Move:
        """Where the place is in the target, and where in the source."""
        if self.direction == "denoise":
            return Move(target=place.corrupt, source=place.clean)
        return Move(target=place.clean, source=place.corrupt)

    @cached_property
    def moves(self) -> dict[str, dict[int, Move]]:
        """Name of a place -> pair -> its move, in the pairs that have the place."""
        by_name: dict[str, dict[int, Move]] = {}
        # the longest text names all positions, in order: so names come in the order of a table's columns
        longest_first = sorted(range(len(self.places)), key=lambda pair: -len(self.places[pair]))
        for pair in longest_first:
            for place in self.places[pair]:
                by_name.setdefault(place.name, {})[pair] = self.move(place)
        return {name: dict(sorted(of_pairs.items())) for name, of_pairs in by_name.items()}

    def with_rows(self, rows: Sequence[PassRow], pairs: Sequence[int]) -> AlignedPairs:
        """The same pairs with other rows to run, each the text of its pair, or that text and more."""
        source = tuple(self.source[pair] for pair in pairs)
        clean, corrupt = (source, tuple(rows)) if self.direction == "denoise" else (tuple(rows), source)
        problems = tuple(self.problems[pair] for pair in pairs)
        return AlignedPairs(
            clean, corrupt, problems, tuple(self.places[pair] for pair in pairs), self.direction
        )

    def streams(self, host: Host, sites: Sequence[Site], *, progress: bool = False) -> Activations:
        """What sites held in the source run, in the model's dtype; smaller batches where memory is short."""
        rows = [as_rollout(text) for text in self.source]
        batch = min(CAPTURE_ROWS, len(rows))
        while True:
            try:
                return capture(host, rows, sites, keep=Keep(batch_size=batch), progress=progress)
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
        by_name: dict[str, Intervention] = {}
        for names in self._compatible():
            shared = patch(axis, self._aligned(acts, axis.at, [self.moves[name] for name in names]))
            for name in names:
                moves = self.moves[name]
                rows = [(moves[pair].target,) if pair in moves else () for pair in range(len(self.target))]
                # `replace` shares axis and edit, by which `run_cells` puts cells into one batch
                by_name[name] = replace(shared, where=at(per_row=rows))
        return by_name

    def _compatible(self) -> list[list[str]]:
        """The names, in groups within which every token of the target has one source."""
        groups: list[tuple[list[str], dict[PositionPair, int]]] = []
        for name, moves in self.moves.items():
            source_of = {(pair, move.target): move.source for pair, move in moves.items()}
            for names, taken in groups:
                if all(taken.get(token, source) == source for token, source in source_of.items()):
                    names.append(name)
                    taken.update(source_of)
                    break
            else:
                groups.append(([name], source_of))
        return [names for names, _ in groups]

    def _aligned(
        self, acts: Activations, site: Site, moves: Sequence[dict[int, Move]]
    ) -> Float[Tensor, "row pos width"]:
        """The source's stream at the target's rows and positions; zeros where nothing is taken from."""
        lengths = torch.tensor([len(text.ids) for text in self.source])
        starts = (lengths.cumsum(0) - lengths).tolist()
        row_of = {
            (pair, move.target): starts[pair] + move.source
            for of_pairs in moves
            for pair, move in of_pairs.items()
        }
        rows, columns = torch.tensor(list(row_of)).T
        stream = acts.take(site, torch.tensor(list(row_of.values())))
        out = stream.new_zeros(len(self.target), int(columns.max()) + 1, stream.shape[1])
        out[rows, columns] = stream
        return out

    def unpatched(self, host: Host, metric: Readout, *, batch_rows: int) -> tuple[Tensor, Tensor]:
        """The metric after every clean and every corrupt text, nothing patched, float64."""
        pairs = range(len(self.clean))
        clean, corrupt = (
            unedited_values(host, texts, pairs, metric, batch_rows=batch_rows).double()
            for texts in (self.clean, self.corrupt)
        )
        return clean, corrupt


def align(host: Host, pairs: TextPairs) -> AlignedPairs:
    """Pairs of texts as a host's tokens, and the tokens that stand for each other.

    Raises:
        ArgumentError: no host, or texts that are not in `TextPairs`.
        DataError: a position outside its text, texts of different length where positions are counted from
            the start, or a pair of one and the same text.
    """
    call = "write f(host, rm.TextPairs(clean, corrupt), ...)"
    check_type(
        host, Host, name="host", allowed="a Host: rm.load_host(...), or a side of rm.load_pair(...)", do=call
    )
    check_type(pairs, TextPairs, name="pairs", allowed="rm.TextPairs(clean, corrupt, positions)", do=call)
    clean, corrupt = tuple(pass_rows(host, pairs.clean)), tuple(pass_rows(host, pairs.corrupt))
    both = list(zip(clean, corrupt, strict=True))
    places = tuple(_places(a, b, pairs.named_positions, pair) for pair, (a, b) in enumerate(both))
    for pair, (a, b) in enumerate(both):
        if a.ids == b.ids:
            raise DataError(
                f"clean and corrupt text {pair} are the same {len(a.ids)} tokens: a patch changes nothing",
                do="give a corrupt text that differs where the clean one says what matters",
            )
    return AlignedPairs(clean, corrupt, pairs.problem_ids, places, pairs.direction)


def as_rollout(text: PassRow) -> Rollout:
    """A row of a run as a rollout, for what reads rollouts."""
    prompt, ids = text.ids[: text.prompt_length], text.ids[text.prompt_length :]
    nobody = (False,) * len(ids)  # neither the environment nor an intervention wrote a token
    return Rollout(Problem(text.name, "", ""), 0, prompt, ids, nobody, nobody, "length", "")


def _places(
    clean: PassRow, corrupt: PassRow, named: Mapping[str, Sequence[PositionPair]] | None, pair: int
) -> tuple[TokenPair, ...]:
    """The compared tokens of one pair: those named, or all, by their number from the start."""
    if named is not None:
        at = {name: positions[pair] for name, positions in named.items()}
        return tuple(TokenPair(name, _inside(clean, a), _inside(corrupt, b)) for name, (a, b) in at.items())
    if len(clean.ids) != len(corrupt.ids):
        raise DataError(
            f"{clean.name} has {len(clean.ids)} clean and {len(corrupt.ids)} corrupt tokens:"
            " positions=None aligns them by number from the start, which needs equal lengths",
            allowed='positions=[-1, -2] counts from each text\'s end, {"name": [(clean, corrupt), ...]} '
            "says it all",
            do="say which positions stand for each other, or use texts of equal length",
        )
    return tuple(TokenPair(str(i), i, i) for i in range(len(clean.ids)))


def _inside(text: PassRow, position: int) -> int:
    n = len(text.ids)
    if not -n <= position < n:
        raise DataError(
            f"position {position} of {text.name}, which has {n} tokens",
            allowed=f"0 .. {n - 1}, or -{n} .. -1 from its end",
        )
    return position % n
