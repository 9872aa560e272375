"""A mask of truth values where positions, rows or features are meant is refused: True would be 1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ArgumentError, DataError, OutputError
from reasonmech.files import LEFTOVER_FILE, remove_leftovers
from reasonmech.labels import Labels
from reasonmech.organisms import build
from reasonmech.runtime.pass_rows import LabelledTexts
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
MASKS = ([False, True], np.array([False, True]), torch.tensor([False, True]))


@pytest.mark.parametrize("mask", MASKS, ids=["list", "numpy", "torch"])
@pytest.mark.parametrize(
    "call",
    [
        lambda mask: rm.at(per_row=[mask]),
        lambda mask: rm.at(*mask),
        lambda mask: rm.Features(tiny_coder(HOST), mask),
        lambda mask: rm.forward(HOST, LabelledTexts(["w1 w2"], {"m": [mask]})),
    ],
    ids=["at(per_row=)", "at()", "Features", "LabelledTexts"],
)
def test_a_mask_is_no_list_of_numbers(call: Callable[[Any], object], mask: object) -> None:
    with pytest.raises(ArgumentError, match=r"truth value|bool|Tensor"):
        call(mask)


@pytest.mark.parametrize("positive", [np.array([0, 1]), np.array([0.0, 1.0]), [False, True]])
def test_labels_whose_positives_are_no_truth_values_are_refused(positive: Any) -> None:
    rows = np.array([0, 1])
    with pytest.raises(ArgumentError, match="truth values"):
        Labels("b", "anticipates", rows, rows, positive, np.array(["p", "q"]))


def test_labels_of_different_lengths_are_refused() -> None:
    rows = np.array([0, 1])
    with pytest.raises(DataError, match="1 of problem"):
        Labels("b", "anticipates", rows, rows, rows > 0, np.array(["p"]))


@pytest.mark.parametrize("listed", ['[""]', '["."]', "3", "null", "junk", '[3, "a"]', '["a\\u0000"]'])
def test_a_list_of_leftovers_that_is_not_ours_removes_nothing(tmp_path: Path, listed: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a").write_text("a")
    (folder / LEFTOVER_FILE).write_text(listed)
    remove_leftovers(folder)
    assert (folder / "a").read_text() == "a"


def test_a_folder_of_models_that_nobody_began_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "mine.partial" / "base").mkdir(parents=True)
    (tmp_path / "mine.partial" / "pair.yaml").write_text("mine")
    with pytest.raises(OutputError, match=r"no organism: it holds base, pair\.yaml"):
        build("tiny-when", tmp_path / "mine", progress=False)
    assert (tmp_path / "mine.partial" / "pair.yaml").read_text() == "mine"
