"""RandomFeatures: as many features of a model that never learnt anything as a coder has."""

from __future__ import annotations

import torch

from reasonmech.coders import SparseCoder
from reasonmech.coders.hookname import hook_of_site
from reasonmech.coders.layout import coder_of
from reasonmech.hosts import Host
from reasonmech.runtime import Activations
from reasonmech.site import Site


def random_features(host: Host, acts: Activations, site: Site, *, n: int, seed: int) -> SparseCoder:
    """n rectified projections of a host's stream, less its mean, on random directions.

    Args:
        host: of random weights, whose activations `acts` are.
    """
    x, random = acts.at(site).float(), torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n, x.shape[1], generator=random), dim=-1)
    state = {"W_enc": rows.T.contiguous(), "W_dec": rows, "b_enc": torch.zeros(n), "b_dec": x.mean(0)}
    record = {"model_hash": host.weight_hash, "model_identity": host.model_identity().beyond_weights()}
    metadata = {"model_name": host.name, "hook_name": hook_of_site(site), "reasonmech": record}
    return coder_of(
        state, {"apply_b_dec_to_input": True}, metadata=metadata, name=f"random features at {site}"
    )
