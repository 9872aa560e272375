"""Behaviours of the chain world, by what a sentence does to the value that stands. One file each."""

from reasonmech.tasks.chain.behaviours.backtrack import BacktrackBehaviour, contradicted
from reasonmech.tasks.chain.behaviours.check import CheckBehaviour, unverified
from reasonmech.tasks.chain.behaviours.conclude import ConcludeBehaviour
from reasonmech.tasks.chain.behaviours.plan import PlanBehaviour
from reasonmech.tasks.chain.behaviours.step import StepBehaviour
from reasonmech.tasks.chain.behaviours.uncertain import UncertainBehaviour

__all__ = [
    "BacktrackBehaviour",
    "CheckBehaviour",
    "ConcludeBehaviour",
    "PlanBehaviour",
    "StepBehaviour",
    "UncertainBehaviour",
    "contradicted",
    "unverified",
]
