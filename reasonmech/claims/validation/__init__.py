"""Validation: how often a verdict is wrong, on simulated pairs whose truth is exact."""

from reasonmech.claims.validation.draws import draw_all, draw_row, save_draws
from reasonmech.claims.validation.error_rates import DECIDED, ErrorRates, Rates, Slope
from reasonmech.claims.validation.populations import POPULATIONS, Population
from reasonmech.claims.validation.published import PUBLISHED, PublishedRule
from reasonmech.claims.validation.simulated import CaseSize, Exhibit, simulate_exhibit
from reasonmech.claims.validation.tabular_case import TabularCase
from reasonmech.claims.validation.truth import Truth, truth_of

__all__ = [
    "DECIDED",
    "POPULATIONS",
    "PUBLISHED",
    "CaseSize",
    "ErrorRates",
    "Exhibit",
    "Population",
    "PublishedRule",
    "Rates",
    "Slope",
    "TabularCase",
    "Truth",
    "draw_all",
    "draw_row",
    "save_draws",
    "simulate_exhibit",
    "truth_of",
]
