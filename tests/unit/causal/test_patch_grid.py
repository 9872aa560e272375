"""patch_grid: what is aligned, what is refused, what its table and its intervals say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.causal.aligned_pairs import align
from reasonmech.causal.effects import effects
from reasonmech.causal.means import mean_by
from reasonmech.causal.patching import COLUMNS, PatchGrid, patch_grid
from reasonmech.causal.text_pairs import TextPairs
from reasonmech.errors import CorruptFileError, DataError, NonFiniteError, UnknownNameError
from reasonmech.interventions import Whole, at, patch
from reasonmech.metrics import NextTokenKL, answer_likelihood, logit_diff, next_token_kl
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.forward import forward
from reasonmech.stats import paired_bootstrap, recovery
from reasonmech.testing import tiny_host

HOST = tiny_host()
METRIC = logit_diff(HOST, good="w7", bad="w8")
CLEAN = ["w1 w2 . w3 w9", "w5 w4 w8", "w1 w1 w4", "w2 . w2", "w30 w31 w32"]
CORRUPT = ["w1 w7 . w3 w9", "w6 w4 w8", "w1 w2 w4", "w2 . w3", "w33 w31 w32"]
PAIRS = TextPairs(CLEAN, CORRUPT)
LONGER = ["w1 w2 w7 . w3 w9", "w6 w6 w4 w8", "w1 w4", "w2 w2 . w3", "w33 w31"]


def patched(text: str, site: str, position: int, source: str, taken: int) -> float:
    stream = capture(HOST, [source], [site], progress=False).at(site)[taken]
    plan = [patch(Whole(site), stream, where=at(position)).allow_no_change()]
    last = forward(HOST, [text], plan, receipt="none").logits[0][-1]
    return float(last[HOST.encode("w7")[0]] - last[HOST.encode("w8")[0]])


def value(grid: PatchGrid, position: str, text: int) -> float:
    (number,) = grid.table.query("position == @position and text == @text")["value"]
    return float(number)


def test_texts_of_different_length_are_refused_with_what_is_aligned_and_how_to_say_otherwise() -> None:
    with pytest.raises(
        DataError, match=r"5 clean and 6 corrupt tokens(?s:.*)by number from the start"
    ) as caught:
        patch_grid(HOST, TextPairs(CLEAN, LONGER), ["resid_post.1"], metric=METRIC)
    assert "positions=[-1, -2]" in str(caught.value)


def test_negative_positions_count_from_each_texts_own_end() -> None:
    grid = patch_grid(HOST, TextPairs(CLEAN, LONGER, [-1, -2, 0]), ["resid_post.1"], metric=METRIC)
    for text, (clean, longer) in enumerate(zip(CLEAN, LONGER, strict=True)):
        a, b = len(HOST.encode(clean)), len(HOST.encode(longer))
        for name, (taken, put) in {"-1": (a - 1, b - 1), "-2": (a - 2, b - 2), "0": (0, 0)}.items():
            assert value(grid, name, text) == pytest.approx(
                patched(longer, "resid_post.1", put, clean, taken), abs=1e-4
            )


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_named_positions_say_which_token_takes_which(direction: str) -> None:
    """Two names put different sources at one token: each gets its own."""
    places = {"a": [(0, 1)] * 5, "b": [(1, 1)] * 5, "c": [0, 1, (2, 0), 1, (2, 1)]}
    grid = patch_grid(
        HOST, TextPairs(CLEAN, LONGER, places, direction=direction), ["resid_post.1", "z.2.0"], metric=METRIC
    )
    assert grid.table["effect"].abs().min() < 1e-6 < 0.1 < grid.table["effect"].abs().max()
    for row in grid.table.itertuples():
        entry = places[row.position][row.text]
        clean, corrupt = entry if isinstance(entry, tuple) else (entry, entry)
        if direction == "denoise":
            expected = patched(LONGER[row.text], row.site, corrupt, CLEAN[row.text], clean)
        else:
            expected = patched(CLEAN[row.text], row.site, clean, LONGER[row.text], corrupt)
        assert row.value == pytest.approx(expected, abs=1e-4), row


def test_names_that_agree_share_one_edit_and_names_that_do_not_have_their_own() -> None:
    places = {"a": [0] * 5, "b": [1] * 5, "c": [(0, 1)] * 5}
    pairs = align(HOST, TextPairs(CLEAN, CORRUPT, places, direction="noise"))
    acts = pairs.streams(HOST, [HOST.check_site("resid_post.1")])
    patches = pairs.patches(Whole("resid_post.1"), acts)
    assert patches["a"].edit is patches["b"].edit and patches["a"].axis is patches["b"].axis
    assert patches["c"].edit is not patches["a"].edit


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"sites": ["resid_post.9"]}, UnknownNameError, "resid_post.0 .. resid_post.3"),
        ({"sites": []}, DataError, "no site"),
        ({"positions": [3]}, DataError, "position 3 of text 1, which has 3 tokens"),
        ({"positions": []}, DataError, "no position"),
        ({"positions": {"a": [0]}}, DataError, "1 entries for 5 pairs"),
        ({"direction": "both"}, UnknownNameError, "denoise, noise"),
        ({"corrupt": CORRUPT[:4]}, DataError, "5 clean and 4 corrupt"),
        ({"clean": [], "corrupt": []}, DataError, "0 clean"),
        ({"corrupt": [*CORRUPT[:4], CLEAN[4]]}, DataError, "text 4 are the same"),
        (
            {"metric": logit_diff(HOST, good=["w1"] * 2, bad="w2")},
            DataError,
            "2 entries, the run has 5 texts",
        ),
        ({"metric": NextTokenKL(torch.zeros(5, 9))}, DataError, "over 9 tokens"),
    ],
)
def test_bad_input_is_refused_by_name(changed: dict, error: type[Exception], says: str) -> None:
    values = {"clean": CLEAN, "corrupt": CORRUPT, "sites": ["resid_post.1"], "metric": METRIC} | changed
    sites, metric = values.pop("sites"), values.pop("metric")
    with pytest.raises(error, match=says):
        patch_grid(HOST, TextPairs(**values), sites, metric=metric)


def test_a_metric_that_is_not_finite_is_an_error_and_no_partial_table() -> None:
    class Broken:
        name, unit = "broken", "nats"

        def continuations(self, host, n_texts):
            return [()] * n_texts

        def value(self, reading):
            return torch.where(reading.rows == 2, torch.nan, reading.logits[:, 0])

    with pytest.raises(NonFiniteError, match="broken"):
        patch_grid(HOST, PAIRS, ["resid_post.1"], metric=Broken())


def test_the_table_is_tidy_and_survives_the_disk(tmp_path: Path) -> None:
    grid = patch_grid(
        HOST, TextPairs(CLEAN, CORRUPT, direction="noise"), ["mlp_out.1", "z.2.3"], metric=METRIC
    )
    table = grid.table
    assert list(table) == list(COLUMNS) and len(table) == 2 * 17
    assert table["head"].isna().sum() == 17 and set(table["head"].dropna()) == {3}
    assert (
        (table["n_masked"] == 1).all()
        and set(table["unit"]) == {"logits"}
        and set(table["direction"]) == {"noise"}
    )
    assert np.allclose(table["effect"], table["value"] - table["clean"])
    assert np.allclose(table["normalised"] * (table["corrupt"] - table["clean"]), table["effect"])
    assert set(table["host_hash"]) == {HOST.weight_hash}
    grid.to_parquet(tmp_path / "grid.parquet")
    again = PatchGrid.from_parquet(tmp_path / "grid.parquet")
    pd.testing.assert_frame_equal(again.table, table, check_column_type=False, check_dtype=False)
    pd.testing.assert_frame_equal(again.mean, grid.mean, check_dtype=False)
    (tmp_path / "grid.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptFileError):
        PatchGrid.from_parquet(tmp_path / "grid.parquet")
    with pytest.raises(DataError, match="n_masked"):
        PatchGrid(table.drop(columns=["n_masked"]))


def test_means_and_intervals_are_those_of_the_paired_bootstrap() -> None:
    grid = patch_grid(HOST, TextPairs(CLEAN, CORRUPT, [0, -1]), ["resid_post.1", "mlp_out.2"], metric=METRIC)
    for row in grid.mean.itertuples():
        of_cell = grid.table[(grid.table["site"] == row.site) & (grid.table["position"] == row.position)]
        run = of_cell["value"] - of_cell["effect"]
        effect = paired_bootstrap(of_cell["value"], run, bounds=None)
        assert (row.effect, row.effect_low, row.effect_high) == pytest.approx(effect[:3])
        share = recovery(run, of_cell["clean"], of_cell["value"], bounds=None)
        assert row.normalised == pytest.approx(share.estimate)
        assert (row.normalised_low, row.normalised_high) == pytest.approx((share.low, share.high))
        assert row.n_problems == 5 and row.effect_low < row.effect_high


def test_texts_of_one_problem_count_once_and_one_problem_has_no_interval() -> None:
    rows = [("p", 0, 1.0, 2.0), ("p", 0, 3.0, 2.0), ("q", 0, 10.0, 2.0), ("p", 1, 1.0, 0.0)]
    table = pd.DataFrame(rows, columns=["problem", "site", "effect", "gap"])
    mean = mean_by(table, ["site"], columns=["effect"], ratios={"share": ("effect", "gap")})
    assert mean["effect"].tolist() == [6.0, 1.0] and mean["n_problems"].tolist() == [2, 1]
    assert mean["share"][0] == 3.0 and np.isnan(mean["share"][1])
    assert (mean["effect_low"][0], mean["effect_high"][0]) == (2.0, 10.0)
    assert np.isnan(mean["effect_low"][1]) and np.isnan(mean["share_high"][1])


def test_rollouts_are_read_whole_and_their_problem_is_the_unit() -> None:
    def rollout(problem: str, text: str) -> Rollout:
        ids = tuple(HOST.encode(text))
        nobody = (False,) * (len(ids) - 2)
        return Rollout(Problem(problem, "", ""), 0, ids[:2], ids[2:], nobody, nobody, "length", "")

    clean = [rollout(f"p{i // 2}", text) for i, text in enumerate(CLEAN)]
    corrupt = [rollout(f"p{i // 2}", text) for i, text in enumerate(CORRUPT)]
    of_rollouts = patch_grid(HOST, TextPairs(clean, corrupt), ["resid_post.1"], metric=METRIC)
    plain = patch_grid(HOST, PAIRS, ["resid_post.1"], metric=METRIC)
    assert of_rollouts.table["value"].to_numpy() == pytest.approx(plain.table["value"].to_numpy(), abs=1e-5)
    assert of_rollouts.mean["n_problems"].tolist() == [3, 3, 3, 1, 1] and plain.mean["n_problems"].max() == 5


def test_a_metric_with_a_reference_per_text_meets_its_own_text() -> None:
    grid = patch_grid(
        HOST, TextPairs(CLEAN, CORRUPT, [-1]), ["resid_post.3"], metric=next_token_kl(HOST, CLEAN)
    )
    assert grid.table["corrupt"].min() > 0.01
    assert grid.table["clean"].abs().max() < 1e-5 and grid.table["value"].abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore:out of memory")
@pytest.mark.parametrize("run", ["grid", "effects"])
def test_a_short_memory_makes_batches_smaller_says_so_and_changes_no_number(run: str) -> None:
    def short(module: object, args: tuple, kwargs: dict) -> None:
        if len(kwargs["input_ids"]) > 2 and not kwargs["use_cache"]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def table() -> pd.DataFrame:
        metric = answer_likelihood(HOST, ["w7", "w7 w8", "w1", "w2", "w3"])
        if run == "effects":
            return effects(HOST, PAIRS, Whole("mlp_out.1"), metric=metric).table
        return patch_grid(HOST, PAIRS, ["mlp_out.1"], metric=metric).table

    plenty = table()
    handle = HOST.model.register_forward_pre_hook(short, with_kwargs=True)
    try:
        with pytest.warns(UserWarning, match="out of memory with 5 texts at once; going on with 2"):
            little = table()
    finally:
        handle.remove()
    pd.testing.assert_frame_equal(little, plenty, atol=1e-3, rtol=1e-4)
    assert plenty["gap"].abs().min() > 0.1
