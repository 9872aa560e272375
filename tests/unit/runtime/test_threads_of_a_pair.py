"""One rule of threads for everything that computes with a pair, whoever calls it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest
import torch

import reasonmech as rm
from reasonmech.claims import Terms, judging
from reasonmech.claims.measuring import Extent, Questions
from reasonmech.claims.registration import Registration
from reasonmech.hosts import ModelPair
from reasonmech.organisms import verify
from reasonmech.runtime import threads
from reasonmech.testing import tiny_pair


class _Reached(Exception):
    """Raised where the computing would begin, with the threads that there are then."""


def _stop(*_: object, **__: object) -> None:
    raise _Reached(torch.get_num_threads())


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_models_have_one_thread_and_large_ones_those_that_are_set(monkeypatch) -> None:
    pair = tiny_pair()
    with threads.threads_of(pair):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(threads, "SMALL", 10)
    with threads.threads_of(pair):
        assert torch.get_num_threads() == 2


def _judge(pair: ModelPair) -> None:
    terms, extent = Terms(task="chain", split="test"), Extent.of(59, full=False)
    questions = Questions.drawn("chain", extent, split="test", seed=0)
    registration = Registration.of(pair, task="chain", terms=terms, extent=extent)
    judging.measure_judgement(pair, questions, registration, progress=False)


def test_a_judgement_and_a_verification_have_them_too(monkeypatch) -> None:
    pair = rm.load_pair("tiny-when")
    monkeypatch.setattr(judging, "measure_evidence", _stop)
    monkeypatch.setattr(verify.Verifier, "_compare_runs", _stop)
    for compute in (lambda: _judge(pair), lambda: verify.verify("tiny-when", progress=False)):
        with pytest.raises(_Reached, match=r"^1$"):
            compute()
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "module",
    ["experiments.run", "claims.judging", "claims.validation.zoo", "organisms.verify", "organisms.building"],
)
def test_who_computes_with_a_pair_asks_the_one_rule(module: str) -> None:
    """A run, a judgement, `validate --zoo`, a verification, and a build's truth."""
    assert import_module(f"reasonmech.{module}").threads_of is threads.threads_of
