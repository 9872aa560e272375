"""The stages of the main path, one file each; importing this package registers them."""

from reasonmech.experiments.stages import arms as _arms
from reasonmech.experiments.stages import coders as _coders
from reasonmech.experiments.stages import compare as _compare
from reasonmech.experiments.stages import groups as _groups
from reasonmech.experiments.stages import kept as _kept
from reasonmech.experiments.stages import locate as _locate
from reasonmech.experiments.stages import rollouts as _rollouts
from reasonmech.experiments.stages import study as _study
from reasonmech.experiments.stages import traces as _traces
from reasonmech.experiments.stages.base import Settings, Stage, StageContext, build_stage, check_order, stages
from reasonmech.experiments.stages.corpora import corpora

__all__ = ["Settings", "Stage", "StageContext", "build_stage", "check_order", "corpora", "stages"]
del _arms, _coders, _compare, _groups, _kept, _locate, _rollouts, _study, _traces
