"""Logit lens: which tokens a direction or feature would promote if it went straight to the output."""

from __future__ import annotations

import pandas as pd
import torch

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.hosts.host import Host
from reasonmech.interventions import Direction, Features
from reasonmech.ranges import Positive


@checked
def logit_lens(host: Host, axis: Direction | Features, *, k: Positive = 10) -> pd.DataFrame:
    """The k tokens that each direction, or feature's decoder row, promotes and suppresses most.

    logit = unembed(norm(v)) minus its mean over the vocabulary: the model's own final norm and head applied
    to v alone (nostalgebraist 2020). What later layers make of v is left out, so this describes v and proves
    no effect.

    Args:
        axis: a direction, or features: each gives its own rows.
        k: tokens on either side.

    Raises:
        ArgumentError: an argument is of the wrong type, such as the axis in the place of the host.

    Returns:
        Columns axis, side ("promoted" or "suppressed"), rank (from 1), token, token_id, logit (nats). An id
            without a token, of a padded vocabulary, is shown as "[id 130]".
    """
    do = "rm.logit_lens(host, axis): the host first"
    check_type(host, Host, name="host", allowed="a host", do=do)
    check_type(axis, (Direction, Features), name="axis", allowed="a direction, or features of a coder", do=do)
    if isinstance(axis, Direction):
        names, vectors = [axis.name or f"direction at {axis.site}"], axis.vector[None]
    else:
        names = [f"{axis.coder.name}/{i}" for i in axis.indices]
        vectors = axis.coder.rows(axis.indices)
    with torch.no_grad():
        logits = host.logits_of(vectors.to(host.device)).float().cpu()
    logits = logits - logits.mean(-1, keepdim=True)  # a shift of all logits changes no probability
    rows = []
    for name, row in zip(names, logits, strict=True):
        for side, sign in (("promoted", 1), ("suppressed", -1)):
            best = (sign * row).topk(min(k, len(row)))
            for rank, token in enumerate(best.indices.tolist(), start=1):
                rows.append((name, side, rank, host.token_text(token), token, float(row[token])))
    return pd.DataFrame(rows, columns=["axis", "side", "rank", "token", "token_id", "logit"])
