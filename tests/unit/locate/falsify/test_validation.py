"""Validation: published rules as published, confusion counted right, and nothing found where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from reasonmech.cli.app import app
from reasonmech.locate.falsify.null_draws import null_draws
from reasonmech.locate.falsify.published import injection_rule, reason_rule
from reasonmech.locate.falsify.validation import (
    EXPECTED,
    INJECTION,
    OURS,
    REASON,
    Setting,
    is_right,
    validate,
)


def test_the_injection_rule_has_the_published_steps() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(400, 5))
    injected = plain[rng.permutation(400)] + np.array([1.0, 0.65, 0.35, 0.05, -1.0])
    plain[:, 3] = injected[:, 3]
    assert injection_rule(plain, injected) == [
        "token-driven",
        "partially token-driven",
        "weakly token-driven",
        "context-dependent",
        "context-dependent",
    ]
    silent = np.zeros((50, 1))
    assert injection_rule(silent, silent) == ["context-dependent"]
    assert injection_rule(silent, silent + 1) == ["token-driven"]


def test_the_reason_rule_speaks_for_what_is_active_near_the_words() -> None:
    rng = np.random.default_rng(1)
    token = rng.integers(0, 20, (50, 40))
    word = token < 2
    near = word.copy()
    near[:, 1:] |= word[:, :-1]  # one token after a word is inside the window, ten before are not
    away = np.zeros_like(word)
    away[:, :-10] = word[:, 10:]
    activations = np.stack([near, away & ~near, np.ones_like(word)], axis=-1).astype(float)
    assert reason_rule(activations, token, words=(0, 1)) == ["reasoning", "other", "other"]


def test_confusion_adds_up_and_is_the_same_again() -> None:
    validation = validate(Setting(pairs=40, draws=3, seed=2), progress=False)
    for rule in (OURS, INJECTION, REASON):
        assert set(validation.confusion(rule).index) == set(EXPECTED)
        assert (validation.confusion(rule).sum(axis=1) == 3).all()
    right = validation.accuracy().set_index(["rule", "kind"])
    assert right.loc[(INJECTION, "silent"), "right"] == 0
    assert right.loc[(OURS, "silent"), "right"] == 1
    assert validation.frame.equals(validate(Setting(pairs=40, draws=3, seed=2), progress=False).frame)
    assert not validation.frame.equals(validate(Setting(pairs=40, draws=3, seed=3), progress=False).frame)


def test_an_answer_is_right_when_it_is_the_truth_in_the_words_of_its_rule() -> None:
    assert is_right(OURS, "insertion", "insertion-artefact") and not is_right(
        OURS, "insertion", "token-driven"
    )
    assert is_right(INJECTION, "context", "context-dependent") and not is_right(
        INJECTION, "dense", "context-dependent"
    )
    assert is_right(REASON, "context", "reasoning") and not is_right(REASON, "token", "reasoning")
    assert is_right(REASON, "silent", "other")


def test_nothing_survives_where_nothing_is() -> None:
    null = null_draws(draws=4, texts=40, progress=False)
    assert null.draws == 4 and null.survived <= null.discovered <= 2
    assert (
        null_draws(draws=4, texts=40, q=1.0, progress=False).discovered == 4
    )  # everything passes a level of 1


@pytest.mark.slow
def test_discoveries_where_nothing_is_are_as_rare_as_promised() -> None:
    null = null_draws(draws=200, seed=0, progress=False)
    assert null.discovered <= 16  # q = 0.05: 17 or more of 200 have a probability of 2.6 %
    assert null.survived <= null.discovered and null.beyond <= 16


def test_one_command_prints_every_matrix(tmp_path) -> None:
    out = tmp_path / "confusion.parquet"
    arguments = [
        "validate-features",
        "--draws",
        "2",
        "--pairs",
        "30",
        "--null",
        "2",
        "--quiet",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for shown in (OURS, INJECTION, REASON, "insertion", "A/A"):
        assert shown in result.output
    assert out.is_file()
    assert CliRunner().invoke(app, arguments).exit_code != 0  # never overwritten
