"""Evidence made of numbers: what a pair of stated accuracies would give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reasonmech.claims import Cells, Check, Evidence, Execution, Outcomes, Sharpening


def shares(p: float, n: int) -> np.ndarray:
    """n problems of which the first share p is right: every array made so is nested in a larger one."""
    return (np.arange(n) < round(p * n)).astype(float)


def made_outcomes(
    bb: float,
    bt: float,
    tb: float,
    tt: float,
    *,
    n: int,
    reached: tuple[float, float] | None = None,
    **changed: float,
) -> Outcomes:
    """Outcomes of these cells, free runs as spliced unless `base`, `thinking`, `roomy`, ... say otherwise."""
    cells = Cells(*(shares(p, n) for p in (bb, bt, tb, tt)))
    base, thinking = changed.get("base", bb), changed.get("thinking", tt)
    low, high = reached or (base, thinking)
    return Outcomes(
        base=shares(base, n),
        thinking=shares(thinking, n),
        reached_base=shares(low, n),
        reached_thinking=shares(high, n),
        roomy_base=shares(changed.get("roomy", base), n),
        cells=cells,
        verified=cells,
        roomy_thinking=shares(changed.get("roomy_thinking", thinking), n),
        endless_base=shares(changed.get("endless", 0.0), n),
        endless_thinking=shares(changed.get("endless_thinking", 0.0), n),
    )


def made_evidence(
    greedy: Outcomes,
    sampled: Outcomes | None = None,
    *,
    execution: Mapping[str, tuple[float, float]] | None = None,
    sharpening: Sharpening | None = None,
    checks: tuple[Check, ...] = (),
) -> Evidence:
    """Evidence of a pair; sampled as greedy, and execution equally good, unless given."""
    n = len(greedy.base)
    executed = {
        name: Execution(np.full(n, 4), 4 * shares(base, n), 4 * shares(thinking, n))
        for name, (base, thinking) in (execution or {"step": (0.99, 0.99)}).items()
    }
    return Evidence(
        pair="made",
        problems=tuple(f"p{i}" for i in range(n)),
        outcomes={"greedy": greedy, "sampled": sampled or greedy},
        sharpening=sharpening,
        execution=executed,
        checks=checks,
    )


def made_sharpening(
    n: int, *, temperature: float, left: float, differs: float, tempered: float
) -> Sharpening:
    """A pair 0.2 nats apart of which a temperature leaves a share."""
    kl = np.random.default_rng(0).uniform(0.1, 0.3, n)
    return Sharpening(temperature, kl, left * kl, np.full(n, differs), shares(tempered, n))
