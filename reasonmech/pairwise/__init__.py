"""Measurements of a base/thinking pair besides interventions."""

from reasonmech.pairwise.coverage import cover_at_tau, pass_at_k

__all__ = ["cover_at_tau", "pass_at_k"]
