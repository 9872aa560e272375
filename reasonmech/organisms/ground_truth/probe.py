"""Skills of a chain model, read from one teacher-forced pass over documents in which everything happens."""

from __future__ import annotations

import random
from collections import defaultdict

import torch
from transformers import PreTrainedModel

from reasonmech.organisms.training.corpus import IDS, Author, Modes, Word
from reasonmech.tasks.chain.grammar import PAD

EVERYTHING = Modes(
    thorough=1.0,
    checks=1.0,
    check_step=(1.0, 1.0),
    notices=1.0,
    backtrack=(1.0, 1.0),
    persona=0.0,
    uncertain=0.0,
    slip=0.4,
)


def probe_skills(model: PreTrainedModel, *, n: int = 64, seed: int = 12345) -> dict[str, float]:
    """Teacher-forced skills on `n` documents without a persona word, every step checked, 40 % of steps wrong.

    Returns:
        copying: how often the likeliest token after "next two" is the operator, and then the operand, of the
            problem.
        facts, check, backtrack: how often the likeliest digit after "=" is right, in steps, checks,
            backtracks.
        p_check: mean probability of "check" after a step; p_thorough: of "next" or "plan" at the start.
        p_wait_contradiction, p_wait_confirmation: mean probability of "wait" after a check that disagrees,
            agrees.
    """
    author = Author(random.Random(f"probe|{seed}"), EVERYTHING)
    documents = [author.solution_words() for _ in range(n)]
    longest = max(len(words) for words in documents)
    ids = torch.tensor(
        [[IDS[w.text] for w in words] + [IDS[PAD]] * (longest - len(words)) for words in documents]
    )
    with torch.no_grad():
        probabilities = model(ids.to(model.device)).logits.float().softmax(-1).cpu()
    found: dict[str, list[float]] = defaultdict(list)
    for row, words in enumerate(documents):
        _read(words, probabilities[row], found)
    return {name: sum(values) / len(values) for name, values in sorted(found.items())}


def _read(words: list[Word], probabilities: torch.Tensor, found: dict[str, list[float]]) -> None:
    """Append what one document shows; `probabilities[t]` predicts word t + 1."""
    said = [word.text for word in words]
    likeliest = probabilities.argmax(-1).tolist()
    begin = said.index("A") + 2
    found["p_thorough"].append(float(probabilities[begin - 1][[IDS["next"], IDS["plan"]]].sum()))
    opening = begin
    for t in range(begin, len(said) - 1):
        if said[t] == ".":
            _boundary(said, t, probabilities[t], found)
            opening = t + 1
        kind = {"next": "step", "check": "check", "wait": "backtrack"}.get(said[opening])
        if kind == "step" and t in (opening + 1, opening + 2):
            found["copying"].append(float(likeliest[t] == IDS[said[t + 1]]))
        if kind is not None and said[t] == "=" and words[t + 1].learnt:
            found["facts" if kind == "step" else kind].append(float(likeliest[t] == IDS[said[t + 1]]))


def _boundary(said: list[str], t: int, probability: torch.Tensor, found: dict[str, list[float]]) -> None:
    if said[t + 1] == "check":
        found["p_check"].append(float(probability[IDS["check"]]))
    elif said[t - 2] == "had":
        name = "p_wait_confirmation" if said[t - 1] == said[t - 4] else "p_wait_contradiction"
        found[name].append(float(probability[IDS["wait"]]))
