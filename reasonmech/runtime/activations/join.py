"""joined: the activations of several captures as those of one."""

from __future__ import annotations

from collections.abc import Sequence

from reasonmech.errors import DataError, MismatchError
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.shards import MemoryShard


def joined(parts: Sequence[Activations]) -> Activations:
    """Activations of the same sites of one model, one part after the other; the texts of a later one are
    numbered on.

    Raises:
        DataError: no part. MismatchError: parts of other sites, models or forms, or one of a store.
    """
    if not parts:
        raise DataError("no activations to join", do="give at least one capture")
    shards, n_texts = [], 0
    for number, part in enumerate(parts):
        if part.origin != parts[0].origin or part.sites != parts[0].sites:
            raise MismatchError(
                f"part {number} holds {part!r}, the first one {parts[0]!r}",
                allowed="the same sites, of the same model",
            )
        for shard in part.shards:
            if not isinstance(shard, MemoryShard):
                raise MismatchError(f"part {number} is a store", do="capture its texts with the others")
            index = shard.index.assign(rollout=shard.index["rollout"] + n_texts)
            shards.append(MemoryShard(shard.tensors, index))
        n_texts += int(part.index["rollout"].to_numpy().max()) + 1
    return Activations(parts[0].sites, parts[0].origin, tuple(shards))
