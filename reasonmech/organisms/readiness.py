"""Is a base ready for reinforcement learning? Without the skills whose timing is to be learnt, it would
collapse."""

from __future__ import annotations

from reasonmech.errors import DataError


def check_progress(done: float, skills: dict[str, float]) -> None:
    """Give a pretraining up early: a base that cannot copy operands after two thirds of it will not learn to.

    Raises:
        DataError: at `done` >= 2/3 of the steps, copying is below 0.75.
    """
    if done >= 2 / 3 and skills["copying"] < 0.75:
        raise DataError(
            f"after {done:.0%} of the steps the base copies operands with accuracy {skills['copying']:.2f}",
            allowed="0.75",
            do="begin anew from another initialisation: whether this skill arrives is a matter of luck",
        )


def is_ready(skills: dict[str, float]) -> bool:
    """Whether a base has every skill that reinforcement learning needs."""
    return not missing_skills(skills)


def check_base(skills: dict[str, float]) -> None:
    """Refuse to start reinforcement learning on a base that cannot yet do what it is to learn the timing of.

    Raises:
        DataError: a skill is missing; values and bounds are listed.
    """
    missing = missing_skills(skills)
    if missing:
        raise DataError(
            "the base lacks skills: " + "; ".join(missing),
            do="pretrain longer: reinforcement learning on such a base collapses to guessing",
        )


def missing_skills(skills: dict[str, float]) -> list[str]:
    """Skills below their bound, with both."""
    bounds = {"copying": 0.99, "check": 0.95, "backtrack": 0.95}
    missing = [
        f"{name} {skills[name]:.3f} < {bound}" for name, bound in bounds.items() if skills[name] < bound
    ]
    margin = skills["p_wait_contradiction"] - skills["p_wait_confirmation"]
    if margin < 0.15:
        missing.append(f"P(wait | contradiction) - P(wait | confirmation) {margin:.3f} < 0.15")
    return missing
