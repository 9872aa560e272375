"""Splits: which of the disjoint splits a problem belongs to, by a hash of its text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

Split = Literal["train", "tuning", "test", "confirmation"]
_SHARES: Final[Mapping[Split, range]] = {
    "train": range(0, 60),
    "tuning": range(60, 70),
    "test": range(70, 85),
    "confirmation": range(85, 100),
}


def share_of(text: str) -> int:
    """0 to 99, by a hash of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % 100


def split_of(text: str) -> Split:
    """The split that a text belongs to: no seed can move it."""
    share = share_of(text)
    return next(split for split, shares in _SHARES.items() if share in shares)
