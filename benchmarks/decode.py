"""P2. Steered and clamped decoding with a KV cache, batched, beside plain Hugging Face and what users pick
instead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
from _models import SMOLLM2, chosen, jumprelu_coder, make_host, make_texts
from _table import Target, measure, report, timed
from torch import Tensor

import reasonmech as rm
from reasonmech.coders import SAELensCoder
from reasonmech.testing import tiny_coder

PROMPT, NEW = 32, 32
CASES = {("tiny", 1): 9, ("tiny", 32): 7, ("mid", 1): 5, ("mid", 32): 5, ("smollm2", 1): 5, ("smollm2", 8): 3}
FACTORS = {"smollm2": 1.05}  # of HF generate's tokens a second; elsewhere .95
FLOOR, HOOKED = "Hugging Face, unsteered (floor)", "Hugging Face + hook"
UNSTEERED, OURS = "reasonmech, unsteered", "reasonmech, steer"
TOPK, TOPK_HOOK = (
    "reasonmech, clamp 2 TopK features",
    "Hugging Face + hook that encodes all and takes the top k",
)
JUMP, JUMP_HOOK = "reasonmech, clamp 2 JumpReLU features", "Hugging Face + hook that encodes 2 columns"
CLAMPS = {TOPK: TOPK_HOOK, JUMP: JUMP_HOOK}
BRIDGE = "TransformerBridge.generate + hooks"
PYVENE = "pyvene, addition to each new token"
LAYER = 2
FEATURES, AMOUNT, K = [3, 9], 8.0, 32
WHOLE_ENCODER = "which features a TopK coder fires depends on all of them: the whole encoder, for each token"
OWN_LOOP = (
    "the rest is the receipt: at each token which rows were marked, which fired, and the size of the edit"
)

Hook = Callable[[object, object, Tensor], Tensor]


def peers(host: rm.hosts.Host, ids: Tensor, vector: Tensor, size: str) -> dict[str, Callable[[], Tensor]]:
    """nnsight and pyvene steering the same block, where they are installed (`make peers`)."""
    batch, times = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, {}
    # each peer changes the model it is given: a twin for each
    if find_spec("nnsight") is not None:
        from nnsight import TransformersModel

        model = TransformersModel(make_host(size).model, tokenizer=host.tokenizer, task="text-generation")

        def nnsight() -> Tensor:
            with model.generate(batch, max_new_tokens=NEW, do_sample=False) as tracer:
                for _ in tracer.iter[:NEW]:
                    model.model.layers[LAYER].output = model.model.layers[LAYER].output + vector
                written = tracer.result.save()
            return written[:, PROMPT:]

        times["nnsight, loop over steps"] = nnsight
    if find_spec("pyvene") is not None:
        import pyvene

        place = pyvene.RepresentationConfig(
            LAYER, "block_output", "pos", 1, source_representation=vector[None, None]
        )
        config = pyvene.IntervenableConfig([place], intervention_types=pyvene.AdditionIntervention)
        twin = make_host(size).model
        intervenable = pyvene.IntervenableModel(config, model=twin)
        times[PYVENE] = lambda: intervenable.generate(
            batch, max_new_tokens=NEW, do_sample=False, intervene_on_prompt=False, pad_token_id=host.pad_id
        )[1][:, PROMPT:]
    return times


def topk_clamp(coder: SAELensCoder) -> Hook:
    """What every exact clamp of a TopK coder's features has to compute, and nothing else."""
    state = coder.sae.state_dict()
    encoder, rows, index = state["W_enc"], state["W_dec"][FEATURES], torch.tensor(FEATURES)

    def hook(module: object, args: object, x: Tensor) -> Tensor:
        pre = (x - state["b_dec"]) @ encoder + state["b_enc"]
        fired = (pre.topk(K, dim=-1, sorted=False).indices[..., None, :] == index[:, None]).any(-1)
        return x + (AMOUNT - pre[..., FEATURES].relu() * fired) @ rows

    return hook


def jump_clamp(coder: SAELensCoder) -> Hook:
    """The same for JumpReLU, where a feature depends on its own column alone."""
    state = coder.sae.state_dict()
    columns, bias = state["W_enc"][:, FEATURES].contiguous(), state["b_enc"][FEATURES]
    threshold, rows = state["threshold"][FEATURES], state["W_dec"][FEATURES]

    def hook(module: object, args: object, x: Tensor) -> Tensor:
        pre = (x - state["b_dec"]) @ columns + bias
        return x + (AMOUNT - pre.relu() * (pre > threshold)) @ rows

    return hook


