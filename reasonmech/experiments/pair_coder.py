"""A coder for a pair's base, from nothing: rollouts, store and training, of which a kill loses little."""

from __future__ import annotations

import shutil
from pathlib import Path

from reasonmech.coders import CoderConfig, SparseCoder, load_coder, train_coders
from reasonmech.disk import explain_failed_writes, explain_full_disk
from reasonmech.errors import DataError
from reasonmech.files import check_new
from reasonmech.hosts import ModelPair
from reasonmech.output_path import check_own
from reasonmech.problem import ProblemSet
from reasonmech.resumable import MODEL_WORDS, begin, only_writer, read_plan
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Activations, Decode, as_read_by, capture, generate
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

    Work in progress lies in `<out>.work`, which is removed at the end. Killed and called again with the same
    arguments, it goes on: rollouts that were written and shards that were captured are not made again, the
    training goes on at its last checkpoint.

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
    work = out.with_name(out.name + ".work")
    check_own(work)
    with explain_failed_writes(work):
        work.mkdir(exist_ok=True)
    if read_plan(work) is None:
        begin(work, _plan(pair, config, at, problems=problems), kind="training")
    with only_writer(work), explain_full_disk(work):
        begin(work, _plan(pair, config, at, problems=problems), kind="training", words=MODEL_WORDS)
        texts = _texts(pair, problem_set, work=work, progress=progress)
        store = work / "store"
        if not store.exists():
            capture(pair.base, as_read_by(pair.base, texts), [at], out=store, progress=progress)
        acts = Activations.load(store, host=pair.base)
        trained = work / "coders"
        if not trained.exists():
            train_coders(
                acts, {"coder": config}, sites=[at], out=trained, device=pair.base.device, progress=progress
            )
        (trained / "coder" / str(at)).rename(check_new(out))
        shutil.rmtree(work)
    return load_coder(out, host=pair.base)


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
