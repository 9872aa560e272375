"""A call that was killed is not gone on with by one of other arguments: each difference is refused by name.

Captures, sweeps, trainings, runs, organisms, validations and judgements, each with every argument that its
numbers depend on, the model's weights, configuration, tokenizer and ends of text among them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.causal.sweeps import grid, sweep, sweep_rollouts
from reasonmech.causal.sweeps.trials import RolloutTrials
from reasonmech.claims import Rule, Terms
from reasonmech.claims.validation import CaseSize, draws
from reasonmech.coders import train_coders
from reasonmech.coders.source import TensorSource
from reasonmech.errors import OutputError
from reasonmech.files import PLAN_FILE, partial_of
from reasonmech.hosts import Host
from reasonmech.organisms import building
from reasonmech.organisms.recipes import recipes
from reasonmech.resumable import ResumableDirectory
from reasonmech.runtime import Keep, capture
from reasonmech.site import Site
from reasonmech.testing import tiny_host

SITE = "resid_post.1"
TEXTS = [f"w{i} w{i + 1} w{i + 2}" for i in range(6)]
ROWS = torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
CONFIG = rm.CoderConfig(architecture="topk", d_sae=8, k=2, steps=4, batch_size=32)
V = torch.ones(32)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def edited(change: Callable[[Host], object]) -> Host:
    host = tiny_host()
    change(host)
    return host


def _set(owner: Any, name: str, value: object) -> None:
    setattr(owner, name, value)


def _rename_a_word(host: Host) -> None:
    host.tokenizer.add_tokens(["another"])


HOSTS = {  # what is changed of a model -> what the message says
    "weights": (lambda: tiny_host(seed=3), r"model\.tensors|another model"),
    "eps": (lambda: edited(lambda h: _set(h.model.config, "rms_norm_eps", 0.01)), "config"),
    "tokenizer": (lambda: edited(_rename_a_word), "tokenizer"),
    "ends": (lambda: edited(lambda h: _set(h.model.generation_config, "eos_token_id", [1, 7])), "end"),
}


def captured(out: Path, host: Host | None = None, texts: list[str] = TEXTS, **keep: Any) -> None:
    capture(host or tiny_host(), texts, keep.pop("sites", [SITE]), out=out, keep=Keep(**keep), progress=False)


def swept(out: Path, host: Host | None = None, texts: list[str] = TEXTS, good: int = 9, **how: Any) -> None:
    host = host or tiny_host()
    settings = {"verb": "steer", "amounts": 1.0} | how
    plans = grid({"v": rm.Direction.along(V, SITE)}, **settings)
    sweep(host, texts, plans, metric=rm.logit_diff(host, good=good, bad=12), out=out, progress=False)


def swept_rollouts(out: Path, host: Host | None = None, seed: int = 0, **decode: Any) -> None:
    trials = RolloutTrials(
        TEXTS[:2], rm.Decode(**{"max_new_tokens": 3, "temperature": 1.0} | decode), (seed,)
    )
    plans = grid({"v": rm.Direction.along(V, SITE)}, "steer", amounts=1.0)
    metric = _Length()
    sweep_rollouts(host or tiny_host(), trials, plans, metric=metric, out=out, progress=False)


class _Length:
    name, unit = "length", "tokens"

    def measure(self, rollouts: rm.Rollouts) -> Any:
        import numpy as np

        return np.array([float(len(set(rollout.ids))) for rollout in rollouts])

    def to_json(self) -> dict[str, Any]:
        return {}


def trained(out: Path, rows: torch.Tensor = ROWS, weights: str = "0", **config: Any) -> None:
    source = TensorSource(rows, (Site.parse(SITE),), "made", weights)
    name = config.pop("name", "small")
    train_coders(source, {name: CONFIG.model_copy(update=config)}, out=out, progress=False)


def run(out: Path, pair: str = "tiny-when", name: str = "demo") -> None:
    experiment = rm.experiments.load_experiment("demo", [f"name={name}", f"pair={pair}"])
    rm.run(experiment, out=out, progress=False)


def organism(out: Path, name: str = "tiny-when", seed: int = 0, **recipe: Any) -> None:
    building.build(name, out, seed=seed, recipe=replace(recipes.get(name), **recipe), progress=False)


def validated(out: Path, draws_: int = 1, seed: int = 0, **size: int) -> None:
    draws.save_draws(out, draws=draws_, seed=seed, size=CaseSize(**size), progress=False)


def judged(out: Path, pair: str = "tiny-aa", n: int = 59, full: bool = False, **terms: Any) -> None:
    rm.judge(pair, n=n, full=full, terms=Terms(**terms), out=out, progress=False)


Call = Callable[..., None]
CALLS: dict[str, tuple[Call, dict[str, tuple[dict[str, Any], str]]]] = {
    "capture": (captured, {
        "texts": ({"texts": TEXTS[:-1]}, "other texts"),
        "one word": ({"texts": [*TEXTS[:-1], "w9 w9 w9"]}, "other texts"),
        "site": ({"sites": ["resid_post.2"]}, "other sites"),
        "where": ({"where": ~rm.at(0)}, "other tokens"),
        "shards": ({"shard_tokens": 4}, "shards of another size"),
        "dtype": ({"dtype": torch.float16}, "another dtype"),
    }),
    "sweep": (swept, {
        "texts": ({"texts": TEXTS[:-1]}, "texts"),
        "amount": ({"amounts": 2.0}, "configurations"),
        "verb": ({"verb": "clamp"}, "configurations"),
        "where": ({"where": rm.at(1)}, "configurations"),
        "metric": ({"good": 10}, r"metric\.good"),
    }),
    "sweep of rollouts": (swept_rollouts, {
        "seed": ({"seed": 1}, "seeds"),
        "length": ({"max_new_tokens": 4}, "max_new_tokens: 3, now 4"),
        "temperature": ({"temperature": 0.5}, r"temperature: 1\.0, now 0\.5"),
    }),
    "training": (trained, {
        "rows": ({"rows": ROWS + 1}, "other activations"),
        "fewer": ({"rows": ROWS[:-1]}, "other activations"),
        "model": ({"weights": "1"}, "another model"),
        "k": ({"k": 3}, "k: 2, now 3"),
        "seed": ({"seed": 1}, "seed: 0, now 1"),
        "steps": ({"steps": 5}, "steps: 4, now 5"),
        "name": ({"name": "large"}, r"coders\.small"),
    }),
    "run": (run, {
        "pair": ({"pair": "tiny-how"}, r"pair\.name: tiny-when, now tiny-how"),
        "name": ({"name": "another"}, "experiment: demo, now another"),
    }),
    "organism": (organism, {
        "seed": ({"seed": 1}, "seed: 0, now 1"),
        "task": ({"task": "chain-swap"}, r"recipe\.task: chain, now chain-swap"),
        "organism": ({"name": "tiny-aa"}, "name: tiny-when, now tiny-aa"),
    }),
    "validation": (validated, {
        "draws": ({"draws_": 2}, "draws: 1, now 2"),
        "seed": ({"seed": 1}, "seed: 0, now 1"),
        "size": ({"problems": 299}, r"size\.problems: 300, now 299"),
    }),
    "judgement": (judged, {
        "n": ({"n": 60}, "59, now 60"),
        "full": ({"full": True}, "extent"),
        "seed": ({"seed": 1}, "seed: 0, now 1"),
        "split": ({"split": "test"}, "split: confirmation, now test"),
        "rule": ({"rule": replace(Rule(), level=0.9)}, r"rule\.level: 0\.95, now 0\.9"),
        "pair": ({"pair": "tiny-when"}, "thinking"),
    }),
}  # fmt: skip
CASES = [(what, changed) for what, (_, changes) in CALLS.items() for changed in changes]
MODELS = [(what, of) for what in ("capture", "sweep", "sweep of rollouts") for of in HOSTS]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What a call leaves that dies when its first piece is written; each is begun once."""

    @cache
    def left(what: str) -> Path:
        return killed(what, tmp_path_factory.mktemp("interrupted") / "out")

    return left


