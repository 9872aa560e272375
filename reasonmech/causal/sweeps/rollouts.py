"""sweep_rollouts: many configurations answer the same problems, resumable configuration by configuration."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np
from jaxtyping import Float

from reasonmech.causal.sweeps.configurations import CLEAN, Configuration, check_configurations
from reasonmech.causal.sweeps.identity import cell_hash, content, measured
from reasonmech.causal.sweeps.run import Block, CellKey, Sweep, carry_out
from reasonmech.causal.sweeps.table import SweepTable, tidy
from reasonmech.causal.sweeps.trials import RolloutTrials
from reasonmech.door import checked
from reasonmech.errors import DataError, NoChangeError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions.bind import bind
from reasonmech.interventions.intervention import Intervention, plan_fingerprint
from reasonmech.metrics import RolloutMetric, as_rollout_metric
from reasonmech.metrics.base import check_host
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    import pandas as pd

ROLLOUTS: Final = "rollouts"
ON: Final = ("problem", "sample", "decode_seed")
FEW: Final = 8  # runs: of fewer, timing one is no small part of the work
BYTES_PER_TOKEN: Final = 32  # of a rollout as JSON: an id, two marks and a word
BYTES_PER_ROLLOUT: Final = 1024  # names of fields, and its row of the tables
BYTES_PER_LETTER: Final = 8  # of a prompt, its tokens and data as JSON


@checked
def sweep_rollouts(
    host: Host,
    problems: ProblemSet | Sequence[str] | str | RolloutTrials,
    configurations: Sequence[Configuration] | Configuration,
    *,
    metric: RolloutMetric | str,
    out: str | Path | None = None,
    progress: bool = True,
) -> SweepTable:
    """Every configuration answers the same problems, and a metric reads what it wrote.

    All of them meet the same sampling noise. One `generate` per configuration and seed, the clean run among
    them. The table has, besides the columns of every sweep, n_steered and n_chosen (tokens of the rollout),
    kl (of the run's receipt, nats per token), no_change, and note: why nothing could be measured, or why a
    configuration changed nothing. n_masked, n_gated and n_changed are those of a configuration's run.

    Args:
        problems: a task's problems, or plain prompts, decoded greedily; `RolloutTrials` say how else.
        metric: such as `accuracy()` or `behaviour_rate("check")`, or a registered name.
        out: directory, as in `sweep`; what was written lies in `rollouts/<fingerprint>-<seed>.jsonl`.
        progress: tell time and disk space before it starts, and show a bar.

    Raises:
        NoChangeError: some configurations changed nothing in their whole run, or missed `require_gated`; all
            others are finished and stored, and the table is on `.result`.
        OutputError: `out` holds another sweep; the differing keys are listed.
        DataError: no problem, several seeds at temperature 0, or a clean run that gives nothing to measure.
        NonFiniteError: infinite values, or NaN logits. ArgumentError: something of another type.
    """
    check_host(host, do="sweep_rollouts(host, problems, configurations, metric=...)")
    trials = problems if isinstance(problems, RolloutTrials) else RolloutTrials(problems)
    plans = tuple(check_configurations(configurations))
    for one in plans:
        bind(one.plan, host)
    sweep = RolloutSweep(host, trials, plans, as_rollout_metric(host, metric))
    answers = carry_out(sweep, out=out, progress=progress)
    silent = answers.table.query("no_change").drop_duplicates(subset=["configuration"])
    if len(silent):
        notes = zip(silent["configuration"], silent["note"], strict=True)
        raise NoChangeError(
            f"{len(silent)} of {len(plans)} configurations changed nothing, or too little: "
            + "; ".join(f"{name}: {note}" for name, note in notes),
            do="the numbers of all are on .result; mend what the notes name; a control that may be silent"
            " says .allow_no_change()",
            result=answers,
        )
    return answers


@final
@dataclass(frozen=True, eq=False)
class RolloutSweep(Sweep):
    """A sweep over what is written that is ready to run."""

    host: Host
    trials: RolloutTrials
    configurations: tuple[Configuration, ...]
    metric: RolloutMetric

    def settings(self) -> Mapping[str, object]:
        problems, prompt = self.trials.problem_set, self.host.prompt
        behind = {} if prompt.is_plain else {"prompt": prompt.identity(self.host.tokenizer)}
        return behind | {
            "decode": self.trials.decode.model_dump(mode="json", exclude={"seed", "batch_size"}),
            "labellers": self.trials.labellers,
            "environment": {"task": problems.task, "writes": problems.environment},
            "problems": {problem.id: _hash(content(problem)) for problem in problems},
            "seeds": self.trials.seeds,
        }

    def make_blocks(self) -> Sequence[Block]:
        """One run each, the clean ones first. A cell is one rollout, its unit its number over all seeds."""
        return list(self._runs())

    def _runs(self) -> Iterator[Block]:
        fixed, samples = measured(self.plan), self.trials.decode.samples
        per_seed = len(self.trials.problem_set) * samples
        for number in (None, *range(len(self.ordered))):
            plan = plan_fingerprint(()) if number is None else self.ordered[number].fingerprint
            for at, seed in enumerate(self.trials.seeds):
                names = [(p, k) for p in self.plan["problems"].items() for k in range(samples)]
                cells = (cell_hash(fixed, plan, f"{p} {k} {seed}") for p, k in names)
                yield tuple(CellKey(number, at * per_seed + i, cell) for i, cell in enumerate(cells))

    def compute(self, block: Block, directory: Path | None) -> pd.DataFrame:
        import pandas as pd

        number = block[0].configuration
        seed = self.trials.seeds[block[0].unit // len(block)]
        plan = () if number is None else self.ordered[number].plan
        written, silent = self._write(plan, seed, self.trials.problem_set)
        if directory is not None:
            (directory / ROLLOUTS).mkdir(exist_ok=True)
            named = "clean" if number is None else self.ordered[number].fingerprint[:16]
            # a kill may have come between these and the shard, which is then computed again
            written.save(directory / ROLLOUTS / f"{named}-{seed}.jsonl", overwrite=True)
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
                "n_gated": sum(line.n_gated for line in lines),
                "n_changed": sum(line.n_changed or 0 for line in lines),
                "n_steered": [sum(rollout.steered) for rollout in written],
                "n_chosen": [rollout.n_chosen for rollout in written],
                "kl": np.nan if written.receipt is None else written.receipt.kl,
                "no_change": bool(silent),
                "note": silent or note,
            }
        )

    def _write(self, plan: Sequence[Intervention], seed: int, problems: ProblemSet) -> tuple[Rollouts, str]:
        """What is written under a plan, and why it counts as silent ("" where it does not)."""
        decode = self.trials.decode.model_copy(update={"seed": seed})
        while True:
            try:
                decoder = HostDecoder.of(self.host, plan, labellers=self.trials.labellers)
                return generate(decoder, problems, decode=decode, progress=False), ""
            except NoChangeError as error:
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

    def tidy(self, cells: pd.DataFrame) -> pd.DataFrame:
        return tidy(cells, self.configurations, on=ON, metric=self.metric.name, unit=self.metric.unit)

    def seconds(self, blocks: Sequence[Block]) -> float | None:
        """Time of the runs, from one batch of the middle one."""
        if len(blocks) < FEW:
            return None
        number = blocks[len(blocks) // 2][0].configuration
        problems, decode = self.trials.problem_set, self.trials.decode
        batch = problems[: max(1, decode.batch_size // decode.samples)]
        start = time.perf_counter()
        self._write(() if number is None else self.ordered[number].plan, self.trials.seeds[0], batch)
        return (time.perf_counter() - start) * len(blocks) * len(problems) / len(batch)

    def n_bytes(self) -> int:
        """At most: every rollout as long as it may become."""
        problems, decode = self.trials.problem_set, self.trials.decode
        letters = sum(len(problem.prompt) + len(json.dumps(dict(problem.data))) for problem in problems)
        rollouts = (BYTES_PER_ROLLOUT + decode.max_new_tokens * BYTES_PER_TOKEN) * len(problems)
        return len(self.blocks) * decode.samples * (rollouts + letters * BYTES_PER_LETTER)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
