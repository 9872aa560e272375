"""Arms that differ from `full` in what is added: one vector, a bias, a scale, means, a guardrail; or in
what its categories are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reasonmech.hybrid.arms import Arm, arms, of_parts

FORMS: Final[Mapping[str, str]] = {"one_vector": "shared", "biased": "bias", "scaled": "scaled"}
"""Arm -> form of vectors (`hybrid.forms`) that is trained for it."""

_VARIANT: Final = "a variant that may recover: full is read beside it"
_WHAT: Final[Mapping[str, str]] = {
    "one_vector": "full with one trained vector for all categories: what no category decides",
    "biased": "full with a trained vector per category and one that all share (published v1)",
    "scaled": "full with as much of each vector as a network reads off the stream (published ICML version)",
}

for name, form in FORMS.items():
    parts = {"executor": {"kind": "vectors", "form": form}}
    arms.register(name)(Arm(of_parts(parts), "", _VARIANT, _WHAT[name]))

arms.register("mean_difference")(
    Arm(
        of_parts({"executor": {"kind": "mean_difference"}}),
        "",
        _VARIANT,
        "full with a difference of means at first words for its vector, at the same KL on neutral text",
    )
)
arms.register("guarded")(
    Arm(
        of_parts({"executor": {"kind": "guarded"}}),
        "",
        _VARIANT,
        "full at the one of ten strengths whose token the thinking model likes best (published v1)",
    )
)

PARTED: Final[Mapping[str, str]] = {
    "taxonomy": "sentence_sae",
    "clusters": "kmeans",
    "random_parts": "random",
}
"""Arm -> partition of the thinking model's stream (`hybrid.partitions`) whose categories it has."""

_PARTED_WHAT: Final[Mapping[str, str]] = {
    "taxonomy": "full with categories of a sentence SAE on the thinking model (published)",
    "clusters": "full with categories of k-means on the thinking model's sentences",
    "random_parts": "full with categories of random directions: what no taxonomy decides",
}

for name, partition in PARTED.items():
    parts = {
        "selector": {"kind": "partition", "partition": partition},
        "executor": {"kind": "partition", "partition": partition},
    }
    arms.register(name)(Arm(of_parts(parts), "", _VARIANT, _PARTED_WHAT[name]))

VECTOR_ARMS: Final = (*FORMS, *PARTED, "mean_difference", "guarded")
