"""Abbreviations: words behind which a full stop ends no sentence."""

from __future__ import annotations

import re
from typing import Final

BEFORE_ANYTHING: Final = re.compile(
    r"e\.g|i\.e|cf|viz|vs|approx|resp|w\.r\.t|wrt|s\.t|a\.k\.a|mrs?|dr|prof|st|thm|prop|lem|cor|def",
    re.IGNORECASE,
)
BEFORE_A_NUMBER: Final = re.compile(r"nos?|eqs?|figs?|secs?|ch|pp?|vol|ex|refs?", re.IGNORECASE)
BEFORE_LOWER_CASE: Final = re.compile(r"etc|al|[ap]\.m|ph\.d|u\.s|jr|sr|inc|ltd", re.IGNORECASE)
LAST_WORD: Final = re.compile(r"[^\W\d_](?:[\w.]*[^\W_])?$")
"""The word that a text ends with, dots within it included."""
