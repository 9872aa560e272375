"""reasonmech: which reasoning features a base model carries, and what firing them at the right moment does.

`import reasonmech as rm` takes a fraction of a second: every name loads on first use. What most sessions need
is here; the rest is in namespaces (`rm.causal.faithfulness`, `rm.falsify.Baselines`, `rm.stats.auroc`).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from reasonmech.versions import VERSION as __version__

if TYPE_CHECKING:
    import reasonmech.locate as features
    import reasonmech.locate.falsify as falsify
    import reasonmech.taxonomies.text as text
    from reasonmech import (
        behaviours,
        causal,
        claims,
        coders,
        experiments,
        hosts,
        hybrid,
        interventions,
        metrics,
        organisms,
        pairwise,
        runtime,
        simulators,
        stats,
        tasks,
        taxonomies,
        testing,
        viz,
    )
    from reasonmech.behaviours import label
    from reasonmech.causal import TextPairs, attribute, grid, patch_grid, sweep, sweeps
    from reasonmech.claims import judge
    from reasonmech.coders import CoderConfig, load_coder, train_coder
    from reasonmech.experiments import load_run, run
    from reasonmech.hybrid import Hybrid
    from reasonmech.interventions import (
        Direction,
        Features,
        Subspace,
        Whole,
        ablate,
        above,
        as_hooks,
        at,
        clamp,
        generated,
        labelled,
        load_plan,
        patch,
        prompt,
        scale,
        steer,
        tokens,
    )
    from reasonmech.labels import Labels
    from reasonmech.locate import (
        behaviour_preservation,
        direction,
        feature_stats,
        ladder,
        locate,
        logit_lens,
        matched_features,
        select,
    )
    from reasonmech.metrics import logit_diff, onset_log_odds
    from reasonmech.organisms import load_host, load_pair
    from reasonmech.problem import Problem, ProblemSet
    from reasonmech.report import report
    from reasonmech.rollout import Rollouts, Trace
    from reasonmech.runtime import Activations, Decode, Keep, capture, check_fit, forward, generate
    from reasonmech.tasks import grade, load_task, parse
    from reasonmech.viz import dashboard, look

# Where each public name lives, in the order of the work.
_EXPORTS = {
    "organisms": "load_pair load_host",  # those of hosts, with the zoo known to them
    "problem": "Problem ProblemSet",
    "tasks": "load_task grade parse",
    "runtime": "generate Decode forward capture Keep Activations check_fit",
    "rollout": "Rollouts Trace",
    "coders": "train_coder load_coder CoderConfig",
    "behaviours": "label",
    "labels": "Labels",
    "locate": "locate select direction matched_features feature_stats behaviour_preservation ladder "
    "logit_lens",
    "interventions": "load_plan ablate clamp scale steer patch Features Direction Subspace Whole "
    "prompt generated at tokens labelled above as_hooks",
    "causal": "TextPairs patch_grid attribute sweep grid",
    "metrics": "logit_diff onset_log_odds",
    "hybrid": "Hybrid",
    "claims": "judge",
    "experiments": "run load_run",
    "report": "report",
    "viz": "look dashboard",
}
_HOME = {name: f"{__name__}.{module}" for module, names in _EXPORTS.items() for name in names.split()}

# Namespaces: the package itself, or one that lies deeper or is called like a verb.
_NAMESPACES = {
    name: f"{__name__}.{name}"
    for name in (
        "behaviours causal claims coders experiments hosts hybrid interventions metrics organisms pairwise "
        "runtime simulators stats tasks taxonomies testing viz"
    ).split()
} | {
    "falsify": f"{__name__}.locate.falsify",
    "features": f"{__name__}.locate",
    "sweeps": f"{__name__}.causal.sweeps",
    "text": f"{__name__}.taxonomies.text",
}
__all__ = [*_HOME, *_NAMESPACES]  # pyright: ignore[reportUnsupportedDunderAll]


class _Package(ModuleType):
    """This package: importing the subpackage `locate` or `report` does not hide the verb of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        value: Any = import_module(_NAMESPACES[name])
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name.startswith("_"):  # inspect, pytest and completion ask every module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        from reasonmech.suggestions import where_else

        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; {where_else(name, _HOME, _NAMESPACES)}"
        )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_NAMESPACES])
