"""Absence: why texts do not hold what a mask looks for, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasonmech.hosts.spelling import Spelling


def absence_of_word(spelling: Spelling, word: str, texts: Sequence[Sequence[int]]) -> str:
    """What the texts have in place of a word: nothing like it, or the like of it and where it differs."""
    written = [spelling.text(ids) for ids in texts]
    n = sum(text.count(word) for text in written)
    if n:
        within = _around(written, word)
        return f"the texts hold {word!r} only inside longer words or special tokens, such as {within!r}"
    bare = word.strip(" ")
    for what, wanted, flags in (
        ("with other blanks around it", bare, re.NOFLAG),
        ("in another case", word, re.IGNORECASE),
        ("in another case and with other blanks around it", bare, re.IGNORECASE),
    ):
        if wanted and (hit := _first(written, wanted, flags)):
            return f"no text holds the characters {word!r}; they hold it {what}: {hit!r}"
    return f"no text holds the characters {word!r}"


def absence_of_run(spelling: Spelling, run: Sequence[int], texts: Sequence[Sequence[int]]) -> str:
    """Which tokens of a run no text has; or that they never follow each other, though the characters may."""
    present = {int(token) for ids in texts for token in ids}
    missing = [token for token in run if token not in present]
    shown = b"".join(piece.text for piece in map(spelling.piece, run)).decode(errors="replace")
    tokens = f"the tokens {list(run)} ({shown!r})" if len(run) > 1 else f"the token {run[0]} ({shown!r})"
    if len(missing) < len(run):
        tokens += f", though they have {[token for token in run if token in present]}"
    bare = shown.strip(" ")
    if bare and any(bare in spelling.text(ids) for ids in texts):
        return f"no text has {tokens}; {bare!r} stands there in other tokens: give the word as text"
    return f"no text has {tokens}"


def _around(texts: Sequence[str], word: str) -> str:
    text = next(text for text in texts if word in text)
    at = text.index(word)
    left, right = re.search(r"\S*$", text[:at]), re.match(r"\S*", text[at + len(word) :])
    return (left[0] if left else "") + word + (right[0] if right else "")


def _first(texts: Sequence[str], wanted: str, flags: re.RegexFlag) -> str:
    """The characters that match, with a blank that stands in front of them."""
    hits = (re.search(" ?" + re.escape(wanted), text, flags) for text in texts)
    return next((hit[0] for hit in hits if hit), "")
