"""P7. Ablating 10 of 16k features of a wide stream: read what the plan needs and write a difference, or
encode all."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import sae_lens  # noqa: TID251 - the peer
import torch
from _table import Target, measure, report, timed
from sae_lens.saes.sae import SAEMetadata  # noqa: TID251

import reasonmech as rm
from reasonmech.coders import SAELensCoder
from reasonmech.interventions.edits import Place
from reasonmech.interventions.hooks import change
from reasonmech.step import Step

D_MODEL, D_SAE, TOKENS, K = 2048, 16384, 128, 32
INDICES = tuple(range(0, 1000, 100))
COLUMNS, WHOLE, OURS = "k columns alone (floor)", "whole encoder and top-k, write nothing", "reasonmech"
SPLICE = "SAELens splice with error term"


def make_coder(architecture: str, directory: Path) -> SAELensCoder:
    """A random coder whose features fire on some tokens and not on others."""
    torch.manual_seed(0)
    sae_class, config_class = sae_lens.registry.SAE_CLASS_REGISTRY[architecture]
    settings = {"k": K} if architecture == "topk" else {}
    metadata = SAEMetadata(model_name="wide", hook_name="blocks.1.hook_out")
    sae = sae_class(config_class(d_in=D_MODEL, d_sae=D_SAE, metadata=metadata, **settings))
    sae.W_dec.data = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL), dim=-1)
    sae.W_enc.data = sae.W_dec.data.T.contiguous()
    if architecture == "jumprelu":
        sae.threshold.data = torch.full((D_SAE,), 1.0)
    sae.save_model(directory)
    return rm.load_coder(directory)


def compare(architecture: str, directory: Path) -> None:
    """One architecture: every side on the same tokens."""
    coder = make_coder(architecture, directory)
    x = torch.randn(TOKENS, D_MODEL) + 3 * coder.rows(INDICES).sum(0)
    axis = rm.Features(coder, INDICES)
    plan = rm.ablate(axis)
    place = Place(Step.of(torch.zeros(1, TOKENS, dtype=torch.long)), torch.ones(1, TOKENS, dtype=torch.bool))
    spliced = copy.deepcopy(coder.sae)
    spliced.use_error_term = True
    weight = coder.sae.W_enc[:, list(INDICES)].contiguous()

    def splice() -> torch.Tensor:
        """SAELens' own forward pass with its error term, features zeroed by a hook on their activations."""

        def knock_out(features: torch.Tensor, hook: object) -> torch.Tensor:
            features[:, list(INDICES)] = 0
            return features

        return spliced.run_with_hooks(x, fwd_hooks=[("hook_sae_acts_post", knock_out)])

    def splice_of_three() -> torch.Tensor:
        """The same without encoding twice, as one would write it by hand."""
        features = coder.encode(x)
        error = x - coder.decode(features)
        features[:, list(INDICES)] = 0
        return coder.decode(features) + error

    sides = {
        COLUMNS: lambda: x @ weight,
        OURS: lambda: change(plan, x, None, place),
        WHOLE: lambda: (x @ coder.sae.W_enc).topk(K, sorted=False),
        "encode all, write the difference": lambda: (
            x - coder.encode(x)[:, list(INDICES)] @ coder.rows(INDICES)
        ),
        "encode all, splice by hand": splice_of_three,
        SPLICE: splice,
    }
    with torch.no_grad():
        ours, theirs = sides[OURS](), splice()
        assert torch.allclose(theirs, splice_of_three(), atol=1e-3)
        assert not torch.allclose(ours, x, atol=1e-2)
        assert (ours - theirs).abs().max() <= 1e-4 * x.abs().max()
        times = measure({name: timed(side) for name, side in sides.items()}, runs=7)
    report(
        f"feature_reads_{architecture}",
        f"P7. Ablating {len(INDICES)} of {D_SAE} features ({architecture}, d_model {D_MODEL}, {TOKENS} "
        "tokens)",
        times,
        floor=COLUMNS,
        targets=[
            Target(
                SPLICE,
                OURS,
                at_least=3,
                limit=WHOLE if architecture == "topk" else COLUMNS,
                because="a TopK coder chooses among all features" if architecture == "topk" else "",
            )
        ],
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("jumprelu", "topk"):
        with tempfile.TemporaryDirectory() as folder:
            compare(name, Path(folder))
