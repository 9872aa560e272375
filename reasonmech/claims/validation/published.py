"""Published rules that say of a pair that training taught when, asked beside ours on the same pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from reasonmech.claims.validation.simulated import Exhibit


@final
@dataclass(frozen=True)
class PublishedRule:
    """A reading of one number as "the base could do it, and training taught when".

    Attributes:
        name: as printed.
        source: where it is made.
        needs: what it reads; a pair without it has no answer.
        says_when: of an exhibit; None where it has not what the rule needs.
    """

    name: str
    source: str
    needs: str
    says_when: Callable[[Exhibit], bool | None]


def _recovers_half(exhibit: Exhibit) -> bool | None:
    """Half of the gap or more is recovered by a hybrid: (arm - base) / (thinking - base) >= 0.5."""
    if exhibit.recovered is not None:
        return exhibit.recovered >= 0.5
    arm, outcomes = exhibit.evidence.arms.get("full"), exhibit.evidence.outcomes["greedy"]
    if arm is None:
        return None
    gap = outcomes.gap.mean()
    return bool(gap > 0 and (arm - outcomes.base).mean() >= 0.5 * gap)


def _catches_up(exhibit: Exhibit) -> bool | None:
    """The base is worse in one sample, and at least as good in the best of many (point estimates)."""
    if exhibit.many is None:
        return None
    base, thinking = exhibit.many
    is_behind = exhibit.evidence.outcomes["sampled"].gap.mean() > 0
    return bool(is_behind and (base > 0).mean() >= (thinking > 0).mean())


def _shifts_few_tokens(exhibit: Exhibit) -> bool | None:
    """Fewer than 10 % of the thinking model's tokens are shifted (JS > 0.1 nats)."""
    return None if exhibit.shifted is None else exhibit.shifted < 0.1


def _moves_few_weights(exhibit: Exhibit) -> bool | None:
    """bfloat16 tells at most 30 % of the weights apart."""
    return None if exhibit.unchanged is None else exhibit.unchanged >= 0.7


def _moves_keywords(exhibit: Exhibit) -> bool | None:
    """The base begins more of its sentences with a keyword under +1 times the difference than under -1."""
    return None if exhibit.keywords is None else exhibit.keywords[1] > exhibit.keywords[0]


def _unread(exhibit: Exhibit) -> bool | None:
    return None


PUBLISHED: Final = (
    PublishedRule("hybrid recovers >= 50 %", "arXiv 2510.07364", "an arm of the hybrid", _recovers_half),
    PublishedRule("pass@256 crosses", "arXiv 2504.13837", "256 samples per problem", _catches_up),
    PublishedRule(
        "JS > 0.1 on < 10 % of tokens", "arXiv 2603.22446", "both distributions", _shifts_few_tokens
    ),
    PublishedRule("<= 30 % of bf16 weights move", "arXiv 2505.11711", "weights", _moves_few_weights),
    PublishedRule("a feature of top ReasonScore", "arXiv 2503.18878", "a coder of the base", _unread),
    PublishedRule(
        "DiffMean +-1 moves keywords", "arXiv 2506.18167", "activations and steering", _moves_keywords
    ),
    PublishedRule("crosscoder norm ratio", "arXiv 2504.02922", "a crosscoder of the pair", _unread),
)
"""Each with the threshold that its readers use. What cannot be computed of a pair is not applied to it."""
