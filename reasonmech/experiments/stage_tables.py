"""StageTables: the tables of a run that one stage each writes, read on first use."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from reasonmech.experiments.tables import (
    ARM_PAIRS_FILE,
    BASELINES_FILE,
    BUDGET_CURVES_FILE,
    BUDGET_POINTS_FILE,
    DETECTORS_FILE,
    FALSIFIED_FILE,
    LADDER_FILE,
    MATCHED_ONSETS_FILE,
    METRICS_FILE,
    MISSING_FILE,
    NULL_DRAWS_FILE,
    NULLS_FILE,
    ONSETS_FILE,
    PAIRWISE_FILE,
    PRESERVATION_FILE,
    SELECTIVITY_FILE,
    STEERED_PLACES_FILE,
    STEERED_TEXTS_FILE,
    TRACES_FILE,
    TRAININGS_FILE,
    WRITTEN_FILE,
    read_table,
)


class StageTables:
    """Tables of a run; empty where its configuration has no such stage, or the run is older than it.

    Attributes:
        path: directory of the run.
    """

    path: Path

    @cached_property
    def features(self) -> pd.DataFrame:
        """Located features, empty when the experiment located none."""
        return self._table("features.parquet")

    @cached_property
    def written_features(self) -> pd.DataFrame:
        """Features that the run clamps and ablates, one row each; empty where it chose none, and for runs
        older than this."""
        return self._table(WRITTEN_FILE)

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """Verdicts on C0, C1 and C2 for every feature that is written; empty where nobody asked."""
        return self._table(LADDER_FILE)

    @cached_property
    def falsified(self) -> pd.DataFrame:
        """What every attempt to refute a clamped feature came to; empty where nobody asked."""
        return self._table(FALSIFIED_FILE)

    @cached_property
    def baselines(self) -> pd.DataFrame:
        """AUROC of what needs no coder where those features are to detect; empty where nobody asked."""
        return self._table(BASELINES_FILE)

    @cached_property
    def onsets(self) -> pd.DataFrame:
        """Every intervention of the study on the onset of every kind; empty for runs older than this."""
        return self._table(ONSETS_FILE)

    @cached_property
    def selectivity(self) -> pd.DataFrame:
        """Groups beside controls matched in KL, with a reading; empty where it was not measured."""
        return self._table(SELECTIVITY_FILE)

    @cached_property
    def matched_onsets(self) -> pd.DataFrame:
        """The same groups and controls on the onset of every kind; empty where it was not measured."""
        return self._table(MATCHED_ONSETS_FILE)

    @cached_property
    def detectors(self) -> pd.DataFrame:
        """Features beside detectors that need no coder, at equal tuning; empty where none were compared."""
        return self._table(DETECTORS_FILE)

    @cached_property
    def preservation(self) -> pd.DataFrame:
        """Hazard of each behaviour under its coder's reconstruction; empty when it was not measured."""
        return self._table(PRESERVATION_FILE)

    @cached_property
    def arm_pairs(self) -> pd.DataFrame:
        """On how many problems two arms write one text, a pair a row; empty for runs older than this."""
        return self._table(ARM_PAIRS_FILE)

    @cached_property
    def nulls(self) -> pd.DataFrame:
        """The full arm among draws of each null, a null a row; empty when no draws were run."""
        return self._table(NULLS_FILE)

    @cached_property
    def null_draws(self) -> pd.DataFrame:
        """What each draw of each null did, at its own best dose; empty when no draws were run."""
        return self._table(NULL_DRAWS_FILE)

    @cached_property
    def trainings(self) -> pd.DataFrame:
        """The full arm over trainings of its vectors, a training a row; empty where there was one."""
        return self._table(TRAININGS_FILE)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Configured metrics, one row per metric and condition; empty when none was configured."""
        return self._table(METRICS_FILE)

    @cached_property
    def budget_points(self) -> pd.DataFrame:
        """Points of budget curves (`hybrid.budget.Budget.points`); empty when none were measured."""
        return self._table(BUDGET_POINTS_FILE)

    @cached_property
    def budget_curves(self) -> pd.DataFrame:
        """Budget curves, each against its nulls (`hybrid.budget.Budget.summary`); empty when none were
        measured."""
        return self._table(BUDGET_CURVES_FILE)

    @cached_property
    def steered_places(self) -> pd.DataFrame:
        """Every steered token of every arm: where, which category, what the base would have written."""
        return self._table(STEERED_PLACES_FILE)

    @cached_property
    def steered_texts(self) -> pd.DataFrame:
        """Some problems token by token, as the base, hybrids and the thinking model answered them."""
        return self._table(STEERED_TEXTS_FILE)

    @cached_property
    def pairwise(self) -> pd.DataFrame:
        """Statistics of the pair, rows of `reasonmech.pairwise.COLUMNS`; empty when none was configured."""
        return self._table(PAIRWISE_FILE)

    @cached_property
    def traces(self) -> pd.DataFrame:
        """Some texts token by token with feature activations, empty when the experiment showed none."""
        return self._table(TRACES_FILE)

    @cached_property
    def missing(self) -> pd.DataFrame:
        """What the run was asked for and lacks, one item a row: stage, part, item, and the first cause in its
        parts (error, happened, allowed, do). Empty where nothing is missing, and for runs older than this."""
        return self._table(MISSING_FILE)

    def _table(self, name: str) -> pd.DataFrame:
        path = self.path / name
        return read_table(path) if path.exists() else pd.DataFrame()
