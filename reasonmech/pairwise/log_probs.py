"""What both models would have said at the tokens that a model chose: what most statistics read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.hosts import Host, ModelPair
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.runtime.passes import run_passes

TEXTS_PER_PASS: Final = 16


@torch.no_grad()
def chosen_log_probs(
    pair: ModelPair, texts: Rollouts
) -> Iterator[tuple[Float[Tensor, "token vocab"], Float[Tensor, "token vocab"]]]:
    """Per text, log-probabilities [nats] of base and thinking model at every token that its model chose.

    Teacher-forced on the answer as it was written, at temperature 1; each model reads the prompt in its own
    tokens (`as_read_by`), whichever model wrote the text. Tokens of the environment are left out; the token
    that ends the text is in. A text without a chosen token has no row.

    Raises:
        DataError: a text is longer than a model has positions. NonFiniteError: NaN or infinite logits.
    """
    for batch in _batches(texts):
        base, thinking = (_of_host(host, batch) for host in (pair.base, pair.thinking))
        yield from zip(base, thinking, strict=True)


@torch.no_grad()
def host_log_probs(host: Host, texts: Rollouts) -> Iterator[Float[Tensor, "token vocab"]]:
    """What `chosen_log_probs` yields of one of its two models.

    Raises:
        DataError: a text is longer than the model has positions. NonFiniteError: NaN or infinite logits.
    """
    for batch in _batches(texts):
        yield from _of_host(host, batch)


@torch.no_grad()
def mean_surprises(host: Host, texts: Rollouts) -> Iterator[float]:
    """-log p of the tokens that a text's model chose, under a host, mean per text [nats]; what
    `host_log_probs` says of them, without the distributions of more than one text at a time.

    Raises:
        DataError: a text is longer than the model has positions. NonFiniteError: NaN or infinite logits.
    """
    for batch in _batches(texts):
        means: dict[int, float] = {}
        for row, log_probs in _each(host, batch):
            flags = zip(batch[row].ids, batch[row].by_environment, strict=True)
            ids = torch.tensor([token for token, written in flags if not written], device=log_probs.device)
            means[row] = -float(log_probs.gather(1, ids[:, None]).mean())
        yield from (means[row] for row in range(len(batch)))


def _batches(texts: Rollouts) -> Iterator[list[Rollout]]:
    for start in range(0, len(texts), TEXTS_PER_PASS):
        yield [texts[i] for i in range(start, min(start + TEXTS_PER_PASS, len(texts)))]


def _of_host(host: Host, written: Sequence[Rollout]) -> list[Float[Tensor, "token vocab"]]:
    by_text = dict(_each(host, written))
    return [by_text[row] for row in range(len(written))]


def _each(host: Host, written: Sequence[Rollout]) -> Iterator[tuple[int, Float[Tensor, "token vocab"]]]:
    """Number of a text, and what the host would have said at its chosen tokens, as its pass ends."""
    batch = as_read_by(host, written)
    longest = max(len(rollout.ids) for rollout in batch)
    passes = run_passes(
        host,
        [PassRow.of(rollout) for rollout in batch],
        batch_size=TEXTS_PER_PASS,
        last_logits=longest + 1,  # of the answers and of what is said before each; of prompts nobody asks
    )
    for row, logits in passes:
        rollout = batch[row]
        chosen = ~torch.tensor(rollout.by_environment, dtype=torch.bool, device=logits.device)
        before = len(logits) - len(chosen) - 1  # the logits in front of the first token of the answer
        yield row, logits[before : before + len(chosen)][chosen].float().log_softmax(-1)
