"""Logit lens: which tokens a direction or feature would promote if it went straight to the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch

from reasonmech.interventions import Direction, Features

if TYPE_CHECKING:
    from reasonmech.hosts import Host


def logit_lens(host: Host, axis: Direction | Features, *, k: int = 10) -> pd.DataFrame:
    """The k tokens that each direction, or feature's decoder row, promotes and suppresses most.

    logit = unembed(norm(v)) minus its mean over the vocabulary: the model's own final norm and head applied
    to v alone (nostalgebraist 2020). What later layers make of v is left out, so this describes v and proves
    no effect.

    Returns:
        Columns axis, side ("promoted" or "suppressed"), rank (from 1), token, token_id, logit (nats).
    """
    if isinstance(axis, Direction):
        names, vectors = [axis.name or f"direction at {axis.site}"], axis.vector[None]
    else:
        names = [f"{axis.coder.name}/{i}" for i in axis.indices]
        vectors = axis.coder.rows(axis.indices)
    with torch.no_grad():
        logits = host.logits_of(vectors.to(host.device)).float().cpu()
    logits = logits - logits.mean(-1, keepdim=True)
    rows = []
    for name, row in zip(names, logits, strict=True):
        for side, sign in (("promoted", 1), ("suppressed", -1)):
            best = (sign * row).topk(min(k, len(row)))
            for rank, token in enumerate(best.indices.tolist(), start=1):
                rows.append((name, side, rank, host.decode([token]), token, float(row[token])))
    return pd.DataFrame(rows, columns=["axis", "side", "rank", "token", "token_id", "logit"])
