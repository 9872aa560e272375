"""ModelPair: a base model and its thinking sibling, checked once to be comparable token for token."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Final, TypeAlias, final

from reasonmech.arguments import check_type, describe, is_iterable
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, MismatchError
from reasonmech.hosts.difference import ACCEPTABLE, Difference, differences_of
from reasonmech.hosts.host import Host
from reasonmech.hosts.prompt import Prompt
from reasonmech.ranges import Count, Positive

THINK_TAGS: Final = ("<think>", "</think>")
Mark: TypeAlias = str | tuple[str, int]


@checked
@final
@dataclass(frozen=True, eq=False)
class ModelPair:
    """Two hosts with the same depth, width and vocabulary: whatever one writes, the other can read.

    Attributes:
        name: how results name the pair.
        base, thinking: the two hosts.
        task: task they are compared on, None where there is none.
        steering_layer: layer at which the base is steered, None where it has not been chosen.
        sae_layer: layer of the thinking model at which sentences are told apart.
        n_categories: how many behaviours its taxonomy holds.
        accept: kinds of difference that are known and wanted.
        differences: what does differ (only kinds in `accept`, and chat templates, which no prompt here uses).
        think_tags: opening and closing tag, where both are single tokens of the thinking model's vocabulary;
            None otherwise. Generated text and stop strings of it and of hybrids have these.
        think_marks: the same for masks on either model, `inside(*pair.think_marks)`: the tag, or, where the
            base calls its token otherwise, (tag, token id).

    Raises:
        MismatchError: the hosts differ in a way that is not in `accept`; every difference is spelt out.
    """

    name: str
    base: Host
    thinking: Host
    task: str | None = None
    steering_layer: Count | None = None
    _: KW_ONLY
    sae_layer: Count | None = None
    n_categories: Positive | None = None
    note: str = ""
    source: str = ""
    accept: Collection[str] = ()
    differences: tuple[Difference, ...] = field(init=False)
    think_tags: tuple[str, str] | None = field(init=False)
    think_marks: tuple[Mark, Mark] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "accept", accepted_kinds(self.accept))
        unknown = sorted(set(self.accept) - set(ACCEPTABLE))
        if unknown:
            raise MismatchError(f"cannot accept {unknown}", allowed=", ".join(ACCEPTABLE))
        differences = differences_of(self.base, self.thinking)
        refused = [d for d in differences if d.kind not in (*self.accept, "chat_template")]
        if refused:
            acceptable = sorted({d.kind for d in refused} & set(ACCEPTABLE))
            raise MismatchError(
                f"the models of pair {self.name!r} differ: "
                + "; ".join(f"{d.kind}: {d.what}" for d in refused),
                allowed="the same layers, width, logits and ordinary vocabulary",
                do=f"if this is known and wanted, pass accept={acceptable}"
                if acceptable and all(d.kind in ACCEPTABLE for d in refused)
                else "choose a thinking model that was trained from this base",
            )
        object.__setattr__(self, "differences", tuple(differences))
        vocabulary = self.thinking.tokenizer.get_vocab()
        tags = THINK_TAGS if all(tag in vocabulary for tag in THINK_TAGS) else None
        object.__setattr__(self, "think_tags", tags)
        marks = None if tags is None else tuple(map(self._mark, tags))
        object.__setattr__(self, "think_marks", marks)
        if self.steering_layer is not None:
            self.base.check_site(f"resid_post.{self.steering_layer}")
        if self.sae_layer is not None:
            self.thinking.check_site(f"resid_post.{self.sae_layer}")

    def with_prompts(self, *, base: Prompt | None = None, thinking: Prompt | None = None) -> ModelPair:
        """The same pair, whose models are behind other prompts; None: that one's stays.

        Raises:
            MismatchError, DataError: a model cannot read its prompt (`Host.with_prompt`).
        """
        hosts = {
            "base": self.base if base is None else self.base.with_prompt(base),
            "thinking": self.thinking if thinking is None else self.thinking.with_prompt(thinking),
        }
        return replace(self, **hosts)

    def _mark(self, tag: str) -> Mark:
        """What finds a tag of the thinking model in tokens that either model reads."""
        token = self.thinking.tokenizer.get_vocab()[tag]
        return tag if self.base.tokenizer.get_vocab().get(tag) == token else (tag, token)

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(difference.kind for difference in self.differences))
        differing = f", differing in {kinds}" if kinds else ""
        return f"ModelPair({self.name!r}, base={self.base!r}, thinking={self.thinking!r}{differing})"


def accepted_kinds(accept: object) -> tuple[str, ...]:
    """Kinds of difference, each once. Raises ArgumentError for what is no collection of texts."""
    if isinstance(accept, str | bytes) or not is_iterable(accept):
        raise ArgumentError(
            f"accept is {describe(accept)}", allowed=", ".join(ACCEPTABLE), do='accept=("padding",)'
        )
    kinds = [check_type(kind, str, name="a kind in accept", allowed=", ".join(ACCEPTABLE)) for kind in accept]
    return tuple(dict.fromkeys(kinds))
