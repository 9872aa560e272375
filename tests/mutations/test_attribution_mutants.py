"""Each way in which an attribution could be wrong without a word must be caught by a named test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd
import pytest
import torch
from torch import Tensor

from reasonmech.causal.attribution import NO_FEATURE
from reasonmech.causal.contrast import Contrast
from reasonmech.causal.stream_difference import StreamDifference
from reasonmech.runtime import gradients, streams
from reasonmech.runtime.streams import ChosenTokens
from tests.equivalence import test_attribution as equal
from tests.unit.causal import test_attribution as unit

ATTRIBUTION = sys.modules["reasonmech.causal.attribution"]


def padding_is_counted(m: pytest.MonkeyPatch) -> None:
    for module in (gradients, streams):
        m.setattr(module, "columns_of", lambda mask, positions: torch.tensor(list(positions)))


def rows_of_continuations_are_forgotten(m: pytest.MonkeyPatch) -> None:
    def first_row(gradient: Tensor, columns: Sequence[Tensor], rows: slice) -> Tensor:
        return gradient[rows.start][columns[rows.start]].float()

    m.setattr(gradients, "_sum_rows", first_row)


def texts_are_mixed_up(m: pytest.MonkeyPatch) -> None:
    right = streams.read_streams

    def shifted(host: object, tokens: ChosenTokens, *rest: object, **named: object) -> object:
        texts, positions = tokens.texts, tokens.positions
        mixed = ChosenTokens([*texts[1:], texts[0]], [*positions[1:], positions[0]])
        return right(host, mixed, *rest, **named)  # type: ignore[arg-type]

    m.setattr(ATTRIBUTION, "read_streams", shifted)


def the_error_node_is_the_whole(m: pytest.MonkeyPatch) -> None:
    right = ATTRIBUTION._entries

    def without_its_features(*args: object) -> pd.DataFrame:
        entries = right(*args)
        features = entries[entries["feature"] != NO_FEATURE].groupby("text")["effect"].sum()
        first = entries[entries["feature"] == NO_FEATURE].drop_duplicates("text").index
        entries.loc[first, "effect"] += features.reindex(entries.loc[first, "text"]).to_numpy()
        return entries

    m.setattr(ATTRIBUTION, "_entries", without_its_features)


def source_is_read_where_the_target_is(m: pytest.MonkeyPatch) -> None:
    def same(self: Contrast) -> list[tuple[int, ...]]:
        return [
            tuple(min(p, len(t.ids) - 1) for p in at)
            for t, at in zip(self.pairs.source, self.at_target, strict=True)
        ]

    m.setattr(Contrast, "at_source", property(same))


def a_flat_metric_is_accepted(m: pytest.MonkeyPatch) -> None:
    m.setattr(gradients, "_refuse_stationary", lambda *_: None)


def steps_begin_at_the_target(m: pytest.MonkeyPatch) -> None:
    right = gradients.gradients

    def unmoved(*args: object, moved: object = None, **named: object) -> gradients.Gradients:
        return right(*args, **named)  # type: ignore[arg-type]

    m.setattr(ATTRIBUTION, "gradients", unmoved)


def a_dropped_error_is_kept(m: pytest.MonkeyPatch) -> None:
    m.setattr(StreamDifference, "reconstruction", property(lambda self: self.target))


class Mutant(NamedTuple):
    patch: Callable[[pytest.MonkeyPatch], None]
    law: Callable[[], None]


MUTANTS = [
    Mutant(padding_is_counted, lambda: unit.test_a_text_does_not_depend_on_its_batch("gradient")),
    Mutant(
        rows_of_continuations_are_forgotten,
        lambda: equal.test_an_answer_of_several_tokens_is_summed_over_the_rows_that_it_needs("llama"),
    ),
    Mutant(
        texts_are_mixed_up,
        lambda: equal.test_all_features_of_all_sites_at_once_are_what_autograd_through_the_bridge_says(
            "llama", "denoise"
        ),
    ),
    Mutant(the_error_node_is_the_whole, unit.test_the_error_node_is_what_the_coder_leaves_out),
    Mutant(
        source_is_read_where_the_target_is, equal.test_only_the_compared_positions_are_attributed_and_patched
    ),
    Mutant(
        a_flat_metric_is_accepted,
        unit.test_a_divergence_from_the_run_itself_is_refused_and_from_the_other_one_is_not,
    ),
    Mutant(
        steps_begin_at_the_target,
        lambda: equal.test_integrated_gradients_add_up_to_the_exact_patch_of_the_site("resid_post.1"),
    ),
    Mutant(a_dropped_error_is_kept, equal.test_a_group_is_patched_as_the_verb_does_it_error_kept_and_dropped),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.patch.__name__)
def test_the_named_test_kills_the_mutant(mutant: Mutant) -> None:
    with pytest.MonkeyPatch.context() as broken:
        mutant.patch(broken)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            mutant.law()
    mutant.law()  # of the library as it is; and the mutant has left nothing behind
