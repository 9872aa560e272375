"""Directions from labelled activations or contrastive prompts: the baselines that a feature has to beat."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch

from reasonmech.arguments import as_sequence, check_type, describe
from reasonmech.coders import TextSource
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.interventions import Direction, at
from reasonmech.labels import Labels
from reasonmech.locate.rows.checks import LABELLING, check_is_activations
from reasonmech.registry import Registry
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.activations.keep import Keep
from reasonmech.runtime.activations.site_sinks import sinks_at, sinks_of
from reasonmech.site import Site
from reasonmech.stats.logistic import fit_logistic, log_likelihood

PROBE_PENALTIES: Final = (1.0, 30.0, 1000.0)
REFERENCE: Final = 64  # contrastive prompts from whose tokens sinks are told
CONTRAST: Final = "contrastive prompts: two lists of texts"
CONTRASTING: Final = "rm.features.ContrastivePrompts(positive=[...], negative=[...])"

methods: Registry[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = Registry("direction method")


@methods.register("diff_mean")
def diff_mean(x: np.ndarray, positive: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """Mean of the positive rows minus mean of the others, [d_model], in residual-norm units."""
    return x[positive].mean(0) - x[~positive].mean(0)


@methods.register("probe")
def probe(x: np.ndarray, positive: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """Weights of a ridge logistic probe on standardised activations, in raw coordinates: [d_model].

    The penalty is the one of `PROBE_PENALTIES` with the best likelihood on a fifth of the problems, held out
    inside.
    """
    mean, sd = x.mean(0), x.std(0)
    sd = np.where(sd > 0, sd, 1.0)  # a dimension that is constant gets no weight, whatever its scale
    design = np.c_[np.ones(len(x)), (x - mean) / sd]
    inner = problem % 5 == 0
    if positive[~inner].all() or not positive[~inner].any() or not inner.any():
        raise DataError(
            f"a probe on {len(np.unique(problem))} problems can't hold a fifth of them out and keep both "
            "kinds of row",
            do="use more problems, or method='diff_mean'",
        )

    def inner_value(l2: float) -> float:
        fitted = fit_logistic(design[~inner], positive[~inner], l2=l2)
        return float(log_likelihood(design[inner], positive[inner], fitted).mean())

    return fit_logistic(design, positive, l2=max(PROBE_PENALTIES, key=inner_value))[1:] / sd


def fit_vector(x: np.ndarray, positive: np.ndarray, problem: np.ndarray, *, method: str) -> np.ndarray:
    """A unit vector [d_model] that points towards the positive rows.

    Args:
        x: [row, d_model].
        positive: [row].
        problem: [row] problem number.

    Raises:
        DataError: one of the two classes is empty, or they do not differ.
        NonFiniteError: an activation is NaN or infinite.
    """
    if positive.all() or not positive.any():
        raise DataError(
            f"{int(positive.sum())} of {len(positive)} rows are positive", do="give rows of both kinds"
        )
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).all(1))
        raise NonFiniteError(
            f"{len(rows)} of {len(x)} rows hold NaN or infinite activations, the first is {rows[0]}"
        )
    vector = methods.get(method)(np.asarray(x, dtype=np.float64), positive, problem)
    norm = float(np.linalg.norm(vector))
    if norm == 0:
        raise DataError(
            f"{method} found no difference between positive and other rows", do="check labels and site"
        )
    return vector / norm


@checked
@final
@dataclass(frozen=True)
class ContrastivePrompts:
    """Pairs of texts that differ in what a direction is to stand for.

    Attributes:
        positive, negative: as many texts of either kind; text i of both is a pair. They are tokenised as
            `host.encode` does: apply a chat template yourself.
        position: the token of every text whose activation is read: -1 is the last, 0 the first (the BOS,
            where the tokenizer puts one).

    Raises:
        ArgumentError: one text in place of a list, or something that is no text.
        DataError: no text, or more of one kind than of the other.
    """

    positive: Sequence[str]
    negative: Sequence[str]
    position: int = -1

    def __post_init__(self) -> None:
        for name, texts in (("positive", self.positive), ("negative", self.negative)):
            if isinstance(texts, str):
                raise ArgumentError(
                    f"{name} is {describe(texts)}", allowed="a list of texts", do=f"{name}=[{texts!r}]"
                )
            as_sequence(texts, str, name=name, allowed="a list of texts")
        if not self.positive or len(self.positive) != len(self.negative):
            raise DataError(
                f"{len(self.positive)} positive and {len(self.negative)} negative texts",
                allowed="as many of either kind, at least one: they are pairs",
                do="write the other text of every pair, or label rollouts: rm.direction(acts, labels)",
            )
        check_type(self.position, int, name="position", allowed="a token's number, -1 for the last")

    def __repr__(self) -> str:
        return f"ContrastivePrompts({len(self.positive)} pairs, token {self.position})"


@checked
def direction(
    source: Activations | Host,
    contrast: Labels | ContrastivePrompts,
    *,
    site: Site | str,
    method: str = "diff_mean",
) -> Direction:
    """The unit direction at `site` along which positive texts, or labelled rows, lie apart from the others.

    From activations and labels, or from a host and contrastive prompts, of which one token each is read
    (contrastive activation addition: Rimsky et al. 2024, arXiv 2312.06681; a pair shares its problem).
    diff_mean: mean(positive) - mean(others) (Marks and Tegmark 2023, arXiv 2310.06824); probe: weights of a
    logistic regression. It is fitted on everything given: hold problems out yourself before you score it on
    them. Labelled rows at attention sinks (`find_sinks`) are left out, with a warning; prompts that are read
    at one are refused. Its length is dropped, so that `rm.steer(direction, 4.0)` adds 4 residual-norm units.

    Args:
        source: captured activations that hold every labelled position, or the host that reads the prompts.
        contrast: labels for activations, `ContrastivePrompts(positive, negative, position=-1)` for a host.
        site: "resid_post.12" is the stream after block 12, `hidden_states[13]` of Hugging Face.
        method: "diff_mean", "probe", or a kind that a plug-in registered.

    Raises:
        ArgumentError: anything else.
        UnknownNameError: no such method, or no such site.
        DataError: only one kind of row, no difference between them, a prompt that has no such token, or one
            in which that token is an attention sink: its first (unless `position=0` names it), or one of some
            prompts only.
    """
    site = Site.parse(site)
    if isinstance(source, Host):
        prompts = check_type(contrast, ContrastivePrompts, name="contrast", allowed=CONTRAST, do=CONTRASTING)
        acts, labels = _read_prompts(source, prompts, site)
    else:
        check_is_activations(source, name="source")
        acts, labels = source, check_type(contrast, Labels, name="contrast", allowed="labels", do=LABELLING)
        if isinstance(acts, TextSource):  # planted rows have no texts
            labels = _without_sinks(acts, labels, site)
    x = acts.rows(site, labels).float().numpy()
    _, problem = np.unique(labels.problem, return_inverse=True)
    vector = fit_vector(x, labels.positive, problem, method=method)
    unit = torch.nn.functional.normalize(torch.from_numpy(vector), dim=0).float()
    return Direction(unit, site, name=f"{labels.behaviour} {method}")


def _without_sinks(acts: Activations, labels: Labels, site: Site) -> Labels:
    """The labelled rows that are no attention sinks among what was captured; a warning says how many are."""
    sinks = sinks_of(acts, site)
    if not sinks.n_sinks:
        return labels
    which = sinks_at(acts, site, sinks, tokens=acts.rows_of(labels)).numpy()
    if not which.any():
        return labels
    ordinary = labels.take(np.flatnonzero(~which))
    warnings.warn(
        f"the direction of {labels.behaviour!r} at {site} is fitted without {which.sum()} of {len(labels)} "
        "rows: they are attention sinks, whose norm would be all that it shows",
        stacklevel=3,
    )
    return ordinary


def _read_prompts(host: Host, prompts: ContrastivePrompts, site: Site) -> tuple[Activations, Labels]:
    """The activation of one token of every text, and whether the text is positive."""
    texts = [*prompts.positive, *prompts.negative]
    positions = []
    for text in texts:
        n_tokens = len(host.encode(text))
        position = prompts.position + (n_tokens if prompts.position < 0 else 0)
        if not 0 <= position < n_tokens:
            raise DataError(
                f"token {prompts.position} of a text of {n_tokens} tokens: {text!r:.80}",
                allowed=f"{-n_tokens} to {n_tokens - 1}",
                do="read a token that every text has: position=-1 is the last",
            )
        positions.append(position)
    keep = Keep(where=at(per_row=[(position,) for position in positions]))
    acts = capture(host, texts, [site], keep=keep, progress=False)
    if prompts.position != 0:  # who names the first token means it
        _check_sinks(host, prompts, acts, texts, positions, site)
    pair = np.tile(np.arange(len(prompts.positive)), 2).astype(str)
    positive = np.arange(len(texts)) < len(prompts.positive)
    rows = np.arange(len(texts)), np.array(positions), positive, np.char.add("pair/", pair)
    return acts, Labels("contrast", "recognises", *rows)


def _check_sinks(
    host: Host,
    prompts: ContrastivePrompts,
    acts: Activations,
    texts: list[str],
    positions: list[int],
    site: Site,
) -> None:
    """Raise DataError where a read token is an attention sink, by the norms of all tokens of the texts.

    Sinks at later tokens of every text are all alike, such as the line break that ends a template: what
    differs between them stays. At some only, they would be the direction.
    """
    sample = [texts[i] for i in np.linspace(0, len(texts) - 1, min(len(texts), REFERENCE)).astype(int)]
    if all(len(host.encode(text)) == 1 for text in sample):
        sample.append(" ".join(sample))  # tokens to measure the first ones by
    sinks = sinks_of(capture(host, sample, [site], progress=False), site)
    which = sinks_at(acts, site, sinks).numpy()
    first = which & (np.array(positions) == 0)
    if not first.any() and which.all():
        return
    if which.any():
        number = int(np.flatnonzero(first if first.any() else which)[0])
        token = f"token {prompts.position} of {texts[number]!r:.80}"
        reason = "its first, and first tokens are attention sinks" if first.any() else "an attention sink"
        raise DataError(
            f"{token} is {reason} at {site} ({which.sum()} of {len(texts)} texts): the direction would be "
            "that of the sink",
            allowed="tokens that are no attention sinks",
            do="put words in front of the texts, read another token (position=), or name the first token of "
            "all of them: position=0"
            if first.any()
            else "let all texts end alike, or read another token (position=)",
        )
