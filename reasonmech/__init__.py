"""reasonmech: which reasoning features a base model already carries, and what firing them at the right moment
does.

Every public name is here and loads on first use: `import reasonmech as rm` takes a fraction of a second.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasonmech.behaviours import TraceColumns, agreement, label
    from reasonmech.causal import (
        Attribution,
        Audit,
        Configuration,
        Effects,
        Faithfulness,
        PatchGrid,
        SweepTable,
        attribute,
        audit,
        effects,
        estimate_sweep,
        faithfulness,
        grid,
        patch_grid,
        sweep,
        sweep_rollouts,
    )
    from reasonmech.coders import (
        CoderConfig,
        SparseCoder,
        convert_coder,
        load_coder,
        train_coder,
        train_coders,
        training_curve,
    )
    from reasonmech.experiments import Run, load_run, run
    from reasonmech.hosts import Host, ModelPair, pair_names, register_pair_path
    from reasonmech.hybrid import Hybrid, Kinds, VectorConfig, train_vectors
    from reasonmech.interventions import (
        Direction,
        Features,
        Subspace,
        Whole,
        ablate,
        above,
        always,
        as_hooks,
        at,
        below,
        bind,
        clamp,
        disagree,
        everywhere,
        generated,
        inside,
        labelled,
        patch,
        prompt,
        ramp,
        scale,
        sentence_starts,
        steer,
        tokens,
        uncertain_above,
    )
    from reasonmech.labels import Labels, Opportunity, Span
    from reasonmech.locate import (
        FeatureTable,
        direction,
        feature_stats,
        hazard_kept,
        ladder,
        locate,
        logit_lens,
        matched_features,
        select,
    )
    from reasonmech.locate.falsify import Falsification, falsify
    from reasonmech.metrics import (
        accuracy,
        agreement_table,
        answer_likelihood,
        behaviour_rate,
        logit_diff,
        next_token_kl,
        onset_log_odds,
    )
    from reasonmech.organisms import load_host, load_pair
    from reasonmech.problem import Problem, ProblemSet
    from reasonmech.registry import Registry
    from reasonmech.report import report
    from reasonmech.rollout import Rollout, Rollouts, Sentence, Trace
    from reasonmech.runtime import (
        Activations,
        Decode,
        Keep,
        TopCodes,
        capture,
        check_fit,
        estimate_capture,
        forward,
        generate,
        mean_of,
        resampled,
    )
    from reasonmech.site import Site
    from reasonmech.tasks import grade, load_task, parse
    from reasonmech.taxonomies.sae import (
        Sentences,
        SentenceTaxonomy,
        judge_taxonomy,
        load_taxonomy,
        score_taxonomy,
        train_taxonomies,
    )
    from reasonmech.viz import Dashboard, Findings, dashboard, look

__version__ = "0.1.0"

# Where each public name lives, in the order of the work.
_EXPORTS = {
    "organisms": "load_pair load_host",  # those of hosts, with the zoo known to them
    "hosts": "register_pair_path pair_names ModelPair Host",
    "problem": "Problem ProblemSet",
    "tasks": "load_task grade parse",
    "runtime": "generate Decode forward capture estimate_capture Keep TopCodes Activations check_fit "
    "mean_of resampled",
    "rollout": "Rollout Rollouts Sentence Trace",
    "site": "Site",
    "coders": "train_coder train_coders training_curve load_coder convert_coder CoderConfig SparseCoder",
    "taxonomies.sae": "Sentences train_taxonomies load_taxonomy score_taxonomy judge_taxonomy "
    "SentenceTaxonomy",
    "behaviours": "label agreement TraceColumns",
    "labels": "Labels Opportunity Span",
    "locate": "locate select direction matched_features feature_stats FeatureTable hazard_kept ladder "
    "logit_lens",
    "locate.falsify": "falsify Falsification",
    "interventions": "ablate clamp scale steer patch Features Direction Subspace Whole everywhere prompt "
    "generated at "
    "tokens inside sentence_starts labelled always above below ramp disagree uncertain_above bind as_hooks",
    "causal": "patch_grid PatchGrid effects Effects attribute Attribution audit Audit faithfulness "
    "Faithfulness grid "
    "Configuration sweep sweep_rollouts estimate_sweep SweepTable",
    "metrics": "logit_diff onset_log_odds answer_likelihood next_token_kl behaviour_rate accuracy "
    "agreement_table",
    "hybrid": "Hybrid Kinds train_vectors VectorConfig",
    "experiments": "run load_run Run",
    "report": "report",
    "viz": "look dashboard Dashboard Findings",
    "registry": "Registry",
}
_HOME = {name: f"{__name__}.{module}" for module, names in _EXPORTS.items() for name in names.split()}
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


class _Package(ModuleType):
    """This package: importing the subpackage `locate` or `report` does not hide the verb of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(sorted(_HOME))}"
        )
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
