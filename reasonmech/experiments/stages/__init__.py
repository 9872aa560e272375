"""The stages of the main path, one file each; importing this package registers them."""

from reasonmech.experiments.stages import budget as _budget
from reasonmech.experiments.stages import coders as _coders
from reasonmech.experiments.stages import compare as _compare
from reasonmech.experiments.stages import dose_response as _dose_response
from reasonmech.experiments.stages import feature_groups as _feature_groups
from reasonmech.experiments.stages import hybrid_arms as _hybrid_arms
from reasonmech.experiments.stages import judge as _judge
from reasonmech.experiments.stages import ladder as _ladder
from reasonmech.experiments.stages import locate as _locate
from reasonmech.experiments.stages import metrics as _metrics
from reasonmech.experiments.stages import null_draws as _null_draws
from reasonmech.experiments.stages import pairwise as _pairwise
from reasonmech.experiments.stages import preservation as _preservation
from reasonmech.experiments.stages import rollouts as _rollouts
from reasonmech.experiments.stages import selectivity as _selectivity
from reasonmech.experiments.stages import traces as _traces
from reasonmech.experiments.stages.base import Stage, StageContext, build_stage, check_order, stages
from reasonmech.experiments.stages.corpora import corpora
from reasonmech.settings import Settings

__all__ = ["Settings", "Stage", "StageContext", "build_stage", "check_order", "corpora", "stages"]
del (
    _budget,
    _coders,
    _compare,
    _dose_response,
    _feature_groups,
    _hybrid_arms,
    _judge,
    _ladder,
    _locate,
    _metrics,
    _null_draws,
    _pairwise,
    _preservation,
    _rollouts,
    _selectivity,
    _traces,
)
