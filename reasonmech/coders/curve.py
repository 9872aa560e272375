"""The training curve that a coder carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonmech.coders.coder import SparseCoder
from reasonmech.coders.recipe import CURVE
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def training_curve(coder: SparseCoder) -> pd.DataFrame:
    """How a coder was trained, as it was recorded: one row per some hundredth of the steps.

    Columns: coder, step (from 0), tokens (read so far), loss, mse (both on inputs scaled to a mean norm of
    sqrt(d_in)), explained_variance (of that batch), l0 (features per token), dead (features idle for
    `dead_after` steps), lr.

    Raises:
        DataError: it was not trained here, so nothing was recorded.
    """
    import pandas as pd

    curve = coder.record.get(CURVE) if isinstance(coder, SAELensCoder) else None
    if not curve:
        raise DataError(
            f"coder {coder.name!r} carries no training curve", allowed="coders of `rm.train_coder`"
        )
    frame = pd.DataFrame(curve).astype({"step": int, "tokens": int, "dead": int})
    frame.insert(0, "coder", coder.name)
    return frame
