"""Tokens that write nothing: rows that a vocabulary is padded with are sampled now and then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import reasonmech as rm
from reasonmech.kinds import sentence_starts, with_ends
from reasonmech.tasks import tasks
from tests.outside_pair import ROWS, write_outside_pair

NAMELESS = ROWS - 1


@pytest.mark.parametrize("blanks", [False, True], ids=["blanks between tokens", "blanks in tokens"])
def test_a_token_without_a_name_is_a_word_of_no_kind_and_costs_no_text(tmp_path: Path, blanks: bool) -> None:
    chain = tasks.get("chain")
    host = rm.load_pair(write_outside_pair(tmp_path, blanks=blanks)).base
    assert host.tokenizer.convert_ids_to_tokens(NAMELESS) is None
    with torch.no_grad():
        head = host.unembedding()
        head[NAMELESS] = head[host.encode("one next")[-1]]  # as likely as "next", which is at no one's cost
    decode = rm.Decode(temperature=1.0, samples=2, max_new_tokens=120)
    written = rm.generate(host, rm.load_task("chain", n=12), decode=decode, progress=False)
    with_one = [rollout for rollout in written if NAMELESS in rollout.ids]
    assert len(with_one) > 4 and rm.grade(written).shape == (24,)
    kinds = with_ends(chain.kinds(host.tokenizer), host.eos_ids)
    for rollout, trace in zip(with_one, map(chain.parse, with_one), strict=True):
        assert len(trace.words) == len(rollout.ids) == len(rollout.pieces)
        assert "".join(rollout.pieces) == rollout.text
        at = [offset for offset, token in enumerate(rollout.ids) if token == NAMELESS]
        assert all(trace.words[t] == f"[id {NAMELESS}]" and rollout.pieces[t] == "" for t in at)
        starts = sentence_starts(kinds, [rollout.ids])[0].nonzero()[:, 0].tolist()
        assert [sentence.start for sentence in trace.sentences] == starts
        labels = kinds.label(torch.tensor(rollout.ids))
        assert [s.kind for s in trace.sentences] == [kinds.names[int(labels[t])] for t in starts]
        assert chain.due(rollout) in ("step", "check", "backtrack")


def test_rollouts_whose_tokens_all_write_something_are_stored_as_they_were(tmp_path: Path) -> None:
    host = rm.load_pair(write_outside_pair(tmp_path)).base
    written = rm.generate(host, rm.load_task("chain", n=4), progress=False)
    assert all(rollout.pieces == () for rollout in written)
