"""Optimise one steering vector per category so that the base writes what the thinking model wrote.

After "Base Models Know How to Reason, Thinking Models Learn When" (arXiv 2510.07364): vectors are trained by
cross-entropy on the thinking model's token at teacher-forced disagreements. Ours isolates positions during
training, unless `keys="leaking"` asks for theirs: a vector acts at one position, against clean keys and
values, exactly as it does in decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from reasonmech.arguments import as_sequence, check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import Disagreements, ReadPass, clean_passes, find_disagreements
from reasonmech.hybrid.executors import Vectors
from reasonmech.hybrid.optimisation import HeldOut, Optimisation, Steps
from reasonmech.hybrid.partition import PartedTexts
from reasonmech.hybrid.parts import check_part
from reasonmech.hybrid.steering import Passes, Steering, agreement
from reasonmech.hybrid.stored_passes import StoredPasses
from reasonmech.hybrid.vector_config import VectorConfig
from reasonmech.hybrid.vector_directory import OnDisk, VectorDirectory, plan_of
from reasonmech.hybrid.vector_forms import forms
from reasonmech.kinds import Kinds, Openings, with_ends
from reasonmech.mode import fitting
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.memory import check_room
from reasonmech.runtime.pass_bytes import kv_bytes
from reasonmech.site import Site


class TrainedVectors(NamedTuple):
    """Category vectors, and how well they do on rollouts they were not trained on.

    Attributes:
        agreement: share of held-out disagreements at which the steered base writes the thinking model's
            token, or would begin a sentence of its kind.
        rate: the pair's disagreements per model-chosen token, on held-out rollouts.
        counts: training disagreements per category.
    """

    vectors: Vectors
    agreement: float
    rate: float
    counts: dict[str, int]


@fitting("train_vectors")
@checked
def train_vectors(
    host: Host,
    site: Site | str | OnDisk,
    rollouts: Sequence[Rollout],
    *,
    kinds: Kinds | PartedTexts,
    config: VectorConfig | None = None,
    progress: bool = True,
) -> TrainedVectors:
    """Fit category vectors for the base `host` on rollouts of its thinking sibling (greedy if it will be).

    The clean keys and values of all rollouts are used again and again. At a site alone they are all held in
    memory, which grows with the number of tokens; `OnDisk(site, directory)` keeps the stream below them in a
    store instead, and computes them for one batch at a time.

    Args:
        kinds: of the rollouts' task, `tasks.get(rollouts.task).kinds(tokenizer)`, or categories of the
            thinking model's stream, `PartedTexts(partition, pair.thinking, kinds)`; one vector each.

    Raises:
        ArgumentError: no host, rollouts or kinds. UnknownNameError: no such site.
        DataError: the models agree on every token, there are fewer than two problems, or kinds are to be
            written (by: kind) of categories that are none.
        NonFiniteError: the optimisation diverged.
        OutputError: the directory holds part of another training, or cannot be written.
        MemoryShortError: the keys and values of all texts take more memory than is free.
    """
    configs = [config or VectorConfig()]
    return train_draws(host, site, rollouts, kinds=kinds, configs=configs, progress=progress)[0]


@fitting("train_draws")
@checked
def train_draws(
    host: Host,
    site: Site | str | OnDisk,
    rollouts: Sequence[Rollout],
    *,
    kinds: Kinds | PartedTexts,
    configs: Sequence[VectorConfig],
    progress: bool = True,
) -> list[TrainedVectors]:
    """`train_vectors` several times, on rollouts that are read once: how far a training depends on its luck.

    Args:
        configs: one per training, which differ in seed, steps or rate: a seed decides in which order the
            rollouts come. What is compared and held out is as the first says.

    Raises:
        What `train_vectors` does.
    """
    check_type(host, Host, name="host", allowed="a host, such as pair.base")
    _check_categories(kinds, configs)
    rollouts = as_sequence(rollouts, Rollout, name="rollouts", allowed="rollouts of the thinking model")
    at = host.check_site(site.site if isinstance(site, OnDisk) else site)
    halves = _split(as_read_by(host, rollouts), configs[0].held_out)
    if not isinstance(site, OnDisk):
        ground = _Ground.in_memory(host, halves, kinds, configs[0])
        return [ground.train_best(at, config, None, progress=progress) for config in configs]
    work = VectorDirectory(Path(site.directory))
    texts = [*halves.train_on, *halves.held_out]
    plan = plan_of(host, at, texts, _told(kinds), [config.model_dump(mode="json") for config in configs])
    with work.open(plan):
        ground = _Ground.on_disk(host, halves, kinds, configs[0], _Streams(work, at, progress))
        return [
            ground.train_best(at, config, work.training(number), progress=progress)
            for number, config in enumerate(configs)
        ]


class _Halves(NamedTuple):
    """Rollouts to fit on, and rollouts held out."""

    train_on: list[Rollout]
    held_out: list[Rollout]


class _Half(NamedTuple):
    """Rollouts as the clean host reads them, and where it would write otherwise."""

    passes: Passes
    disagreements: Disagreements


class _Streams(NamedTuple):
    """A directory, and the site whose stream is kept in it."""

    work: VectorDirectory
    site: Site
    progress: bool


class _Ground(NamedTuple):
    """What vectors are fitted and measured on, read once for all trainings."""

    host: Host
    names: tuple[str, ...]
    openings: Openings | None
    train_on: _Half
    held_out: _Half

    @classmethod
    def in_memory(
        cls, host: Host, halves: _Halves, kinds: Kinds | PartedTexts, config: VectorConfig
    ) -> _Ground:
        n_tokens = sum(len(rollout.all_ids) for half in halves for rollout in half)
        check_room(
            n_tokens * kv_bytes(host),
            host.device,
            f"holding the keys and values of {n_tokens} tokens",
            do="train out of a store, OnDisk(site, directory), or on fewer rollouts",
        )
        openings, read = _openings(host, kinds, config), []
        for half in halves:
            passes = list(clean_passes(host, half, batch_size=config.batch_rollouts, openings=openings))
            read.append(_Half(passes, _disagreements(passes, half, kinds)))
        return cls(host, kinds.names, openings, *read)

    @classmethod
    def on_disk(
        cls,
        host: Host,
        halves: _Halves,
        kinds: Kinds | PartedTexts,
        config: VectorConfig,
        streams: _Streams,
    ) -> _Ground:
        work, site, progress = streams
        texts = [*halves.train_on, *halves.held_out]
        source = work.stream(host, site, texts, batch_size=config.batch_rollouts, progress=progress)
        openings, offset, read = _openings(host, kinds, config), 0, []
        for name, half in halves._asdict().items():
            passes = StoredPasses(host, half, config.batch_rollouts, source, offset)
            read.append(_Half(passes, _disagreements(work.read(name, passes, openings), half, kinds)))
            offset += len(half)
        return cls(host, kinds.names, openings, *read)

    def train_best(
        self, site: Site, config: VectorConfig, file: Path | None, *, progress: bool
    ) -> TrainedVectors:
        """The training that agrees most on held-out problems, of those under the config's seeds.

        Args:
            file: keeps where the first training stands, and those beside it where others do; None: nothing.
        """
        trained = []
        for number, seed in enumerate(config.seeds()):
            kept = (
                file if file is None or not number else file.with_name(f"{file.stem}-{number}{file.suffix}")
            )
            one = config.model_copy(update={"seed": seed})
            trained.append(self.train(site, one, kept, progress=progress))
        return max(trained, key=lambda one: one.agreement)

    def train(self, site: Site, config: VectorConfig, file: Path | None, *, progress: bool) -> TrainedVectors:
        """Args: file: keeps where the training stands; None: nothing does."""
        host, names = self.host, self.names
        counts = torch.bincount(self.train_on.disagreements.category, minlength=len(names))
        shift = forms.get(config.form)(len(names), host.d_model, config.seed).to(host.device)
        steering = Steering(
            host, site, shift, self.openings, config.balanced, leaking=config.keys == "leaking"
        )
        schedule = Steps(
            config.steps,
            config.lr,
            config.max_rows,
            config.seed,
            config.scale_lr,
            config.weight_decay,
            config.patience,
        )
        optimisation = Optimisation(steering, schedule, file)
        optimisation.run(*self.train_on, HeldOut(*self.held_out), progress=progress)
        table = shift.rows().detach()
        if not bool(torch.isfinite(table).all()):
            raise NonFiniteError(
                f"category vectors at {site} diverged", do=f"lower the learning rate (now {config.lr})"
            )
        trained = counts >= config.min_count
        vectors = Vectors(host, site, table=table, trained=trained, scale=shift.scale)
        return TrainedVectors(
            vectors,
            agreement(steering, *self.held_out),
            self.held_out.disagreements.rate,
            dict(zip(names, counts.tolist(), strict=True)),
        )


def _openings(host: Host, kinds: Kinds | PartedTexts, config: VectorConfig) -> Openings | None:
    if config.by != "kind" or isinstance(kinds, PartedTexts):
        return None
    return Openings(with_ends(kinds, host.eos_ids), host.vocab_size)


def _check_categories(kinds: Kinds | PartedTexts, configs: Sequence[VectorConfig]) -> None:
    if not isinstance(kinds, PartedTexts):
        check_part(kinds, Kinds, name="kinds")
    elif any(config.by == "kind" for config in configs):
        raise DataError(
            f"vectors that are to begin sentences of a kind, for categories of {kinds.partition!r}",
            allowed="by: token; its categories are no kinds, and no first word is theirs",
            do="leave `by` out of the vectors' settings",
        )


def _disagreements(
    passes: Iterable[ReadPass], rollouts: Sequence[Rollout], kinds: Kinds | PartedTexts
) -> Disagreements:
    if not isinstance(kinds, PartedTexts):
        return find_disagreements(passes, rollouts, kinds)
    return kinds.relabelled(find_disagreements(passes, rollouts, kinds.kinds), rollouts)


def _told(kinds: Kinds | PartedTexts) -> list[str]:
    """What a training that goes on must have in common with the one that was killed."""
    return [*kinds.names, *([kinds.partition.digest] if isinstance(kinds, PartedTexts) else [])]


def _split(rollouts: Sequence[Rollout], held_out: float) -> _Halves:
    """By problem."""
    problems = list(dict.fromkeys(r.problem.id for r in rollouts))
    n = max(1, round(held_out * len(problems)))
    if len(problems) < 2:
        raise DataError(f"{len(problems)} problem to train category vectors on", allowed="2 or more")
    first = set(problems[:n])
    return _Halves(
        [r for r in rollouts if r.problem.id not in first], [r for r in rollouts if r.problem.id in first]
    )
