"""Callables that check their plain arguments in their own words refuse what is of no kind that they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ReasonmechError
from reasonmech.simulators import Mixture, mix_skills
from reasonmech.taxonomies.text import taxonomies
from reasonmech.taxonomies.text.judge import parse_answer
from reasonmech.testing import tiny_coder, tiny_host, tiny_pair
from tests.laws.test_doors import CALLABLES, IN_THEIR_OWN_WORDS, plain
from tests.unit.simulators.policies import BASE, THINKING

HOST = tiny_host()
PAIR = tiny_pair()
CODER = tiny_coder(HOST)
X = torch.ones(2, HOST.d_model)
V = rm.Direction.along(torch.ones(HOST.d_model), "resid_post.1")
BOTH = rm.pairwise.PairRollouts(
    *(rm.generate(host, ["w1 w2"], decode=rm.Decode(max_new_tokens=3), progress=False)
      for host in (PAIR.base, PAIR.thinking))
)  # fmt: skip
MASKS = rm.interventions


def over(changed: Mapping[str, Any], **valid: Any) -> dict[str, Any]:
    return valid | dict(changed)


CALLS: dict[str, tuple[Callable[..., object], Mapping[str, Any]]] = {
    "Divergence": (rm.pairwise.Divergence, {"threshold": 0.1}),
    "Features": (
        lambda indices=(1,), transfer=True: rm.Features(CODER, indices, transfer=transfer),
        {"indices": (1,), "transfer": True},
    ),
    "Mixture": (lambda share: Mixture(BASE.onset, THINKING.onset, share), {"share": 0.5}),
    "SAELensCoder.read": (lambda indices: CODER.read(X, indices), {"indices": [1]}),
    "SAELensCoder.rows": (CODER.rows, {"indices": [1]}),
    "above": (lambda **k: rm.above(V, **over(k, threshold=1.0)), {"threshold": 1.0, "role": "base"}),
    "answer_likelihood": (
        lambda **k: rm.metrics.answer_likelihood(HOST, **over(k, references=["w1"])),
        {"references": ["w1"], "distractors": ["w2"], "against": "best"},
    ),
    "at": (
        lambda **k: rm.at(k["positions"]) if "positions" in k else rm.at(**k),
        {"positions": 1, "per_row": [[1]]},
    ),
    "below": (lambda **k: MASKS.below(V, **over(k, threshold=1.0)), {"threshold": 1.0, "role": "base"}),
    "divergence": (lambda threshold: rm.pairwise.divergence(PAIR, BOTH, threshold=threshold),
                   {"threshold": 0.1}),
    "generated": (rm.generated, {"start": 1, "stop": 2}),
    "grid": (
        lambda **k: rm.grid({"v": V}, **over(k, verb="steer", amounts=(1.0,))),
        {"verb": "steer", "amounts": (1.0,), "seeds": (0,)},
    ),
    "inside": (lambda open="w1", close="w2": MASKS.inside(open, close), {"open": "w1", "close": "w2"}),
    "label": (lambda mode: rm.label([], "check", mode=mode), {"mode": "anticipates"}),
    "labelled": (rm.labelled, {"name": "mine"}),
    "load_experiment": (
        lambda source="demo", overrides=(): rm.experiments.load_experiment(source, overrides),
        {"source": "demo", "overrides": ["task.n=7"]},
    ),
    "load_plan": (lambda source: rm.load_plan(source, HOST), {"source": "plan.yaml"}),
    "logit_diff": (
        lambda good="w1", bad="w2": rm.logit_diff(HOST, good=good, bad=bad), {"good": "w1", "bad": "w2"}
    ),
    "mix_skills": (lambda share: mix_skills(BASE.execution, THINKING.execution, share=share), {"share": 0.5}),
    "onset_log_odds": (
        lambda onset=("w1",), against=("w2",), single=False: rm.onset_log_odds(onset, against, single=single),
        {"onset": ["w1"], "against": ["w2"], "single": True},
    ),
    "parse_answer": (
        lambda answer="{}", n=1: parse_answer(answer, n, taxonomies.get("venhoff")), {"answer": "{}", "n": 1}
    ),
    "prompt": (rm.prompt, {"start": 1, "stop": 2}),
    "ramp": (lambda **k: MASKS.ramp(V, **over(k, lo=0.0, hi=1.0)), {"lo": 0.0, "hi": 1.0, "role": "base"}),
    "sentence_starts": (MASKS.sentence_starts, {"ends": "."}),
    "tokens": (lambda items: rm.tokens(items), {"items": "w1"}),
}  # fmt: skip
OF_NO_KIND = (object(), b"a", {"a": object()}, [object()], torch.ones(2, 2), True)
CASES = [(name, parameter) for name, (_, valid) in CALLS.items() for parameter in valid]


def test_each_of_them_is_called_with_each_of_its_plain_parameters() -> None:
    assert CALLS.keys() == IN_THEIR_OWN_WORDS.keys()
    assert all(IN_THEIR_OWN_WORDS.values())
    signatures = dict(CALLABLES)
    for name, (_, valid) in CALLS.items():
        assert valid.keys() >= plain(signatures[name]).keys(), name


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_a_value_of_no_kind_is_refused_in_our_own_words(name: str, parameter: str) -> None:
    call, valid = CALLS[name]
    for value in OF_NO_KIND:
        if value is True and isinstance(valid[parameter], bool):
            continue
        with pytest.raises(ReasonmechError) as caught:
            call(**{parameter: value})
        assert caught.value.happened and (caught.value.allowed or caught.value.do), repr(value)