def killed(what: str, out: Path) -> Path:
    def die(*_: object, **__: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        for name in ("piece", "complete"):
            patched.setattr(ResumableDirectory, name, die)
        patched.setattr(import_module("reasonmech.coders.train"), "train_together", die)
        patched.setattr(import_module("reasonmech.experiments.run"), "_carry_out", die)
        patched.setattr(import_module("reasonmech.organisms.building"), "_build", die)
        patched.setattr(import_module("reasonmech.claims.judging"), "_measure", die)
        patched.setattr(import_module("reasonmech.runtime.activations.capture_to_store"), "_shards", die)
        patched.setattr(draws, "draw_row", die)
        CALLS[what][0](out)
    assert not out.exists() and (partial_of(out) / PLAN_FILE).is_file()
    return partial_of(out)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("what", "changed"), CASES)
def test_other_arguments_are_refused_and_named(
    what: str, changed: str, interrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    left = contents(shutil.copytree(interrupted(what), partial_of(tmp_path / "out")))
    call, changes = CALLS[what]
    arguments, named = changes[changed]
    with pytest.raises(OutputError, match=rf"holds part of another [\s\S]*({named})"):
        call(tmp_path / "out", **arguments)
    assert contents(partial_of(tmp_path / "out")) == left and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("what", "changed"), MODELS)
def test_another_model_is_refused_and_what_changed_is_named(
    what: str, changed: str, interrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    left = contents(shutil.copytree(interrupted(what), partial_of(tmp_path / "out")))
    make, named = HOSTS[changed]
    with pytest.raises(OutputError, match=rf"holds part of another [\s\S]*({named})") as refused:
        CALLS[what][0](tmp_path / "out", make())
    if what != "capture":
        more = {"eps": r"rms_norm_eps", "ends": r"model\.ends", "weights": "", "tokenizer": ""}
        assert more[changed].replace("\\", "") in str(refused.value)
    assert contents(partial_of(tmp_path / "out")) == left


@pytest.mark.parametrize("what", [what for what in CALLS if what not in ("run", "validation", "judgement")])
def test_the_same_arguments_go_on(
    what: str, interrupted: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(interrupted(what), partial_of(tmp_path / "out"))
    if what == "organism":
        monkeypatch.setattr(building, "_build", lambda *_, **__: {"requirements": []})
    CALLS[what][0](tmp_path / "out")
    assert (tmp_path / "out").is_dir() and not partial_of(tmp_path / "out").exists()
