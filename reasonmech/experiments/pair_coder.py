"""A coder for a pair's base, from nothing: it reads both models' rollouts."""

from __future__ import annotations

from pathlib import Path

from reasonmech.coders import CoderConfig, SparseCoder
from reasonmech.errors import DataError
from reasonmech.experiments.coder_job import CoderJob, TrainingTexts
from reasonmech.files import check_new
from reasonmech.hosts import ModelPair
from reasonmech.problem import ProblemSet
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Decode, Keep, as_read_by, generate
from reasonmech.site import Site
from reasonmech.tasks import load_task


def train_pair_coder(
    pair: ModelPair,
    config: CoderConfig,
    *,
    site: Site | str,
    out: str | Path,
    problems: int = 500,
    progress: bool = True,
) -> SparseCoder:
    """Train a coder on the base of a pair, which reads its own and the thinking model's rollouts, into `out`.

    It goes on after a kill, as a `CoderJob` does.

    Args:
        site: where the base is read.
        problems: of the training split of the pair's task, one sampled rollout of either model each.

    Raises:
        DataError: the pair names no task.
        OutputError: `out` exists, cannot be written, or `<out>.work` holds the work of another call.
        UnknownNameError: no such site.
    """
    out, at = check_new(out), pair.base.check_site(site)
    if pair.task is None:
        raise DataError(f"pair {pair.name!r} names no task to read", do="add `task:` to its YAML")
    problem_set = load_task(pair.task, n=problems, split="train")  # before anything is written

    def texts(work: Path) -> TrainingTexts:
        return TrainingTexts(as_read_by(pair.base, _texts(pair, problem_set, work=work, progress=progress)))

    job = CoderJob(pair.base, config, at, out, Keep())
    return job.train(_plan(pair, config, at, problems=problems), texts, progress=progress)


def _plan(pair: ModelPair, config: CoderConfig, site: Site, *, problems: int) -> dict[str, object]:
    """What a call that goes on must have in common with the one that was killed."""
    return {
        "base": pair.base.weight_hash,
        "thinking": pair.thinking.weight_hash,
        "identity": {"base": pair.base.fingerprint, "thinking": pair.thinking.fingerprint},
        "site": str(site),
        "problems": problems,
        "config": config.model_dump(mode="json"),
    }


def _texts(pair: ModelPair, problem_set: ProblemSet, *, work: Path, progress: bool) -> Rollouts:
    """Rollouts of both models; those of a model that were finished are read."""
    written = []
    for role, host in (("base", pair.base), ("thinking", pair.thinking)):
        file = work / f"{role}.jsonl"
        if not file.exists():
            generate(host, problem_set, decode=Decode(temperature=1.0), progress=progress).save(file)
        written += Rollouts.load(file)
    return Rollouts(written, task=problem_set.task)
