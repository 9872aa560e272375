"""Attempts by texts that a task's own grammar writes to part a behaviour from its words and its place."""

from __future__ import annotations

from typing import Final

from reasonmech.hosts import Host
from reasonmech.locate.falsify import Attempt, Counterexamples, Crossed
from reasonmech.organisms.ground_truth.chain_examples import ChainExamples
from reasonmech.tasks import tasks
from reasonmech.tasks.chain import Chain
from reasonmech.tasks.chain.world import World

ABOUT: Final = "backtrack"
"""The behaviour that `ChainExamples` writes about: whether a contradiction stands."""

N_CROSSED: Final = 40  # in six versions each
N_EXAMPLES: Final = 120


def is_written_about(behaviour: str, task: str) -> bool:
    """Whether the grammar of a task writes texts about a behaviour."""
    return _world_of(behaviour, task) is not None


def attempts_by_texts(host: Host, behaviour: str, task: str, *, seed: int) -> tuple[Attempt, ...]:
    """Cue by context, and counterexamples, in the words of the task's world; none where nothing is written.

    Raises:
        DataError: the model's tokenizer has no token of its own for each word of the world.
    """
    world = _world_of(behaviour, task)
    if world is None:
        return ()
    grammar = ChainExamples(world, cue=world.words_of(ABOUT)[0], encode=host.encode)
    texts = grammar.crossed(N_CROSSED, seed=seed)
    grammar.examples(2, seed=seed)  # refused here, before anything is read
    return Crossed(host, texts), Counterexamples(host, grammar, n=N_EXAMPLES, seed=seed)


def _world_of(behaviour: str, task: str) -> World | None:
    """The world of a task whose grammar writes texts about a behaviour; None where it writes none."""
    one = tasks.get(task)
    return one.world if behaviour == ABOUT and isinstance(one, Chain) else None
