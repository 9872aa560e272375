"""P2. Steered and clamped decoding with a KV cache, batched, beside plain Hugging Face and what users pick instead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

import torch
from _models import as_texts, make_host, random_ids
from _table import Target, measure, report, timed
from torch import Tensor

import reasonmech as rm
from reasonmech.testing import tiny_coder

PROMPT, NEW = 32, 32
CASES = {("tiny", 1): 11, ("tiny", 32): 9, ("mid", 1): 7, ("mid", 32): 5}
FLOOR, OURS = "Hugging Face, unsteered (floor)", "reasonmech, steer"
BRIDGE = "TransformerBridge.generate + hooks"
PYVENE = "pyvene, addition to each new token"
LAYER = 2


def peers(host: rm.Host, ids: Tensor, vector: Tensor) -> dict[str, Callable[[], Tensor]]:
    """nnsight and pyvene steering the same block, where they are installed (`pip install -e '.[peers]'`)."""
    batch, found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, {}
    if find_spec("nnsight") is not None:
        from nnsight import TransformersModel

        model = TransformersModel(host.model, tokenizer=host.tokenizer, task="text-generation")

        def nnsight() -> Tensor:
            with model.generate(batch, max_new_tokens=NEW, do_sample=False) as tracer:
                for _ in tracer.iter[:NEW]:
                    model.model.layers[LAYER].output = model.model.layers[LAYER].output + vector
                written = tracer.result.save()
            return written[:, PROMPT:]

        found["nnsight, loop over steps"] = nnsight
    if find_spec("pyvene") is not None:
        import pyvene

        place = pyvene.RepresentationConfig(LAYER, "block_output", "pos", 1, source_representation=vector[None, None])
        config = pyvene.IntervenableConfig([place], intervention_types=pyvene.AdditionIntervention)
        twin = make_host("tiny" if host.n_layers == 4 else "mid").model
        intervenable = pyvene.IntervenableModel(config, model=twin)
        found[PYVENE] = lambda: intervenable.generate(
            batch, max_new_tokens=NEW, do_sample=False, intervene_on_prompt=False, pad_token_id=host.pad_id
        )[1][:, PROMPT:]
    return found


def compare(size: str, rows: int, runs: int) -> None:
    """One host at one batch size: every side writes the same number of tokens for the same prompts."""
    host = make_host(size)
    ids = random_ids(rows, PROMPT)
    prompts = as_texts(host, ids)
    vector = 4 * torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    steered = [rm.steer(rm.Whole(f"resid_post.{LAYER}"), vector)]
    answered = [rm.steer(rm.Whole(f"resid_post.{LAYER}"), vector, where=rm.generated())]
    coder = tiny_coder(host, f"resid_post.{LAYER}", d_sae=16 * host.d_model, k=32)
    clamped = [rm.clamp(rm.Features(coder, (3, 9)), 8.0)]
    decode = rm.Decode(max_new_tokens=NEW)
    block = host.model.get_submodule(f"model.layers.{LAYER}")

    def plain() -> Tensor:
        mask = torch.ones_like(ids)
        return host.model.generate(
            ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, pad_token_id=host.pad_id
        )[:, PROMPT:]

    def hooked() -> Tensor:
        handle = block.register_forward_hook(lambda module, args, out: out + vector)
        try:
            return plain()
        finally:
            handle.remove()

    def written(plan: list[rm.Intervention]) -> Tensor:
        rollouts = rm.generate(host, prompts, plan, decode=decode, progress=False, receipt="none")
        return torch.tensor([rollout.ids for rollout in rollouts])

    def bridge() -> Tensor:
        with host.lens.hooks(fwd_hooks=[(f"blocks.{LAYER}.hook_out", lambda x, hook: x + vector)]):
            out = host.lens.generate(ids, max_new_tokens=NEW, do_sample=False, stop_at_eos=False, verbose=False)
        return out[:, PROMPT:]

    others = peers(host, ids, vector)
    sides = {
        FLOOR: plain,
        "Hugging Face + hook": hooked,
        "reasonmech, unsteered": lambda: written([]),
        OURS: lambda: written(steered),
        "reasonmech, clamp 2 features": lambda: written(clamped),
        BRIDGE: bridge,
    } | others
    with torch.no_grad():
        expected = hooked()
        assert not torch.equal(expected, plain())
        assert torch.equal(written([]), plain()) and not torch.equal(written(clamped), plain())
        for side in (OURS, BRIDGE, *others):
            reference = written(answered) if side == PYVENE else expected
            agreement = float((sides[side]() == reference).float().mean())
            assert agreement > 0.95, f"{side} agrees with the reference on {agreement:.0%} of the tokens"
        found = measure({name: timed(side) for name, side in sides.items()}, runs=runs)
    report(
        f"decode_{size}_{rows}",
        f"P2. {NEW} new tokens after {PROMPT}, {size} host, batch {rows}",
        found,
        floor=FLOOR,
        targets=[
            Target(FLOOR, OURS, at_least=0.95),
            Target(
                FLOOR,
                "reasonmech, clamp 2 features",
                at_least=0.95,
                because="a TopK coder of 16 d_model features encodes each token: a sixth of this model's products",
            ),
            Target(BRIDGE, OURS, at_least=1.15 if (size, rows) == ("mid", 32) else 1.7),
            *(Target(name, OURS, at_least=1) for name in others),
        ],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for (model_size, n_rows), n_runs in CASES.items():
        compare(model_size, n_rows, n_runs)
