"""judge: from a pair of models to a verdict, registered before it is looked at, kept, and resumed."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from reasonmech.arguments import check_type
from reasonmech.claims.judgement import Judgement, judge_evidence
from reasonmech.claims.measuring import Extent, Questions, measure_evidence
from reasonmech.claims.registration import Looks, Registration, Terms
from reasonmech.claims.saving import (
    EVIDENCE_FILE,
    JUDGEMENT_FILE,
    beside_table,
    evidence_table,
    judgement_text,
    load_judgement,
)
from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.files import RECORD_FILE, new_directory
from reasonmech.hosts import ModelPair
from reasonmech.json_text import read_object
from reasonmech.kinds import opening_categories
from reasonmech.organisms import load_pair
from reasonmech.paths import cache_dir
from reasonmech.ranges import Positive
from reasonmech.resumable import ResumableDirectory
from reasonmech.rollout import OTHER, STOP
from reasonmech.runtime.threads import threads_of
from reasonmech.stats import fewest_problems
from reasonmech.tasks import tasks

TERMS: Final = Terms()
PIECES: Final = "judgement"  # in a folder for work


@checked
def judge(
    pair: str | ModelPair,
    *,
    n: Positive = 300,
    full: bool = False,
    terms: Terms = TERMS,
    out: str | Path | None = None,
    progress: bool = True,
) -> Judgement:
    """What did training do to a pair: WHEN, HOW, BOTH, SHARPENED, FORMAT, NEITHER, INCONCLUSIVE, INVALID?

        rm.judge("tiny-when").verdict

    Both models, their four splices and their controls answer the same problems, greedily and at T = 1; rules
    that were fixed before decide. A call that was killed goes on where it was. The same call again returns
    the judgement that is recorded: a confirmation split is opened once. Another call on a split of this pair
    that was opened before is answered, and the judgement says that it is exploratory.

    Args:
        pair: a pair, or the name of one.
        n: problems.
        full: four samples at T = 1, the factorial by behaviour, the leak curve and the moments, too.
        terms: task, split, seed and rule.
        out: directory to create; None: one in the user's cache.

    Raises:
        DataError: a pair without a task, a task without kinds of sentence, too few problems for a verdict.
        UnknownNameError: no such pair, task or split.
        OutputError: `out` is there and holds something else.
        CorruptFileError: what was recorded is damaged.
    """
    both = (
        load_pair(pair)
        if isinstance(pair, str)
        else check_type(
            pair, ModelPair, name="pair", allowed="a ModelPair, or a name", do='rm.judge("tiny-when")'
        )
    )
    check_type(terms, Terms, name="terms", allowed="Terms", do="terms=rm.claims.Terms(split='test')")
    task = _task_of(both, terms)
    _check_enough(n, terms)
    _check_kinds(both, task)
    extent = Extent.of(n, full=full)
    questions = Questions.drawn(task, extent, split=terms.split, seed=terms.seed)
    registration, looks = Registration.of(both, task=task, terms=terms, extent=extent), Looks.of_user()
    target = _default_path(registration) if out is None else Path(out).expanduser()
    if recorded := _find_recorded(registration, looks, target):
        return load_judgement(_copied(recorded, target))
    with ResumableDirectory(target, _plan_of(registration), kind="judgement").open() as directory:
        opened_before = looks.open(registration, target)
        judgement = _measure(
            both, questions, registration, opened_before, directory=directory, progress=progress
        )
        return _keep(directory, registration, judgement)


@checked
def measure_judgement(
    pair: ModelPair,
    questions: Questions,
    registration: Registration,
    *,
    work: Path | None = None,
    progress: bool = True,
) -> Judgement:
    """Measure what a registration says of a pair, and judge it by its rule; no look is entered in the ledger.

    Args:
        work: a folder for runs as they end, with which a call that was killed goes on; the caller removes it.
            None: a kill loses them.

    Raises:
        OutputError: `work` cannot be written, or another process writes it.
        DataError: as `judge` does; the confirmation split, of whose looks `judge` keeps a ledger.
    """
    if registration.terms.split == "confirmation":
        raise DataError(
            "the confirmation split is opened once, and measure_judgement enters no look in the ledger",
            allowed="split train, tuning or test",
            do="rm.judge(pair) for the confirmation split, or Terms(split='test') here",
        )
    _check_enough(registration.extent.n, registration.terms)
    _check_kinds(pair, registration.task)
    if work is None:
        return _measure(pair, questions, registration, (), directory=None, progress=progress)
    work.mkdir(parents=True, exist_ok=True)
    pieces = ResumableDirectory(work / PIECES, _plan_of(registration), kind="judgement")
    with pieces.open() as directory:
        return _measure(pair, questions, registration, (), directory=directory, progress=progress)


def _plan_of(registration: Registration) -> dict[str, object]:
    return {"kind": "judgement", **registration.to_json()}


def _measure(
    pair: ModelPair,
    questions: Questions,
    registration: Registration,
    opened_before: tuple[str, ...],
    *,
    directory: ResumableDirectory | None,
    progress: bool,
) -> Judgement:
    """What was checked, measured and judged; runs are kept in the directory as they end."""
    with threads_of(pair):
        measured = measure_evidence(
            pair, questions, extent=registration.extent, directory=directory, progress=progress
        )
    provenance = registration.provenance(questions.fitted_on, opened_before)
    return judge_evidence(replace(measured, provenance=provenance), registration.terms.rule)


def _task_of(pair: ModelPair, terms: Terms) -> str:
    task = terms.task or pair.task
    if task is None:
        raise DataError(
            f"pair {pair.name!r} has no task, and none was named",
            allowed=f"a task: {', '.join(tasks)}",
            do="rm.judge(pair, terms=rm.claims.Terms(task='chain'))",
        )
    return task


def _check_enough(n: int, terms: Terms) -> None:
    """Refuse, before anything is run, what no answer could decide."""
    rule = terms.rule
    needed = fewest_problems(rule.margin, alpha=1 - rule.level)
    if n < needed:
        raise DataError(
            f"{n} problems: even if they all agreed, no effect could be shown to be below {rule.margin:.0%}",
            allowed=f"at least {needed}, with which it could; 300 for pairs that do not all agree",
            do=f"n={max(needed, 300)}",
        )


def _check_kinds(pair: ModelPair, task: str) -> None:
    """Refuse a task whose sentences are of no kind: then there is no onset that one model could choose."""
    do = "name a task with kinds: rm.claims.Terms(task='chain')"
    try:
        kinds = tasks.get(task).kinds(pair.base.tokenizer)
    except (DataError, NotImplementedError) as error:
        raise DataError(
            f"the kinds of sentence of task {task!r} cannot be told in tokens of pair {pair.name!r}: {error}",
            do=do,
        ) from error
    named = {kinds.names[int(k)] for k in opening_categories(kinds, pair.base.vocab_size).unique()}
    if not named - {OTHER, STOP}:
        raise DataError(
            f"task {task!r} has no kind of sentence that a first token of pair {pair.name!r} begins: who "
            "decides when, and who carries it out, cannot be told apart",
            allowed="a task whose kinds are known by their first tokens",
            do=do,
        )


def _default_path(registration: Registration) -> Path:
    name = re.sub(r"[^\w-]+", "-", registration.pair).strip("-")[:60]  # a pair may be called as a path is
    return cache_dir() / "judgements" / f"{name}-{registration.hash[:12]}"


def _find_recorded(registration: Registration, looks: Looks, target: Path) -> Path | None:
    """Where the judgement under this very registration is, complete."""
    for home in (target, looks.place(registration)):
        if home is not None and _hash_in(home) == registration.hash:
            return home
    return None


def _hash_in(home: Path) -> str | None:
    """The registration of the judgement in a directory; None where there is none."""
    file = home / RECORD_FILE
    if not file.is_file():
        return None
    return read_object(file, {"hash?": str}, do=f"delete {home}, and judge again").get("hash")


def _copied(recorded: Path, target: Path) -> Path:
    """The directory that was asked for, as a copy where the judgement was recorded elsewhere."""
    if recorded.resolve() == target.resolve():
        return recorded
    with new_directory(target) as unfinished:
        shutil.copytree(recorded, unfinished, dirs_exist_ok=True)
    return target


def _keep(directory: ResumableDirectory, registration: Registration, judgement: Judgement) -> Judgement:
    """Write evidence, judgement and methods; then the directory gets its name."""
    evidence = judgement.evidence
    with directory.piece(EVIDENCE_FILE) as unfinished:
        evidence_table(evidence).to_parquet(unfinished, index=False)
    with directory.piece(JUDGEMENT_FILE) as unfinished:
        unfinished.write_text(judgement_text(judgement), encoding="utf-8")
    directory.complete(
        {
            "hash": registration.hash,
            "registration": registration.to_json() | {"pair": registration.pair},
            "evidence": beside_table(evidence),
        }
    )
    return judgement
