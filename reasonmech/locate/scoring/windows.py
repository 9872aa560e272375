"""Windows: the generated tokens of a store, and which of them stand near the occurrences of a word."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, final

import numpy as np

from reasonmech.errors import DataError
from reasonmech.labels import Labels

if TYPE_CHECKING:
    from reasonmech.runtime.activations.activations import Activations

NEAREST: Final = 12  # at least so many tokens, nearest to a word in frequency, may stand in for it
ATTEMPTS: Final = 50  # sets tried per set asked for


@final
@dataclass(frozen=True, eq=False)
class Windows:
    """Made by `word_windows`; rows are the generated tokens, rollout by rollout.

    Attributes:
        names: the words.
        ids: token ids of each.
        token: [row] token id.
        labels: [row], positive within a window of any word; mode "recognises".
        before, after: a window covers so many tokens before and after an occurrence, within the rollout.
    """

    names: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    token: np.ndarray
    labels: Labels
    before: int
    after: int

    @cached_property
    def n_occurrences(self) -> int:
        """Tokens that are one of the words."""
        return int(np.isin(self.token, [i for ids in self.ids for i in ids]).sum())

    def member(self, groups: Sequence[Collection[int]], rows: slice) -> np.ndarray:
        """[row, group] whether a row stands in a window of any token of each group."""
        start, stop = max(0, rows.start - self.after), min(len(self.token), rows.stop + self.before)
        token, rollout = self.token[start:stop], self.labels.rollout[start:stop]
        near = np.zeros((stop - start, len(groups)), dtype=bool)
        is_word = np.stack([np.isin(token, list(group)) for group in groups], axis=1)
        for shift in range(-self.before, self.after + 1):
            around = slice(max(0, shift), len(token) + min(0, shift))
            word = slice(max(0, -shift), len(token) - max(0, shift))
            near[around] |= is_word[word] & (rollout[around] == rollout[word])[:, None]
        return near[rows.start - start : rows.stop - start]

    def shuffled(self, *, draws: int, seed: int) -> list[tuple[int, ...]]:
        """Other tokens in place of the words, one for each, of about its frequency: `draws` different sets.

        Raises:
            DataError: the text has too few other tokens, or too few for so many different sets.
        """
        types, counts = np.unique(self.token, return_counts=True)
        other = ~np.isin(types, [i for ids in self.ids for i in ids])
        if int(other.sum()) < 2 * len(self.ids):
            raise DataError(
                f"{int(other.sum())} other tokens occur, too few to stand in for {len(self.ids)} words",
                allowed="at least twice as many",
                do="use more text, or fewer words",
            )
        frequency = [int(np.isin(self.token, ids).sum()) for ids in self.ids]
        off = [np.abs(np.log(counts) - np.log(max(f, 1))) for f in frequency]
        # pools large enough that twice as many sets exist as are drawn
        size = min(max(NEAREST, int(np.ceil((2 * draws) ** (1 / len(self.ids))))), int(other.sum()))
        near = [types[np.argsort(np.where(other, o, np.inf), kind="stable")][:size] for o in off]
        rng = np.random.default_rng([seed, 3])
        sets: dict[frozenset[int], tuple[int, ...]] = {}
        for _ in range(ATTEMPTS * draws):
            taken: list[int] = []
            for pool in near:
                free = [int(t) for t in pool if t not in taken]
                taken.append(int(rng.choice(free or [int(t) for t in types[other] if t not in taken])))
            sets.setdefault(frozenset(taken), tuple(taken))
            if len(sets) == draws:
                return list(sets.values())
        raise DataError(
            f"{len(sets)} different sets of {len(self.ids)} words of like frequency were found, {draws} "
            "asked for",
            do="ask for fewer shuffles, give more words, or use more text: the same set twice is no second "
            "draw",
        )


def word_windows(
    acts: Activations, words: Mapping[str, Collection[int]], *, before: int = 2, after: int = 3
) -> Windows:
    """Windows around words in the generated text of a store.

    Args:
        words: name -> ids of the tokens that are this word (" wait", "Wait"), without a BOS:
            `{"wait": rm.hosts.onset_tokens(host.tokenizer, "wait")}`.
        before, after: tokens around an occurrence that count as near it.

    Raises:
        DataError: no word, a word without an id, an id of two words, a word that never occurs, no generated
            token.
    """
    ids = tuple(tuple(dict.fromkeys(of_word)) for of_word in words.values())
    flat = [i for of_word in ids for i in of_word]
    if not ids or not all(ids) or len(set(flat)) < len(flat):
        raise DataError(
            f"words {dict(words)}", allowed="at least one, each with token ids that are no other's"
        )
    if min(before, after) < 0:
        raise DataError(f"a window of {before} tokens before and {after} after", allowed="0 or more")
    index = acts.index
    rows = index["generated"].to_numpy(bool)
    token = index["token"].to_numpy()[rows]
    if missing := [name for name, of in zip(words, ids, strict=True) if not np.isin(token, of).any()]:
        raise DataError(
            f"the text of {len(token)} generated tokens never says {', '.join(map(repr, missing))}",
            do="leave the word out, or check its token ids: with and without a blank in front they differ",
        )
    none = np.zeros(len(token), dtype=bool)
    rollout, position = (index[name].to_numpy()[rows] for name in ("rollout", "position"))
    labels = Labels(" ".join(words), "recognises", rollout, position, none, index["problem"].to_numpy()[rows])
    bare = Windows(tuple(words), ids, token, labels, before, after)
    near = bare.member([flat], slice(0, len(token)))[:, 0]
    return Windows(bare.names, ids, token, Labels(**{**vars(labels), "positive": near}), before, after)
