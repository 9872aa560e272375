"""The full arm over several trainings of its category vectors: how much of it is the luck of one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reasonmech.experiments.stages.null_arm import Answered, FullArm
from reasonmech.hybrid import percent_steered


def training_rows(arm: FullArm, again: Answered) -> pd.DataFrame:
    """Rows of `trainings.parquet`: the training of the arm itself (0), then the further ones."""
    n = len(again.rollouts) // len(again.correct)
    texts = [arm.steered.full, *(again.rollouts[i * n : (i + 1) * n] for i in range(len(again.correct)))]
    rows = [
        {
            "arm": "full",
            "training": training,
            "n_problems": len(correct),
            "accuracy": float(correct.mean()),
            "recovery": arm.recovery(float(correct.mean())),
            "percent_steered": percent_steered(written).share,
        }
        for training, (correct, written) in enumerate(zip([arm.correct, *again.correct], texts, strict=True))
    ]
    return pd.DataFrame(rows)


def training_note(rows: pd.DataFrame) -> str:
    """The spread of what the trainings recover, as a sentence."""
    recovery = rows["recovery"].to_numpy(float)
    listed = ", ".join(f"{value:.1%}" for value in recovery)
    return (
        f"full over {len(rows)} trainings of its vectors ({int(rows['n_problems'].iloc[0])} problems): "
        f"recovers {listed}; mean {np.mean(recovery):.1%}, standard deviation {np.std(recovery, ddof=1):.1%}"
    )
