"""RandomInit: what a coder finds in a model that never learnt anything lies in the text, not in the model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd
import torch
from torch import nn

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.errors import DataError, MismatchError
from reasonmech.frames import rows_where
from reasonmech.hosts.host import Host
from reasonmech.locate.falsify.finding import AttemptFinding, Candidates, Outcome
from reasonmech.locate.table import FeatureTable
from reasonmech.ranges import Seed
from reasonmech.stats import Interval

if TYPE_CHECKING:
    from reasonmech.coders import SparseCoder


@final
@dataclass(frozen=True, eq=False)
class RandomInit:
    """Held-out value of a feature against the best that the same search finds in a randomly drawn model.

    After Heap et al. 2025 (arXiv 2501.17727), where SAEs of random transformers look interpretable. Search
    the random twin's coder in the same text, with the same labels and the same `Search`.

    Attributes:
        table: the search that found the candidates.
        null: the same search in a coder of `random_twin(host)`.

    Raises:
        MismatchError: searches of different behaviours, modes, scores or held-out rows.
        DataError: the null has no held-out value.
    """

    table: FeatureTable
    null: FeatureTable

    def __post_init__(self) -> None:
        for column in ("behaviour", "mode", "score", "n_pos", "n_neg", "n_problems"):
            searched, null = (set(table.frame[column].dropna()) for table in (self.table, self.null))
            if searched != null:
                raise MismatchError(
                    f"{column} {sorted(searched)} in the search and {sorted(null)} in its null",
                    do="search both models in the same way",
                )
        if _features(self.null).empty:
            raise DataError("the null has no held-out value of a feature", do="search it with `locate`")

    @property
    def name(self) -> str:
        return "random model"

    def findings(self, coder: SparseCoder, candidates: Candidates) -> list[AttemptFinding]:
        """One per feature, beside the null's best feature, which was chosen for being the best.

        A feature survives where the two intervals lie apart, and is refuted where all of its own lies below
        the null's value.

        Raises:
            DataError: a candidate without a held-out value in the table.
        """
        null = _features(self.null)
        ends = null[["value", "low", "high"]].to_numpy(np.float64)
        best = Interval(*ends[ends[:, 0].argmax()].tolist())
        features = _features(self.table)
        at_site = features["site"].eq(str(coder.site)).to_numpy()
        findings = []
        for feature in candidates.features:
            of_feature = at_site & features["feature"].eq(feature).to_numpy()
            rows = rows_where(features, of_feature).to_dict("records")
            if not rows:
                raise DataError(
                    f"feature {feature} has no held-out value", do="search with a larger `Search(top=)`"
                )
            row = rows[0]
            value = Interval(row["value"], row["low"], row["high"])
            reason = (
                f"{value} {row['unit']} on held-out problems; the best of {len(null)} features of a randomly "
                f"initialised model reaches {best}"
            )
            outcome: Outcome = "undecided"
            if value.high <= best.estimate:
                outcome = "refuted"
            elif value.low > best.high:
                outcome = "survives"
            number = row["score"], *value[:3], row["unit"]
            findings.append(AttemptFinding(feature, self.name, outcome, reason, *number))
        return findings


def _features(table: FeatureTable) -> pd.DataFrame:
    """The features that have a held-out value."""
    frame = table.frame
    return rows_where(frame, frame["kind"].eq("feature") & frame["value"].notna())


@checked
def random_twin(host: Host, *, seed: Seed = 0) -> Host:
    """A host of the same architecture and tokenizer, its weights drawn anew by the model's own initialiser.

    The host itself keeps its weights.
    """
    check_type(host, Host, name="host", allowed="a host", do='rm.load_host("organism:tiny-when/base")')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = type(host.model)(copy.deepcopy(host.model.config))
    nn.Module.to(model, device=host.device, dtype=host.dtype)
    return Host(model.eval(), host.tokenizer, name=f"{host.name} (random, seed {seed})")
