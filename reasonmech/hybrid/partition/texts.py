"""PartedTexts: texts whose disagreements have categories of the thinking model's stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch

from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import Disagreements
from reasonmech.hybrid.partition.partition import Partition
from reasonmech.kinds import Kinds
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.streams import ChosenTokens, read_streams


@final
@dataclass(frozen=True, eq=False)
class PartedTexts:
    """In place of kinds of sentence in a training of vectors: categories of the thinking model's stream.

    Attributes:
        thinking: the model that wrote the texts, and whose stream is parted.
        kinds: of the texts' task.
    """

    partition: Partition
    thinking: Host
    kinds: Kinds

    @property
    def names(self) -> tuple[str, ...]:
        return self.partition.names

    def relabelled(self, disagreements: Disagreements, rollouts: Sequence[Rollout]) -> Disagreements:
        """The same disagreements, each of the category that the thinking model's stream has before it.

        Args:
            rollouts: that they lie in, as any model reads them.
        """
        self.partition.check(self.thinking)
        theirs = as_read_by(self.thinking, rollouts)
        positions: list[list[int]] = [[] for _ in rollouts]
        order: list[list[int]] = [[] for _ in rollouts]
        pairs = zip(disagreements.rollout.tolist(), disagreements.position.tolist(), strict=True)
        for number, (text, position) in enumerate(pairs):
            moved = len(theirs[text].prompt_ids) - len(rollouts[text].prompt_ids)
            positions[text].append(position + moved)
            order[text].append(number)
        tokens = ChosenTokens([PassRow.of(rollout) for rollout in theirs], positions)
        stream = read_streams(self.thinking, tokens, [self.partition.site])[self.partition.site]
        category = torch.empty(len(disagreements), dtype=torch.long)
        category[torch.tensor([i for of_text in order for i in of_text], dtype=torch.long)] = (
            self.partition.categories(stream)
        )
        return replace(disagreements, category=category)
