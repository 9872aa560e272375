"""VectorDirectory: a training of category vectors on disk: a store, what was read from it, checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from safetensors.torch import load_file, save_file
from torch import Tensor

from reasonmech.disk import explain_failed_writes, explain_full_disk
from reasonmech.door import checked
from reasonmech.files import atomic_write, check_safetensors
from reasonmech.hosts import Host
from reasonmech.hybrid.stored_passes import ReadTexts, StoredPasses, StoredStream
from reasonmech.kinds import Openings
from reasonmech.resumable import begin, only_writer, read_plan
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.served import NO_LAYER, last_unread
from reasonmech.site import Site

WORDS: Final = {"identity": "another model", "texts": "other rollouts", "configs": "other settings"}


@checked
@final
@dataclass(frozen=True)
class OnDisk:
    """A site at which category vectors are trained out of a directory, whatever the number of texts.

    The directory takes a store of the stream that enters the blocks above (4 d_model bytes a token in
    float32), from which the keys and values of one batch of texts are computed at each step; and checkpoints.
    Killed, the same call goes on where it stopped; called again when it is finished, it reads what is there.

    Attributes:
        site: where the vectors act.
        directory: a new one, or that of the same call.
    """

    site: Site | str
    directory: str | Path


@final
@dataclass(frozen=True)
class VectorDirectory:
    """What a training of category vectors has on disk."""

    path: Path

    @contextmanager
    def open(self, plan: dict[str, Any]) -> Iterator[None]:
        """Take it for this process.

        Raises:
            OutputError: it is part of another training, cannot be written, or another process writes it.
        """
        with explain_failed_writes(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if read_plan(self.path) is None:  # nothing is written into a folder of others
            begin(self.path, plan, kind="training of category vectors")
        with only_writer(self.path), explain_full_disk(self.path):
            begin(self.path, plan, kind="training of category vectors", words=WORDS)
            yield

    def training(self, number: int) -> Path:
        """Where one of several trainings stands."""
        return self.path / f"training-{number:02d}.safetensors"

    def stream(
        self, host: Host, site: Site, rollouts: Sequence[Rollout], *, batch_size: int, progress: bool
    ) -> StoredStream:
        """The stream that enters the blocks above a site, at every token: captured, or what is there."""
        layer = last_unread(site)
        at = site._replace(kind="resid_pre", layer=0) if layer == NO_LAYER else Site("resid_post", layer)
        out = self.path / "acts"
        if not out.exists():
            capture(host, rollouts, [at], out=out, keep=Keep(batch_size=batch_size), progress=progress)
        return StoredStream(host, Activations.load(out, host=host), [len(r.all_ids) for r in rollouts], layer)

    def read(self, name: str, passes: StoredPasses, openings: Openings | None) -> Iterator[ReadTexts]:
        """What the clean host would write after every token, batch by batch: read, or what is there."""
        for number in range(len(passes)):
            file = self.path / "likeliest" / f"{name}-{number:05d}.safetensors"
            batch = passes[number]
            if not file.is_file():
                likeliest = passes.read(number, openings)
                kinds = {} if likeliest.kind is None else {"kind": likeliest.kind.cpu()}
                self.write(file, {"token": likeliest.token.cpu(), **kinds})
            values = self.load(file)
            yield ReadTexts(batch.first, batch.ids, values["token"], values.get("kind"))

    def write(self, file: Path, tensors: dict[str, Tensor]) -> None:
        """Write tensors, in one rename. Raises OutputError."""
        with explain_failed_writes(self.path), atomic_write(file) as unfinished:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished)

    def load(self, file: Path) -> dict[str, Tensor]:
        """Read them back. Raises CorruptFileError."""
        check_safetensors(file)
        return load_file(file)


def plan_of(
    host: Host, site: Site, rollouts: Sequence[Rollout], kinds: list[str], configs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What a call that goes on must have in common with the one that was killed."""
    digest = hashlib.sha256()
    for rollout in rollouts:
        told = [rollout.problem.id, len(rollout.prompt_ids), rollout.stop, *map(int, rollout.by_environment)]
        digest.update(json.dumps([told, [*rollout.all_ids]]).encode())
    return {
        "identity": host.fingerprint,
        "site": str(site),
        "texts": digest.hexdigest(),
        "kinds": kinds,
        "configs": [*configs],
    }
