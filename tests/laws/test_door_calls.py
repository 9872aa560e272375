"""Calls with a wrong type or range, valid otherwise: each is refused in three parts, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ReasonmechError
from reasonmech.testing import tiny_coder, tiny_host

HOST = tiny_host()
CODER = tiny_coder(HOST)
V = rm.Direction.along(torch.ones(HOST.d_model), "resid_post.1")
ROLLOUTS = rm.generate(HOST, ["w1 w2", "w3 w4"], decode=rm.Decode(max_new_tokens=4), progress=False)
ACTS = rm.capture(HOST, ROLLOUTS, ["resid_post.1"], progress=False)
TWO = np.array([0, 1])
YES = np.array([True, False])
IDS = np.array(["p", "q"])
CONFIG = rm.CoderConfig(architecture="topk", d_sae=8, k=2, steps=1)
NOWHERE = ("a\0b", "a" * 300, "a\ud800", "/".join(["a" * 200] * 30))


def labels(**changed: Any) -> rm.Labels:
    plain: dict[str, Any] = {"behaviour": "b", "mode": "anticipates", "rollout": TWO, "position": TWO}
    plain |= {"positive": YES, "problem": IDS}
    return rm.Labels(**plain | changed)


def problem(**changed: Any) -> rm.Problem:
    plain: dict[str, Any] = {"id": "a", "prompt": "w1", "answer": "w2"}
    return rm.Problem(**plain | changed)


def spans(*listed: Any) -> rm.Labels:
    return rm.Labels.from_spans("x", ROLLOUTS, list(listed))


def steered(**settings: Any) -> object:
    return rm.steer(V, 1.0, **settings)


def grid(**changed: Any) -> object:
    settings: dict[str, Any] = {"verb": "steer", "amounts": (1.0,)}
    return rm.grid({"v": V}, **settings | changed)


CALLS: dict[str, Callable[[], object]] = {
    "labels at fractions": lambda: labels(position=np.array([0.0, 1.0])),
    "labels at negatives": lambda: labels(position=np.array([-1, 1])),
    "labels at a mask": lambda: labels(position=YES),
    "labels of rollouts that are fractions": lambda: labels(rollout=np.array([0.0, 1.0])),
    "labels in a list": lambda: labels(position=[0, 1]),
    "labels of no mode": lambda: labels(mode="bogus"),
    "labels of no behaviour": lambda: labels(behaviour=3),
    "a span that ends at a fraction": lambda: spans([(0, 2.0)], []),
    "a span of truth values": lambda: spans([(False, True)], []),
    "a span of text": lambda: spans([("0", "2")], []),
    "a span without an end": lambda: spans([(0,)], []),
    "spans that are texts": lambda: spans("ab", []),
    "spans that are a number": lambda: rm.Labels.from_spans("x", ROLLOUTS, 3),  # pyright: ignore
    "a span below 0": lambda: spans([(-1, 2)], []),
    "an overwrite that is a word": lambda: ROLLOUTS.save("zz.jsonl", overwrite="no"),  # pyright: ignore
    "a path that is a number": lambda: ROLLOUTS.save(3),  # pyright: ignore[reportArgumentType]
    "a path of bytes": lambda: ROLLOUTS.save(b"a"),  # pyright: ignore[reportArgumentType]
    "a transfer that is a word": lambda: rm.Features(CODER, (3,), transfer="no"),  # pyright: ignore
    "half a feature": lambda: rm.Features(CODER, (3.7,)),  # pyright: ignore[reportArgumentType]
    "columns that are a number": lambda: rm.Keep(columns=3),  # pyright: ignore[reportArgumentType]
    "no texts per pass of a capture": lambda: rm.Keep(batch_size=0),
    "True texts per pass": lambda: rm.Keep(batch_size=True),
    "no texts per pass": lambda: rm.forward(HOST, ["w1"], batch_size=0),
    "fewer than no texts per pass": lambda: rm.forward(HOST, ["w1"], batch_size=-3),
    "a receipt of no mode": lambda: rm.forward(HOST, ["w1"], receipt="bogus"),  # pyright: ignore
    "a token of 71 bits": lambda: rm.tokens(2**70),
    "a negative token": lambda: rm.tokens(-1),
    "a negative token in a run": lambda: rm.tokens((3, -1)),
    "a tag that is True": lambda: rm.interventions.inside(True, 3),
    "a fraction of a position": lambda: rm.at(3.7),  # pyright: ignore[reportArgumentType]
    "a label that is a number": lambda: rm.labelled(3),  # pyright: ignore[reportArgumentType]
    "half a window": lambda: rm.generated(1.5),  # pyright: ignore[reportArgumentType]
    "ends that are a number": lambda: rm.interventions.sentence_starts(3),  # pyright: ignore
    "a threshold that is True": lambda: rm.above(V, True),
    "a gate of no role": lambda: rm.above(V, 1.0, role="bogus"),  # pyright: ignore
    "an amount that is True": lambda: rm.steer(V, True),
    "a negative count": lambda: steered(require_gated=-1),
    "half a count": lambda: steered(require_gated=1.5),
    "an error term of no kind": lambda: steered(error="bogus"),
    "a prompt that is a number": lambda: problem(prompt=4),
    "an id that is a number": lambda: problem(id=1),
    "an answer that is None": lambda: problem(answer=None),
    "a text that is a number": lambda: HOST.encode(3),  # pyright: ignore[reportArgumentType]
    "half a token": lambda: HOST.decode([1.5]),  # pyright: ignore[reportArgumentType]
    "a token that is True": lambda: HOST.decode([3, True]),
    "a site that is a number": lambda: ACTS.at(3),  # pyright: ignore[reportArgumentType]
    "a feature that is True": lambda: ACTS.features([True]),
    "a model that is a number": lambda: rm.load_host(3),  # pyright: ignore[reportArgumentType]
    "a pair that is a host": lambda: rm.load_pair(HOST),  # pyright: ignore[reportArgumentType]
    "a plan that is a number": lambda: rm.load_plan(3, HOST),  # pyright: ignore[reportArgumentType]
    "a run that is a number": lambda: rm.load_run(3),  # pyright: ignore[reportArgumentType]
    "a progress that is a word": lambda: rm.run("demo", progress="no"),  # pyright: ignore
    "fewer than no features": lambda: rm.select(None, -1, coder=CODER),  # pyright: ignore
    "no features": lambda: rm.select(None, 0, coder=CODER),  # pyright: ignore
    "a seed of the grid that is True": lambda: grid(seeds=(True,)),
    "a seed of the grid below 0": lambda: grid(seeds=-1),
    "no verb": lambda: grid(verb="bogus"),
    "an amount of the grid that is a text": lambda: grid(amounts="1"),
    "draws below 0": lambda: rm.stats.mean_interval([1.0, 2.0], ["a", "b"], bounds=None, draws=-1),
    "a seed below 0": lambda: rm.stats.mean_interval([1.0, 2.0], ["a", "b"], bounds=None, seed=-1),
    "a level in per cent": lambda: rm.stats.mean_interval([1.0, 2.0], ["a", "b"], bounds=None, level=95.0),
    "no split": lambda: rm.load_task("chain", n=2, split="bogus"),  # pyright: ignore
    "a config that is a number": lambda: rm.train_coder(ACTS, 3),  # pyright: ignore
    "a training's progress that is a word": lambda: rm.train_coder(ACTS, CONFIG, progress="no"),  # pyright: ignore
    "a rate above 1": lambda: rm.hybrid.AtRandom(2.0),
    "a single that is a word": lambda: rm.onset_log_odds(["w1"], ["w2"], single="no"),  # pyright: ignore
}
READERS: dict[str, Callable[[str], object]] = {
    "rollouts saved": lambda path: ROLLOUTS.save(path),
    "rollouts": rm.Rollouts.load,
    "activations saved": ACTS.save,
    "activations": rm.Activations.load,
    "a capture": lambda path: rm.capture(HOST, ROLLOUTS, ["resid_post.1"], out=path, progress=False),
    "a host": rm.load_host,
    "a pair": rm.load_pair,
    "a coder": lambda path: rm.load_coder(path, host=HOST),
    "a config of a coder": rm.coders.load_coder_config,
    "a run": rm.run,
    "a run's directory": lambda path: rm.run("demo", out=path),
    "a finished run": rm.load_run,
    "a report": rm.report,
    "an experiment": rm.experiments.load_experiment,
    "a plan": lambda path: rm.load_plan(path, HOST),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_wrong_argument_is_refused_in_our_own_words(
    call: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReasonmechError) as caught:
        call()
    assert caught.value.happened and (caught.value.allowed or caught.value.do)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", NOWHERE, ids=["NUL", "long name", "half a character", "long path"])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_path_that_no_disk_can_hold_is_refused(
    read: Callable[[str], object], path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReasonmechError, match=r"no disk can hold"):
        read(path)
    assert not list(tmp_path.iterdir())
