"""Steering of the same strength: what moves the next token's distribution as far as trained vectors do."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts import Host
from reasonmech.hybrid.disagreements import clean_passes
from reasonmech.hybrid.executors import Vectors
from reasonmech.hybrid.parts import Executor, Moment
from reasonmech.hybrid.vector_forms import VectorScale
from reasonmech.kinds import Kinds, opening_categories
from reasonmech.ranges import Positive
from reasonmech.rollout import Rollout
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.rerun import CleanPast, rerun
from reasonmech.shapes import NextLogits
from reasonmech.site import Site

WITHIN: Final = 0.1  # a KL within 10 % of the one that it is to match is matched
_OCTAVES: Final = range(-2, 7)  # scales that are tried, as powers of 2 times the first
_HALVINGS: Final = 7


class Matched(NamedTuple):
    """Scales at which things reach a strength.

    Attributes:
        scale: [thing]; where the strength is out of reach, the scale that comes nearest among those tried.
        kl, target: [thing] nats that it has there, and those that it was to have.
    """

    scale: Float[Tensor, " thing"]
    kl: Float[Tensor, " thing"]
    target: Float[Tensor, " thing"]

    @property
    def reached(self) -> Bool[Tensor, " thing"]:
        return (self.kl - self.target).abs() <= WITHIN * self.target

    def describe_shortfall(self) -> str:
        """What could not be matched, in a sentence; "" where everything is."""
        missed = ~self.reached
        if not missed.any():
            return ""
        shares = (self.kl / self.target)[missed]
        return (
            f"{int(missed.sum())} of {len(missed)} are not within {WITHIN:.0%} of the KL they are to match "
            f"at any scale that was tried ({float(shares.min()):.0%} to {float(shares.max()):.0%} of it)"
        )


def match(
    kl: Callable[[Float[Tensor, " thing"]], Float[Tensor, " thing"]],
    target: Float[Tensor, " thing"],
    first: Float[Tensor, " thing"],
) -> Matched:
    """The smallest scales at which `kl` reaches `target`: doubled from `first` / 4 on, then bisected.

    Args:
        kl: nats of every thing at its scale.
        first: a scale of the right size, > 0.
    """
    tried = torch.stack([first * 2.0**octave for octave in _OCTAVES])
    kls = torch.stack([kl(scales) for scales in tried])
    enough = kls >= target
    index = torch.where(enough.any(0), enough.long().argmax(0), kls.argmax(0))
    columns = torch.arange(len(first))
    high, high_kl = tried[index, columns], kls[index, columns]
    low = torch.where(index > 0, tried[(index - 1).clamp_min(0), columns], torch.zeros_like(high))
    within_reach = enough.any(0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        of_middle = kl(middle)
        above = (of_middle >= target) & within_reach
        high, high_kl = torch.where(above, middle, high), torch.where(above, of_middle, high_kl)
        low = torch.where(above | ~within_reach, low, middle)
    return Matched(high, high_kl, target)


class Scaling(NamedTuple):
    """A network that says how much of vectors is added.

    Attributes:
        category: [thing] of each vector.
    """

    scale: VectorScale
    category: Int[Tensor, " thing"]

    @classmethod
    def of(cls, vectors: Vectors, category: Int[Tensor, " thing"]) -> Scaling | None:
        """What scales these categories of trained vectors; None where nothing does."""
        return None if vectors.scale is None else cls(vectors.scale, category)


@final
@dataclass(frozen=True, eq=False)
class NeutralTexts:
    """Positions of texts at which the strength of a steering is measured: mostly drawn blind to what it is
    for (`draw`), so that the text is neutral; or where it is used (`at`).

    Attributes:
        past: the clean past of each position.
        clean: [position, vocab] logits of the unsteered host.
    """

    host: Host
    past: CleanPast
    clean: Float[Tensor, "position vocab"]

    @classmethod
    @checked
    @torch.no_grad()
    def draw(cls, host: Host, rollouts: Sequence[Rollout], *, n: int = 16, seed: int = 0) -> NeutralTexts:
        """Draw `n` tokens that the model chose; the strength is measured at the token before each.

        Raises DataError where there is none.
        """
        texts = as_read_by(host, rollouts)
        chosen = [
            (i, len(r.prompt_ids) - 1 + t)
            for i, r in enumerate(texts)
            for t, written in enumerate(r.by_environment)
            if not written
        ]
        if not chosen:
            raise DataError("no token that a model chose, before which strength could be measured")
        drawn = random.Random(f"neutral {seed}").sample(chosen, min(n, len(chosen)))
        return cls.at(host, texts, drawn)

    @classmethod
    @checked
    @torch.no_grad()
    def at(cls, host: Host, texts: Sequence[Rollout], places: Sequence[tuple[int, int]]) -> NeutralTexts:
        """These places: number of the text, in the host's own tokens, and absolute position; one or more."""
        drawn = sorted(places)
        needed = sorted({i for i, _ in drawn})
        (clean,) = clean_passes(host, [texts[i] for i in needed], batch_size=len(needed))
        rows = torch.tensor([needed.index(i) for i, _ in drawn])
        past = clean.context(rows, torch.tensor([position for _, position in drawn]))
        everything = torch.arange(len(drawn), device=host.device)
        logits = rerun(host, past.select(everything), f"resid_post.{host.n_layers - 1}", lambda x: x)
        return cls(host, past, logits.float())

    def __len__(self) -> int:
        return len(self.clean)

    @torch.no_grad()
    def kl_of_vectors(
        self, table: Float[Tensor, "thing d_model"], site: Site | str, through: Scaling | None = None
    ) -> Float[Tensor, " thing"]:
        """Mean KL(steered || unsteered) in nats of adding each vector at each position, CPU.

        Args:
            through: what scales each of them; None: all of it is added.
        """
        n, device = len(self), self.host.device
        rows = torch.arange(n, device=device).repeat(len(table))
        added = table.to(device).repeat_interleave(n, 0)

        def edit(x: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
            if through is None:
                return x + added.to(x)
            category = through.category.repeat_interleave(n)
            return x + (through.scale(x, category) * added).to(x)

        logits = rerun(self.host, self.past.select(rows), site, edit)
        return self._kl(logits.float().view(len(table), n, -1))

    @checked
    @torch.no_grad()
    def kl_of_executor(self, executor: Executor, n: Positive) -> Float[Tensor, " category"]:
        """The same of an executor, for each of n categories; NaN for those that it does not cover."""
        rows = torch.arange(len(self))
        nats = torch.full((n,), torch.nan)
        for category in range(n):
            chosen = torch.full((len(self),), category)
            if bool(executor.covers(chosen).all()):
                logits = executor.execute(self._moment(chosen), self.past, rows, chosen)
                nats[category] = float(self._kl(logits.float()[None, :, : self.clean.shape[1]])[0])
        return nats

    def _moment(self, category: Int[Tensor, " position"]) -> Moment:
        """These positions as a controller would see them, both models the unsteered one."""
        n, choice = len(self), self.clean.argmax(-1).cpu()
        no = torch.zeros(n, dtype=torch.bool)
        return Moment(
            self.clean,
            self.clean,
            base_choice=choice,
            thinking_choice=choice,
            category=category,
            base_alone_ends=no,
            boundary=~no,
            keys=torch.arange(n),
            position=self.past.positions.cpu() + 1,
            base_category=category,
        )

    def kl_of_bias(
        self, words: Bool[Tensor, "thing vocab"], bias: Float[Tensor, " thing"]
    ) -> Float[Tensor, " thing"]:
        """The same of adding a bias to the logits of words."""
        added = words.float() * bias[:, None]
        return self._kl(self.clean[None] + added[:, None].to(self.clean))

    def _kl(self, logits: Float[Tensor, "thing position vocab"]) -> Float[Tensor, " thing"]:
        steered, clean = logits.log_softmax(-1), self.clean.log_softmax(-1)
        return (steered.exp() * (steered - clean)).sum(-1).mean(-1).cpu()


def vectors_of_strength(
    directions: Float[Tensor, "thing d_model"],
    target: Float[Tensor, " thing"],
    norms: Float[Tensor, " thing"],
    site: Site | str,
    texts: NeutralTexts,
    through: Scaling | None = None,
) -> tuple[Float[Tensor, "thing d_model"], Matched]:
    """Directions at the scales at which they have these KL on neutral texts; searched around `norms`."""
    unit = directions.float().cpu() / directions.float().cpu().norm(dim=-1, keepdim=True)
    matched = match(lambda scale: texts.kl_of_vectors(unit * scale[:, None], site, through), target, norms)
    return unit * matched.scale[:, None], matched


def onset_words(kinds: Kinds, vocab: int) -> Bool[Tensor, "category vocab"]:
    """Which tokens begin a sentence of each category."""
    of_token = opening_categories(kinds, vocab)
    return of_token[None, :] == torch.arange(len(kinds.names))[:, None]


def _strength(vectors: Vectors, texts: NeutralTexts) -> Float[Tensor, " thing"]:
    """Mean KL of each trained vector on neutral texts, CPU."""
    trained = vectors.trained.nonzero()[:, 0]
    return texts.kl_of_vectors(vectors.table[trained], vectors.site, Scaling.of(vectors, trained))


def unembedding_rows(vectors: Vectors, kinds: Kinds, texts: NeutralTexts) -> tuple[Vectors, Matched]:
    """In place of each trained vector the unembedding row of its category's first words, as strong as it."""
    words = onset_words(kinds, vectors.host.vocab_size)[vectors.trained].float()
    rows = words @ vectors.host.unembedding().detach().float().cpu() / words.sum(-1, keepdim=True)
    return as_strong_as(rows, vectors, texts)


def as_strong_as(
    directions: Float[Tensor, "thing d_model"], vectors: Vectors, texts: NeutralTexts
) -> tuple[Vectors, Matched]:
    """Directions in place of trained vectors, one for each that there is, as strong on neutral texts."""
    trained = vectors.trained.nonzero()[:, 0]
    norms = vectors.table.float().cpu()[trained].norm(dim=-1)
    strong, matched = vectors_of_strength(directions, _strength(vectors, texts), norms, vectors.site, texts)
    exchanged = torch.zeros(vectors.table.shape)
    exchanged[trained] = strong
    return Vectors(vectors.host, vectors.site, table=exchanged, trained=vectors.trained), matched


@final
class OnsetBias:
    """No steering of a stream: a bias on the logits of the first words of the category.

    Attributes:
        bias: [category, vocab], added to the base's logits.
        trained: categories that have one.
    """

    def __init__(self, bias: Float[Tensor, "category vocab"], trained: Bool[Tensor, " category"]) -> None:
        self.bias, self.trained = bias, trained

    @classmethod
    def as_strong_as(cls, vectors: Vectors, kinds: Kinds, texts: NeutralTexts) -> tuple[OnsetBias, Matched]:
        """Biases that have the KL of trained vectors on neutral texts."""
        trained = vectors.trained.nonzero()[:, 0]
        words = onset_words(kinds, vectors.host.vocab_size)
        target = _strength(vectors, texts)
        first = torch.full((len(trained),), 4.0)
        matched = match(lambda bias: texts.kl_of_bias(words[trained], bias), target, first)
        bias = torch.zeros(words.shape)
        bias[trained] = words[trained].float() * matched.scale[:, None]
        return cls(bias, vectors.trained), matched

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self.trained[category]

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        base = moment.base[rows.to(moment.base.device)]
        return base + self.bias[category, : base.shape[1]].to(base)
