"""P5. First-order effects of all features of a coder, beside plain forward passes and exact patches of
each."""

from __future__ import annotations

import torch
from _models import VOCAB, as_texts, chosen, make_host, make_texts, rounds
from _table import Target, measure, report, timed

import reasonmech as rm
from reasonmech.metrics import logit_diff
from reasonmech.testing import tiny_coder

TEXTS, LENGTH, TRIED = 4, 64, 24
BECAUSE = "the rest is the books of every feature, text and position, and the table"
NEEDED = "two passes, one backward, both runs encoded"
FLOOR, OURS = "one plain forward of the texts (floor)", "rm.attribute"


def compare(size: str) -> None:
    """One host, one TopK coder of 16 d_model features in its middle."""
    host = make_host(size)
    clean, first = make_texts(host, TEXTS, LENGTH, seed=1)
    corrupt, second = make_texts(host, TEXTS, LENGTH, seed=2)
    if host.vocab_size == VOCAB:  # real text, cut and put together, may be read in other tokens
        corrupt[:, : LENGTH // 2] = clean[:, : LENGTH // 2]
        second = as_texts(host, corrupt)
    coder = tiny_coder(host, f"resid_post.{host.n_layers // 2}", d_sae=16 * host.d_model, k=32)
    metric = logit_diff(host, good=11, bad=12)

    def attributed() -> rm.causal.Attribution:
        return rm.attribute(host, rm.TextPairs(first, second), coder, metric=metric)

    def plain() -> torch.Tensor:
        with torch.no_grad():
            return host.model(corrupt, use_cache=False).logits

    block = host.model.get_submodule(f"model.layers.{host.n_layers // 2}")

    def needed() -> torch.Tensor:
        """What first-order effects cannot do without: both runs' features, and the gradient between them."""
        seen: list[torch.Tensor] = []

        def keep(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
            seen.append(output.detach().requires_grad_())
            return seen[-1]

        handle = block.register_forward_hook(keep)
        with torch.no_grad():
            host.model(clean, use_cache=False, logits_to_keep=1)
        logits = host.model(corrupt, use_cache=False, logits_to_keep=1).logits[:, -1]
        handle.remove()
        (logits[:, 11] - logits[:, 12]).sum().backward()
        source, here = seen
        assert here.grad is not None
        with torch.no_grad():
            return (coder.encode(source) - coder.encode(here.detach())) * (
                here.grad @ coder.rows(range(coder.d_sae)).T
            )

    attribution = attributed()
    features = attribution.table[attribution.table["node"] == "feature"]
    effects = torch.zeros(coder.d_sae)
    effects[features["feature"].to_numpy(dtype="int64")] = torch.tensor(features["effect"].to_numpy()).float()
    expected = needed().sum((0, 1)) / TEXTS
    assert float(expected.abs().max()) > 0
    assert (effects - expected).abs().max() <= 1e-3 * expected.abs().max()
    n_nodes = int((attribution.table["effect"] != 0).sum())
    audit = rm.causal.audit(attribution, top=TRIED, sample=TRIED, seed=0)
    exact = f"exact patches of all {n_nodes} nodes (from {2 * TRIED + 1} of them)"
    one_by_one = timed(lambda: rm.causal.audit(attribution, top=TRIED, sample=TRIED, seed=0))
    times = measure(
        {
            FLOOR: timed(plain),
            NEEDED: timed(needed),
            OURS: timed(attributed),
            exact: lambda: one_by_one() * n_nodes / (2 * TRIED + 1),
        },
        runs=rounds(size),
    )
    report(
        f"attribution_{size}",
        f"P5. {coder.d_sae} features of a coder, {TEXTS} pairs of {LENGTH} tokens, {size} host",
        times,
        floor=FLOOR,
        targets=[
            Target(OURS, FLOOR, at_most=3.5, limit=NEEDED, because=BECAUSE),
            Target(exact, OURS, at_least=100),
        ],
        notes=[f"{audit}"],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for model_size in chosen(["tiny", "mid", "smollm2"]):
        compare(model_size)
