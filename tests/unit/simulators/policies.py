"""Tabular policies for the tests."""

from __future__ import annotations

import hypothesis.strategies as st

from reasonmech.simulators import Hazards, Skills, TabularPair, TabularPolicy

BASE = TabularPolicy(Hazards(step=0.8, check=0.2, backtrack=0.3), Skills(0.9, 0.8, 0.85, 0.97, guess=0.1))
THINKING = TabularPolicy(
    Hazards(step=0.97, check=0.9, backtrack=0.95), Skills(0.98, 0.95, 0.96, 1.0, guess=0.15)
)
PAIR = TabularPair(BASE, THINKING)
RAMBLING = TabularPolicy(Hazards(step=0.5, check=0.4, backtrack=0.6, conclude=0.3), BASE.execution)

probability = st.floats(0.0, 1.0)
hazards = st.builds(Hazards, step=probability, check=probability, backtrack=probability, conclude=probability)
skills = st.builds(Skills, *(probability,) * 5)
policies = st.builds(TabularPolicy, hazards, skills)
