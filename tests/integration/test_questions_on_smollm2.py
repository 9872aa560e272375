"""Questions put to a real model: two languages, LaTeX, emoji, and a generator's."""

import pytest
import torch

import reasonmech as rm
from reasonmech.tasks import outcomes
from tests.layouts import smollm2_directory
from tests.unit.tasks.test_question_texts import QUESTIONS, questions

__all__ = ["questions"]
DECODE = rm.Decode(max_new_tokens=32, stop_strings=("\nQuestion:",))


@pytest.mark.real_model
def test_smollm2_answers_questions(questions):
    host = rm.load_host(smollm2_directory(), dtype=torch.float32)
    for name in (questions, "reasoning_gym:chain_sum?max_terms=2&max_digits=1"):
        problems = rm.load_task(name, n=len(QUESTIONS))
        rollouts = rm.generate(host, problems, decode=DECODE, progress=False)
        counted = outcomes(rollouts)
        assert counted.counts["right"] and counted.counts["wrong"] and not counted.counts["timeout"]
        assert counted.right.tolist() == rm.grade(rollouts).tolist()
        traces, tokenized = rm.parse(rollouts), rm.text.cut(rollouts, host.tokenizer)
        assert [trace.sentences for trace in traces] == [trace.sentences for trace in tokenized]
