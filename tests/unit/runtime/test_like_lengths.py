"""Batches of texts of like length: every text once, little padding, cut by number where lengths are alike."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reasonmech.runtime.like_lengths import ENOUGH, like_lengths

lengths_of = st.lists(st.one_of(st.integers(1, 60), st.integers(1, 6000)), max_size=40)


@given(lengths=lengths_of, batch_size=st.integers(1, 9), longest_first=st.booleans())
def test_every_text_once_in_order_and_padding_is_bounded(lengths, batch_size, longest_first) -> None:
    batches = [*like_lengths(lengths, batch_size, longest_first=longest_first)]
    order = [number for batch in batches for number in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (-1) ** longest_first * lengths[i])
    for batch in batches:
        tokens = sum(lengths[i] for i in batch)
        padding = max(lengths[i] for i in batch) * len(batch) - tokens
        assert 1 <= len(batch) <= batch_size and padding <= max(ENOUGH, tokens)


def test_texts_of_like_length_are_cut_by_number_alone() -> None:
    lengths = [20 + i % 140 for i in range(300)]
    assert [len(batch) for batch in like_lengths(lengths, 64)] == [64, 64, 64, 64, 44]


def test_one_long_text_does_not_stretch_all_others() -> None:
    lengths = [50, 6000, 60, 55]
    assert [*like_lengths(lengths, 64)] == [[0, 3, 2], [1]]
    assert [*like_lengths(lengths, 64, longest_first=True)] == [[1, 2], [3, 0]]  # as many places as tokens
