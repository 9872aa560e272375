"""Views: hoverable tokens, traces, and figures from tidy tables. They open anywhere, offline.

To add a figure, write a function from a tidy frame to a plotly figure in a module here (see `doses.py`):
`drawing.py` has the check of the frame, curves with bands, points with error bars and the finish, and
`@names_as_text` keeps names from being links. To put it on the report, call it from a section:
`reasonmech/report/sections/`.
"""

from reasonmech.locate.logit_lens import logit_lens
from reasonmech.viz.attribution import audit_scatter, faithfulness_curves
from reasonmech.viz.budget import budget_curves
from reasonmech.viz.dashboard import Dashboard, dashboard
from reasonmech.viz.detectors import feature_table, value_by_site
from reasonmech.viz.dial import dial_curves
from reasonmech.viz.doses import dose_curves
from reasonmech.viz.findings import Findings
from reasonmech.viz.gap import gap_by_factor
from reasonmech.viz.look import look
from reasonmech.viz.null_draws import arm_among_draws
from reasonmech.viz.patching import effect_parts, patch_heatmap
from reasonmech.viz.recovery import recovery_by_arm
from reasonmech.viz.steered import steered_html, steering_places
from reasonmech.viz.sweeps import sweep_curves, sweep_map
from reasonmech.viz.traces import traces_html
from reasonmech.viz.training import training_curves
from reasonmech.viz.view import TokenView

__all__ = [
    "Dashboard",
    "Findings",
    "TokenView",
    "arm_among_draws",
    "audit_scatter",
    "budget_curves",
    "dashboard",
    "dial_curves",
    "dose_curves",
    "faithfulness_curves",
    "feature_table",
    "gap_by_factor",
    "logit_lens",
    "look",
    "effect_parts",
    "patch_heatmap",
    "recovery_by_arm",
    "steered_html",
    "steering_places",
    "sweep_curves",
    "sweep_map",
    "traces_html",
    "training_curves",
    "value_by_site",
]
