"""P6. Decoding with both models of a pair, beside loops that recompute more than they must."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import torch
from _models import ONSETS, chosen, make_host, make_texts, rounds
from _table import Target, measure, report, timed
from torch import Tensor
from transformers import DynamicCache

import reasonmech as rm
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Vectors
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import move_matrices

PROMPT = 32
NEWS = {"tiny": 24, "mid": 24, "smollm2": 12}
ROWS = {"tiny": 16, "mid": 8, "smollm2": 4}
CHANGE = {"tiny": 0.02, "mid": 0.02, "smollm2": 0.01}  # of each matrix: what makes a sibling
OURS, FLOOR = "hybrid", "base, then thinking model (floor)"
DRAFT = 4
DRAFTED = f"hybrid, drafts of {DRAFT}"
WIDER = "a pass over several tokens of many rows takes longer than one over one token on a CPU"
WHOLE = "both cached, the whole base again on any disagreement"
NO_CACHE = "no cache at all"


@dataclass(frozen=True)
class Case:
    """A pair of siblings, prompts, and one vector for every kind."""

    pair: ModelPair
    ids: Tensor
    texts: list[str]
    layer: int
    vector: Tensor
    new: int

    def written(self, host: rm.hosts.Host | Hybrid) -> rm.Rollouts:
        decode = rm.Decode(max_new_tokens=self.new)
        return rm.generate(host, self.texts, decode=decode, progress=False, receipt="none")

    def hybrid(self, word: str) -> Hybrid:
        base = self.pair.base
        kinds = OneWordKinds({"a": word}, base.tokenizer)
        table, trained = self.vector.repeat(len(kinds.names), 1), torch.ones(len(kinds.names)).bool()
        vectors = Vectors(base, f"resid_post.{self.layer}", table=table, trained=trained)
        return Hybrid(
            self.pair, gate=DisagreementGate(), selector=OfThinking(), executor=vectors, kinds=kinds
        )

    def steered(self, ids: Tensor) -> Tensor:
        """Logits after whole texts, the vector added at the last token."""

        def add(module: object, args: object, x: Tensor) -> Tensor:
            return torch.cat([x[:, :-1], x[:, -1:] + self.vector], dim=1)

        handle = self.pair.base.layers[self.layer].register_forward_hook(add)
        try:
            return self.pair.base.model(ids, use_cache=False, logits_to_keep=1).logits[:, -1]
        finally:
            handle.remove()

    def by_hand(self, *, cached: bool) -> Tensor:
        """The same tokens from a loop over Hugging Face models."""
        models = (self.pair.base.model, self.pair.thinking.model)
        caches, ids, new = (DynamicCache(), DynamicCache()), self.ids, self.ids
        for _ in range(self.new):
            base, thinking = (
                model(new, past_key_values=cache, logits_to_keep=1).logits[:, -1]
                if cached
                else model(ids, use_cache=False, logits_to_keep=1).logits[:, -1]
                for model, cache in zip(models, caches, strict=True)
            )
            apart = base.argmax(-1) != thinking.argmax(-1)
            if bool(apart.any()):
                base = torch.where(apart[:, None], self.steered(ids), base)
            new = base.argmax(-1)[:, None]
            ids = torch.cat([ids, new], dim=1)
        return ids[:, PROMPT:]


def make_case(size: str) -> Case:
    """A host and a sibling whose matrices were moved a little."""
    base = make_host(size)
    model = copy.deepcopy(base.model)
    move_matrices(model, CHANGE[size], torch.Generator().manual_seed(1))
    thinking = rm.load_host(model, tokenizer=base.tokenizer, name="sibling")
    with torch.no_grad():
        thinking.unembedding()[list(thinking.eos_ids)] = 0
    pair = ModelPair(name="siblings", base=base, thinking=thinking)
    vector = torch.randn(base.d_model, generator=torch.Generator().manual_seed(0))
    return Case(pair, *make_texts(base, ROWS[size], PROMPT), base.n_layers // 2, vector, NEWS[size])


def compare(size: str) -> None:
    """One pair."""
    case = make_case(size)
    hybrid = case.hybrid(ONSETS[size])
    with torch.no_grad():
        rollouts = case.written(hybrid)
        ours = torch.tensor([rollout.ids for rollout in rollouts])
        steered = torch.tensor([rollout.steered for rollout in rollouts]).float()
        assert steered.any(), "the two models agree everywhere"
        for cached in (True, False):
            agreement = float((case.by_hand(cached=cached) == ours).float().mean())
            assert agreement > 0.95, f"{agreement:.0%} of the tokens are the same, cached={cached}"
        drafted = case.written(hybrid.drafting(DRAFT))
        assert [rollout.ids for rollout in drafted] == [rollout.ids for rollout in rollouts]
        sides = {
            FLOOR: lambda: (case.written(case.pair.base), case.written(case.pair.thinking)),
            OURS: lambda: case.written(hybrid),
            DRAFTED: lambda: case.written(hybrid.drafting(DRAFT)),
            WHOLE: lambda: case.by_hand(cached=True),
            NO_CACHE: lambda: case.by_hand(cached=False),
        }
        times = measure({name: timed(side) for name, side in sides.items()}, runs=rounds(size))
    share = (
        f"{float(steered.mean()):.0%} of the tokens are steered, {float(steered.any(0).float().mean()):.0%} "
    )
    report(
        f"hybrid_{size}",
        f"P6. {case.new} new tokens after {PROMPT} by a hybrid, {size} host, batch {ROWS[size]}",
        times,
        floor=FLOOR,
        targets=[
            Target(OURS, FLOOR, at_most=1.3),
            Target(DRAFTED, FLOOR, at_most=0.85, because=WIDER),
            Target(WHOLE, OURS, at_least=1.8, because="it grows with the length of the text"),
            Target(NO_CACHE, OURS, at_least=20, because="it grows with the length of the text"),
        ],
        notes=[
            f"{share}of the steps have one. The gated rows are run again from the steering site on.",
        ],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for model_size in chosen(["tiny", "mid", "smollm2"]):
        compare(model_size)