@dataclass(frozen=True)
class Case:
    """One host and one batch of prompts, of which every side makes the same tokens."""

    host: rm.hosts.Host
    ids: Tensor
    prompts: list[str]

    def plain(self) -> Tensor:
        mask, pad = torch.ones_like(self.ids), self.host.pad_id
        model = self.host.model
        return model.generate(
            self.ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, pad_token_id=pad
        )[:, PROMPT:]

    def hooked(self, hook: Hook) -> Tensor:
        handle = self.host.model.get_submodule(f"model.layers.{LAYER}").register_forward_hook(hook)
        try:
            return self.plain()
        finally:
            handle.remove()

    def written(
        self,
        *plan: rm.Intervention,
        compile: bool = False,
        receipt: Literal["none", "sample"] = "none",
    ) -> Tensor:
        decode = rm.Decode(max_new_tokens=NEW, compile=compile)
        rollouts = rm.generate(
            self.host, self.prompts, list(plan), decode=decode, progress=False, receipt=receipt
        )
        return torch.tensor([rollout.ids for rollout in rollouts])

    def bridge(self, vector: Tensor) -> Tensor:
        bridge = self.host.lens
        with bridge.hooks(fwd_hooks=[(f"blocks.{LAYER}.hook_out", lambda x, hook: x + vector)]):
            out = bridge.generate(
                self.ids, max_new_tokens=NEW, do_sample=False, stop_at_eos=False, verbose=False
            )
        return out[:, PROMPT:]


def make_case(size: str, rows: int) -> Case:
    """A batch of prompts."""
    host = make_host(size)
    return Case(host, *make_texts(host, rows, PROMPT))


def compare(size: str, rows: int, runs: int) -> None:
    """One host at one batch size."""
    case = make_case(size, rows)
    host, site = case.host, f"resid_post.{LAYER}"
    vector = 4 * torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    steered = rm.steer(rm.Whole(site), vector)
    answered = rm.steer(rm.Whole(site), vector, where=rm.generated())
    topk = tiny_coder(host, site, d_sae=16 * host.d_model, k=K)
    jump = jumprelu_coder(host, LAYER, 16 * host.d_model)
    of_topk, of_jump = topk_clamp(topk), jump_clamp(jump)
    clamps = {coder: rm.clamp(rm.Features(coder, FEATURES), AMOUNT) for coder in (topk, jump)}
    others = peers(host, case.ids, vector, size)
    sides = {
        FLOOR: case.plain,
        HOOKED: lambda: case.hooked(lambda module, args, x: x + vector),
        UNSTEERED: case.written,
        OURS: lambda: case.written(steered),
        TOPK_HOOK: lambda: case.hooked(of_topk),
        TOPK: lambda: case.written(clamps[topk]),
        JUMP_HOOK: lambda: case.hooked(of_jump),
        JUMP: lambda: case.written(clamps[jump]),
        BRIDGE: lambda: case.bridge(vector),
    } | others
    if size == SMOLLM2 and rows > 1:  # every side takes seconds a run, and the peers stand beside batch 1
        sides, others = {name: sides[name] for name in (FLOOR, HOOKED, UNSTEERED, OURS)}, {}
    with torch.no_grad():
        plain, steered_ids = sides[FLOOR](), sides[HOOKED]()
        references = {UNSTEERED: plain, OURS: steered_ids}
        references |= {clamp: sides[hook]() for clamp, hook in CLAMPS.items() if clamp in sides}
        references |= {
            side: case.written(answered) if side == PYVENE else steered_ids
            for side in (BRIDGE, *others)
            if side in sides
        }
        for side, reference in references.items():
            assert side == UNSTEERED or not torch.equal(reference, plain), f"{side} changes nothing"
            agreement = float((sides[side]() == reference).float().mean())
            assert agreement > 0.95, f"{side} agrees with the reference on {agreement:.0%} of the tokens"
        times = measure({name: timed(side) for name, side in sides.items()}, runs=runs)
    of_clamps = [
        Target(FLOOR, JUMP, at_least=0.95, limit=JUMP_HOOK, because=OWN_LOOP),
        Target(FLOOR, TOPK, at_least=0.95, limit=TOPK_HOOK, because=WHOLE_ENCODER),
        Target(TOPK_HOOK, TOPK, at_least=0.95, because=OWN_LOOP),
    ]
    report(
        f"decode_{size}_{rows}",
        f"P2. {NEW} new tokens after {PROMPT}, {size} host, batch {rows}",
        times,
        floor=FLOOR,
        targets=[
            Target(FLOOR, OURS, at_least=FACTORS.get(size, 0.95), limit=HOOKED, because=OWN_LOOP),
            *(of_clamps if TOPK in sides else []),
            *(
                [Target(BRIDGE, OURS, at_least=1.15 if (size, rows) == ("mid", 32) else 1.7, limit=FLOOR)]
                if BRIDGE in sides
                else []
            ),
            *(Target(name, OURS, at_least=1, limit=HOOKED, because=OWN_LOOP) for name in others),
        ],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for model_size in chosen(["tiny", "mid", "smollm2"]):
        for (of_size, n_rows), n_runs in CASES.items():
            if of_size == model_size:
                compare(of_size, n_rows, n_runs)
