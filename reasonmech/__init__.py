"""reasonmech: which reasoning features a base model already carries, and what firing them at the right moment does.

Every public name is here and loads on first use: `import reasonmech as rm` takes a fraction of a second.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasonmech.behaviours import label
    from reasonmech.coders import CoderConfig, SparseCoder, load_coder, train_coder
    from reasonmech.experiments import Run, load_run, run
    from reasonmech.hosts import Host, ModelPair, load_host, load_pair, register_pair_path
    from reasonmech.hybrid import Hybrid
    from reasonmech.interventions import (
        Direction,
        Features,
        Whole,
        ablate,
        above,
        always,
        as_hooks,
        below,
        clamp,
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
    )
    from reasonmech.labels import Labels
    from reasonmech.locate import direction, locate, matched_features, select
    from reasonmech.problem import Problem, ProblemSet
    from reasonmech.registry import Registry
    from reasonmech.report import report
    from reasonmech.rollout import Rollout, Rollouts
    from reasonmech.runtime import Decode, capture, check_fit, forward, generate
    from reasonmech.site import Site
    from reasonmech.tasks import load_task
    from reasonmech.viz import logit_lens, look

__version__ = "0.1.0"

# Where each public name lives, in the order of the work.
_EXPORTS = {
    "hosts": ("load_pair", "load_host", "register_pair_path", "ModelPair", "Host"),
    "problem": ("Problem", "ProblemSet"),
    "tasks": ("load_task",),
    "runtime": ("generate", "Decode", "forward", "capture", "check_fit"),
    "rollout": ("Rollout", "Rollouts"),
    "site": ("Site",),
    "coders": ("train_coder", "load_coder", "CoderConfig", "SparseCoder"),
    "behaviours": ("label",),
    "labels": ("Labels",),
    "locate": ("locate", "select", "direction", "matched_features"),
    "interventions": (
        "ablate clamp scale steer patch Features Direction Whole everywhere prompt generated tokens inside "
        "sentence_starts labelled always above below ramp as_hooks"
    ).split(),
    "hybrid": ("Hybrid",),
    "experiments": ("run", "load_run", "Run"),
    "report": ("report",),
    "viz": ("look", "logit_lens"),
    "registry": ("Registry",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _EXPORTS.items() for name in names}
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


class _Package(ModuleType):
    """This package: importing the subpackage `locate` or `report` does not hide the verb of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(sorted(_HOME))}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
