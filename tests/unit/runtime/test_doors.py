"""What is no number of a row, no batch size and no text is refused at the door, before anything runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.coders import CoderConfig, train_coder
from reasonmech.errors import ArgumentError, DataError, MismatchError
from reasonmech.interventions.axes import Whole
from reasonmech.runtime import Keep, TopCodes, capture, check_fit, mean_of, resampled
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
TEXTS = [f"w{i} w{i + 1} w{2 * i} ." for i in range(20)]
ACTS = capture(HOST, TEXTS, ["resid_post.1"], progress=False)
CODER = tiny_coder(HOST)
CODES = capture(HOST, TEXTS, ["resid_post.1"], keep=Keep(codes=TopCodes(CODER, 4)), progress=False)
CONFIG = CoderConfig(architecture="topk", d_sae=16, k=2, steps=2, batch_size=16)
MASK = torch.zeros(len(ACTS), dtype=torch.bool)

WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: ACTS.take("resid_post.1", MASK), r"tokens is a Tensor of shape \(80,\) of truth values"),
    (lambda: ACTS.take("resid_post.1", MASK.tolist()), "of truth values"),
    (lambda: ACTS.take("resid_post.1", torch.tensor([0.5])), "tokens is a Tensor"),
    (lambda: ACTS.take("resid_post.1", torch.zeros(2, 2, dtype=torch.long)), r"shape \(2, 2\)"),
    (lambda: ACTS.take("resid_post.1", torch.tensor(3)), "tokens is"),
    (lambda: ACTS.take("resid_post.1", "all"), "tokens is the string 'all'"),
    (lambda: ACTS.positions(MASK), "truth values"),
    (lambda: CODES.codes(tokens=MASK), "truth values"),
    (lambda: CODES.features([3.7]), "indices is a list of 1"),
    (lambda: CODES.features([True, False]), "indices is a list of 2 of truth values"),
    (lambda: mean_of(ACTS, Whole("resid_post.1"), tokens=MASK), "truth values"),
    (lambda: mean_of(ACTS, "resid_post.1"), "axis is the string 'resid_post.1'"),
    (lambda: mean_of(ACTS.at("resid_post.1"), Whole("resid_post.1")), "acts is a Tensor"),
    (lambda: resampled(ACTS, "resid_post.1", seed=0.5), r"seed is the number 0\.5"),
    (
        lambda: resampled(ACTS, "resid_post.1", seed=0, n_positions=True),
        "n_positions is the truth value True",
    ),
    (lambda: Keep(batch_size=2.5), r"batch_size is the number 2\.5"),
    (lambda: Keep(shard_tokens=True), "shard_tokens is the truth value True"),
    (lambda: TopCodes(CODER, 2.0), r"k is the number 2\.0"),
    (lambda: TopCodes("coder", 2), "coder is the string 'coder'"),
    (lambda: ACTS.stream("resid_post.1", batch_size=2.5, seed=0), r"batch_size is the number 2\.5"),
    (lambda: ACTS.stream("resid_post.1", batch_size=2, seed="0"), "seed is the string '0'"),
    (lambda: check_fit(CODER, HOST, TEXTS), "host is a SAELensCoder"),
    (lambda: check_fit(HOST, "coder", TEXTS), "coder is the string 'coder'"),
    (lambda: check_fit(HOST, CODER, 5), "rollouts is the integer 5"),
    (lambda: check_fit(HOST, CODER, TEXTS, batch_size=True), "batch_size is the truth value True"),
    (lambda: check_fit(HOST, CODER, TEXTS, include_sinks="no"), "include_sinks is the string 'no'"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_another_type_is_refused(number: int) -> None:
    call, what = WRONG[number]
    with pytest.raises(ArgumentError, match=what) as caught:
        call()
    assert caught.value.allowed


def test_what_is_whole_is_taken_whoever_made_it() -> None:
    rows = [np.int64(3), 5, torch.tensor(7)]
    want = ACTS.at("resid_post.1")[[3, 5, 7]]
    for tokens in (rows, np.array([3, 5, 7]), torch.tensor([3, 5, 7], dtype=torch.int32)):
        assert torch.equal(ACTS.take("resid_post.1", tokens), want)  # pyright: ignore[reportArgumentType]
    assert ACTS.take("resid_post.1", []).shape == (0, 32)  # pyright: ignore[reportArgumentType]
    assert len([*ACTS.stream("resid_post.1", batch_size=np.int64(40), seed=0)]) == 2  # pyright: ignore
    with pytest.raises(DataError, match="batch_size=0"):
        check_fit(HOST, CODER, TEXTS, batch_size=0)


def test_one_text_is_one_text_and_not_its_characters() -> None:
    report = check_fit(HOST, CODER, TEXTS[3], progress=False)  # pyright: ignore[reportArgumentType]
    assert report == check_fit(HOST, CODER, [TEXTS[3]], progress=False)
    with pytest.raises(DataError, match="no text"):
        check_fit(HOST, CODER, [], progress=False)


@pytest.mark.parametrize(
    "x",
    [torch.randn(64, 16), torch.randn(4, 16, 32), torch.ones(64, 32, dtype=torch.long), torch.randn(32)],
    ids=["width", "batch", "type", "one row"],
)
def test_a_tensor_is_rows_of_the_site(x: torch.Tensor) -> None:
    with pytest.raises(MismatchError, match=r"a tensor of shape"):
        train_coder(x, CONFIG, site="resid_post.1", host=HOST, progress=False)


@pytest.mark.parametrize(
    "values",
    [
        *(
            {name: wrong}
            for name in ("k", "d_sae", "steps", "batch_size", "seed")
            for wrong in (True, "4", 4.5)
        ),
        *({name: wrong} for name in ("lr",) for wrong in (float("nan"), float("inf"), 0, -1)),
        {"include_sinks": "yes"},
        {"include_sinks": 1},
        {"checkpoint_every": True},
        {"buffer": 0},
        {"decay": 1.5},
    ],
)
def test_settings_of_a_training_are_of_their_type(values: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        CoderConfig(**{"architecture": "topk", "d_sae": 16, "k": 2, "steps": 2} | values)  # pyright: ignore
    assert rm.CoderConfig(architecture="topk", d_sae=16, k=2, steps=2, lr=1).lr == 1.0
