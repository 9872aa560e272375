"""sweep_rollouts: many configurations, each answering the same problems, resumable configuration by
configuration."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, final

import numpy as np
from jaxtyping import Float

from reasonmech.causal.sweeps.identity import Plan, cell_hash, content, in_order, measured, plan_of
from reasonmech.causal.sweeps.run import Block, Job, Key, carry_out
from reasonmech.causal.sweeps.table import SweepTable, tidy
from reasonmech.causal.sweeps.values import CLEAN, Configuration, check_names
from reasonmech.errors import DataError, NeverFiredError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.intervention import Intervention, plan_fingerprint
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import GREEDY, as_problems, generate
from reasonmech.runtime.decoding.host_decoder import NO_LABELLERS
from reasonmech.runtime.memory import is_out_of_memory
from reasonmech.step import CausalLabeller

if TYPE_CHECKING:
    import pandas as pd

ROLLOUTS: Final = "rollouts"
ON: Final = ("problem", "sample", "decode_seed")
FEW: Final = 8  # runs of which no probe is worth it
BYTES_PER_TOKEN: Final = 32  # of a rollout as JSON: an id, two marks and a word
BYTES_PER_ROLLOUT: Final = 1024  # names of fields, and its row of the tables
BYTES_PER_LETTER: Final = 8  # of a prompt, its tokens and data as JSON


class Measure(Protocol):
    """A metric on what a model wrote."""

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def unit(self) -> str:
        """Its unit."""
        ...

    def measure(self, rollouts: Rollouts) -> Float[np.ndarray, " rollout"]:
        """One number per rollout; NaN where it gives nothing to measure."""
        ...


def sweep_rollouts(
    host: Host,
    problems: ProblemSet | Sequence[str],
    configurations: Sequence[Configuration],
    *,
    metric: Measure,
    decode: Decode = GREEDY,
    seeds: Sequence[int] = (),
    labellers: Mapping[str, CausalLabeller] = NO_LABELLERS,
    out: str | Path | None = None,
    progress: bool = True,
) -> SweepTable:
    """Every configuration answers the same problems, with the same sampling noise, and a metric reads what it
    wrote.

    One `generate` per configuration and seed, the clean run among them. The table has, besides the columns of
    every sweep, n_steered and n_chosen (tokens of the rollout), kl (of the run's receipt, nats per token),
    and note: why nothing could be measured, or that a mask named nothing. n_masked and n_fired are those of a
    configuration's run.

    Args:
        metric: such as `accuracy()` or `behaviour_rate("check")`.
        decode: how all of them decode. Its batch size is halved where memory is short, with a warning.
        seeds: sampling seeds, each of which runs every configuration; empty: decode's own.
        labellers: of masks that say `labelled(name)`; functions with a name.
        out: directory, as in `sweep`; what was written is kept in `rollouts/<fingerprint>-<seed>.jsonl`.
        progress: tell time and disk space before it starts, and show a bar.

    Raises:
        NeverFiredError: in some configurations a mask named no token of the whole run, or a `require_fired`
            was not met; all others are finished and stored, and the table is on `.result`.
        OutputError: `out` holds a sweep of another configuration; the differing keys are listed.
        DataError: no problem, several seeds at temperature 0, or a clean run that gives nothing to measure.
        NonFiniteError: infinite values, or NaN logits.
    """
    tasks = problems if isinstance(problems, ProblemSet) else as_problems(problems)
    work = _Work(
        host, tasks, tuple(configurations), metric, decode, tuple(seeds) or (decode.seed,), labellers
    )
    found = carry_out(work.job(), out=out, progress=progress)
    silent = found.table.query("never_fired").drop_duplicates(subset=["configuration"])
    if len(silent):
        raise NeverFiredError(
            f"{len(silent)} of {len(work.given)} configurations touched too little: "
            + "; ".join(
                f"{name}: {note}" for name, note in zip(silent["configuration"], silent["note"], strict=True)
            ),
            do="the numbers of all are on .result; leave these out of what you conclude, or mend their masks",
            result=found,
        )
    return found


@final
@dataclass(frozen=True, eq=False)
class _Work:
    """A sweep over what is written."""

    host: Host
    problems: ProblemSet
    given: tuple[Configuration, ...]
    metric: Measure
    decode: Decode
    seeds: tuple[int, ...]
    labellers: Mapping[str, CausalLabeller]

    def job(self) -> Job:
        check_names(self.given)
        if not self.problems:
            raise DataError("no problem to sweep over", do="ask for at least one")
        if len(set(self.seeds)) < len(self.seeds) or (len(self.seeds) > 1 and self.decode.temperature == 0):
            raise DataError(
                f"seeds {self.seeds} at temperature {self.decode.temperature}",
                allowed="each once; one at temperature 0, where nothing is random",
            )
        for one in self.given:
            bind(one.plan, self.host)
        blocks = list(self._blocks())
        return Job(
            self.host,
            self.plan,
            blocks,
            self._compute,
            self._tidy,
            self._seconds,
            partial(self._n_bytes, len(blocks)),
        )

    @cached_property
    def ordered(self) -> list[Configuration]:
        return in_order(self.given)

    @cached_property
    def plan(self) -> Plan:
        settings = {
            "decode": self.decode.model_dump(mode="json", exclude={"seed", "batch_size"}),
            "labellers": self.labellers,
            "environment": {"task": self.problems.task, "writes": self.problems.environment},
            "problems": {problem.id: _hash(content(problem)) for problem in self.problems},
            "seeds": self.seeds,
        }
        return plan_of(self.host, self.metric, self.given, settings)

    def _blocks(self) -> Iterator[Block]:
        """One run each: the clean ones first. A cell is one rollout, and its unit its number over all
        seeds."""
        what, samples = measured(self.plan), self.decode.samples
        per_seed = len(self.problems) * samples
        for number in (None, *range(len(self.ordered))):
            plan = plan_fingerprint(()) if number is None else self.ordered[number].fingerprint
            for at, seed in enumerate(self.seeds):
                names = [(p, k) for p in self.plan["problems"].items() for k in range(samples)]
                cells = (cell_hash(what, plan, f"{p} {k} {seed}") for p, k in names)
                yield tuple(Key(number, at * per_seed + i, cell) for i, cell in enumerate(cells))

    def _compute(self, block: Block, directory: Path | None) -> pd.DataFrame:
        import pandas as pd

        number = block[0].configuration
        seed = self.seeds[block[0].unit // len(block)]
        plan = () if number is None else self.ordered[number].plan
        written, silent = self._write(plan, seed, self.problems)
        if directory is not None:
            (directory / ROLLOUTS).mkdir(exist_ok=True)
            named = "clean" if number is None else self.ordered[number].fingerprint[:16]
            written.save(directory / ROLLOUTS / f"{named}-{seed}.jsonl")
        value, note = self._measure(written, clean=number is None)
        lines = () if written.receipt is None else written.receipt.lines
        return pd.DataFrame(
            {
                "cell": [key.cell for key in block],
                "configuration": CLEAN if number is None else self.ordered[number].name,
                "problem": [rollout.problem.id for rollout in written],
                "sample": [rollout.sample for rollout in written],
                "decode_seed": seed,
                "value": value,
                "n_masked": sum(line.n_masked for line in lines),
                "n_fired": sum(line.n_fired for line in lines),
                "n_steered": [sum(rollout.steered) for rollout in written],
                "n_chosen": [rollout.n_chosen for rollout in written],
                "kl": np.nan if written.receipt is None else written.receipt.kl,
                "never_fired": bool(silent),
                "note": silent or note,
            }
        )

    def _write(self, plan: Sequence[Intervention], seed: int, problems: ProblemSet) -> tuple[Rollouts, str]:
        """What is written under a plan, and why it counts as silent ("" where it does not)."""
        decode = self.decode.model_copy(update={"seed": seed})
        while True:
            try:
                return generate(
                    self.host, problems, plan, decode=decode, labellers=self.labellers, progress=False
                ), ""
            except NeverFiredError as error:
                assert isinstance(error.result, Rollouts)
                return error.result, error.happened
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or decode.batch_size == 1:
                    raise
            half = decode.batch_size // 2
            warnings.warn(
                f"out of memory with {decode.batch_size} rows at once; going on with {half}", stacklevel=2
            )
            decode = decode.model_copy(update={"batch_size": half})

    def _measure(self, written: Rollouts, *, clean: bool) -> tuple[Float[np.ndarray, " rollout"], str]:
        """Values, NaN and the reason where what an intervention left of the text gives nothing to measure."""
        try:
            value = np.asarray(self.metric.measure(written), dtype=np.float64)
        except DataError as error:
            if clean:
                raise
            return np.full(len(written), np.nan), error.happened
        if value.shape != (len(written),) or np.isinf(value).any():
            raise NonFiniteError(
                f"metric {self.metric.name!r} gave shape {value.shape} with {int(np.isinf(value).sum())} "
                "infinite"
                f" values for {len(written)} rollouts",
                allowed="one number per rollout, NaN where there is nothing to measure",
            )
        return value, ""

    def _tidy(self, cells: pd.DataFrame) -> pd.DataFrame:
        return tidy(cells, self.given, on=ON, metric=self.metric.name, unit=self.metric.unit)

    def _seconds(self, blocks: Sequence[Block]) -> float | None:
        """Time of the runs, from one batch of the middle one."""
        if len(blocks) < FEW:
            return None
        number = blocks[len(blocks) // 2][0].configuration
        some = self.problems[: max(1, self.decode.batch_size // self.decode.samples)]
        start = time.perf_counter()
        self._write(() if number is None else self.ordered[number].plan, self.seeds[0], some)
        return (time.perf_counter() - start) * len(blocks) * len(self.problems) / len(some)

    def _n_bytes(self, n_runs: int) -> int:
        """At most: every rollout as long as it may become."""
        prompts = sum(len(problem.prompt) + len(json.dumps(dict(problem.data))) for problem in self.problems)
        rollouts = (BYTES_PER_ROLLOUT + self.decode.max_new_tokens * BYTES_PER_TOKEN) * len(self.problems)
        return n_runs * self.decode.samples * (rollouts + prompts * BYTES_PER_LETTER)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
