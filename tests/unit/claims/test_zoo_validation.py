"""Trained pairs beside the published rules: what is read of weights and texts, and a row per pair."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import reasonmech as rm
from reasonmech.claims.validation import trained, zoo
from reasonmech.claims.validation.error_rates import OURS, ErrorRates
from reasonmech.claims.validation.published import PUBLISHED
from reasonmech.claims.validation.trained import TrainedSize, _Read, shifted_tokens, unchanged_weights
from reasonmech.cli.app import app
from reasonmech.errors import DataError
from reasonmech.hosts import Host, ModelPair
from reasonmech.pairwise import chosen_log_probs
from reasonmech.pairwise.divergence import _compare

FEW = TrainedSize(problems=3, texts=6, steps=2, many=32, tokens=120)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return rm.load_pair("tiny-when")


def copied(host: Host) -> Host:
    return Host(deepcopy(host.model), host.tokenizer, name="copy")


def test_weights_that_bfloat16_does_not_tell_apart_are_unchanged(pair) -> None:
    other = copied(pair.base)
    assert unchanged_weights(ModelPair("same", pair.base, other, "chain")) == 1.0
    with torch.no_grad():
        for weight in other.model.parameters():
            weight.mul_(1 + 1e-5)  # a dense update, which bfloat16 has no digits for
    nearly = unchanged_weights(ModelPair("dense", pair.base, other, "chain"))
    assert 0.98 < nearly < 1.0
    assert unchanged_weights(pair) < 0.5


def test_shifted_tokens_are_those_of_divergence(pair) -> None:
    texts = rm.generate(pair.thinking, rm.load_task("chain", n=4), progress=False)
    assert shifted_tokens(ModelPair("same", pair.base, pair.base, "chain"), texts) == 0.0
    expected = np.concatenate([_compare(b, t).js > 0.1 for b, t in chosen_log_probs(pair, texts)]).mean()
    assert shifted_tokens(pair, texts) == pytest.approx(float(expected))


def test_what_was_right_once_is_not_drawn_again(pair, monkeypatch) -> None:
    read, drawn = _Read(pair, "chain", FEW), []
    write = trained.write_texts
    monkeypatch.setattr(trained, "write_texts", lambda *a: drawn.append(len(a[1])) or write(*a))
    solved = read.ever_right(pair.thinking)
    assert solved.tolist() == [1.0] * 3 and drawn == [3]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("zoo") / "out"
    return out, zoo.save_zoo(out, problems=59, reading=FEW, names=["tiny-aa"], progress=False)


def test_a_pair_has_its_truth_its_verdict_and_what_the_rules_say(rows) -> None:
    (row,) = rows[1].to_dict("records")
    assert row["truth"] == row["verdict"] == "NEITHER"
    assert row["unchanged"] == 1.0 and row["shifted"] == 0.0 and np.isnan(row["recovered"])
    answers = {rule.name: row[rule.name] for rule in PUBLISHED}
    assert answers["<= 30 % of bf16 weights move"] == answers["JS > 0.1 on < 10 % of tokens"] == "WHEN"
    assert answers["a feature of top ReasonScore"] == answers["crosscoder norm ratio"] == "not applicable"
    rates = ErrorRates(rows[1])
    assert rates.wrong().estimate == 0
    ours, sparse = rates.when(OURS), rates.when("<= 30 % of bf16 weights move")
    assert ours and ours.false and ours.false.estimate == 0 and ours.sensitivity is None
    assert sparse and sparse.false and sparse.false.estimate == 1


def test_a_pair_that_is_done_is_not_judged_again(rows, tmp_path, monkeypatch) -> None:
    out, frame = rows
    monkeypatch.setattr(zoo, "measure_judgement", None)
    pd.testing.assert_frame_equal(
        zoo.save_zoo(out, problems=59, reading=FEW, names=["tiny-aa"], progress=False), frame
    )

    row, made = frame.to_dict("records")[0], []

    def fails(specimen, *_: object) -> dict:
        made.append(specimen.name)
        if len(made) == 2:
            raise KeyboardInterrupt
        return row | {"population": specimen.name}

    monkeypatch.setattr(zoo, "specimen_row", fails)
    names = ["tiny-aa", "tiny-when", "tiny-how"]
    with pytest.raises(KeyboardInterrupt):
        zoo.save_zoo(tmp_path / "out", names=names, progress=False)
    again = zoo.save_zoo(tmp_path / "out", names=names, progress=False)
    assert sorted(again["population"]) == sorted(names) and len(made) == 4  # the second one twice


def test_organisms_have_truths_and_seeds_are_pairs_of_their_own(monkeypatch, tmp_path) -> None:
    truths = {each.name: each.truth for each in zoo.specimens()}
    assert truths["tiny-format"] == "FORMAT" and truths["tiny-temperature"] == "SHARPENED"
    assert truths["tiny-suppressed"] == "HOW" and truths["tiny-suppressed-both"] == "NEITHER"
    monkeypatch.setattr(zoo, "built_seeds", lambda name: {2: tmp_path / "two"} if name == "tiny-how" else {})
    assert ("tiny-how, seed 2", str(tmp_path / "two"), "HOW") in zoo.specimens()
    with pytest.raises(DataError, match="not here: tiny-nobody"):
        zoo.save_zoo(tmp_path / "out", names=["tiny-nobody"])


def test_every_organism_is_of_a_class_with_a_verdict(monkeypatch) -> None:
    for name in rm.organisms.recipes:
        zoo.truth_of_organism(name)
    odd = replace(rm.organisms.recipes.get("tiny-how"), truth_class="odd")
    monkeypatch.setitem(rm.organisms.recipes._entries, "tiny-odd", odd)
    with pytest.raises(DataError, match="'odd'"):
        zoo.truth_of_organism("tiny-odd")


def test_the_command_line_prints_a_line_per_pair(rows, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(zoo, "save_zoo", lambda *_, **__: rows[1])
    result = CliRunner().invoke(app, ["validate", "--zoo", "--out", str(tmp_path)], terminal_width=200)
    assert result.exit_code == 0, result.output
    assert (
        "tiny-aa" in result.output and "Trained pairs" in result.output and "needs a coder" in result.output
    )
