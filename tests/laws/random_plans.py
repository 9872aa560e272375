"""Plans drawn at random: every verb x axis x mask x gate, at every site, on every architecture."""

from functools import lru_cache

import hypothesis.strategies as st
import torch
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.hosts import Host
from reasonmech.interventions import (
    Axis,
    Direction,
    Features,
    Gate,
    Intervention,
    Subspace,
    Where,
    Whole,
    ablate,
    above,
    always,
    at,
    below,
    clamp,
    everywhere,
    generated,
    inside,
    patch,
    prompt,
    ramp,
    scale,
    sentence_starts,
    steer,
    tokens,
)
from reasonmech.site import Site
from reasonmech.testing import ARCHITECTURES, tiny_coder
from tests.hosts import every_host

HOSTS = (*ARCHITECTURES, "gpt_neox_sequential", "gemma2")
WORDS = ("w1", "w2", "w3", ".", "<think>", "</think>", "w9", "w40")
VERBS = ("ablate", "ablate_to", "clamp", "scale", "steer", "patch")
AXES = ("features", "direction", "subspace", "whole")
ROWS, POSITIONS = 4, 40  # of a patch's source


@lru_cache
def host_of(name: str) -> Host:
    return every_host(name)


@lru_cache
def coder_of(name: str, site: Site) -> SparseCoder:
    return tiny_coder(host_of(name), site)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def axis_of(name: str, kind: str, site: Site, seed: int) -> Axis:
    host = host_of(name)
    width = host.width(site)
    match kind:
        case "features":
            return Features(coder_of(name, site), tuple(range(seed % 50, seed % 50 + 3)))
        case "direction":
            return Direction.along(random(seed, width), site)
        case "subspace":
            return Subspace.spanned_by(random(seed, 2, width), site)
    return Whole(site)


def make(
    verb: str, axis: Axis, width: int, seed: int, *, where: Where, when: Gate, error: str = "keep"
) -> Intervention:
    """Amounts are a number or one number per coordinate, by chance of the seed."""
    size = width if axis.n_coords is None else axis.n_coords
    amount = 4 * random(seed, size) if seed % 2 or axis.replaces else 3.0
    rest = {"where": where, "when": when, "error": error if isinstance(axis, Features) else "keep"}
    match verb:
        case "ablate":
            return ablate(axis, **rest)
        case "ablate_to":
            return ablate(axis, value=amount, **rest)
        case "clamp" if not axis.replaces:
            return clamp(axis, amount, **rest)
        case "scale" if not axis.replaces:
            return scale(axis, -1.5, **rest)
        case "patch":
            shape = [(width,), (POSITIONS, width), (ROWS, POSITIONS, width)][seed % 3]
            return patch(axis, 2 * random(seed, *shape), **rest)
    return steer(axis, amount, **rest)


MASKS = st.recursive(
    st.sampled_from(
        [
            everywhere(),
            prompt(),
            prompt(1),
            prompt(start=-1),
            prompt(stop=-1),
            generated(),
            generated(1, 4),
            tokens("w1", "w2", "."),
            inside("<think>", "</think>"),
            sentence_starts(),
            at(0),
        ]
    ),
    lambda inner: (
        st.tuples(inner, inner).map(lambda p: p[0] & p[1])
        | st.tuples(inner, inner).map(lambda p: p[0] | p[1])
        | inner.map(lambda m: ~m)
    ),
    max_leaves=3,
)


@st.composite
def sites(draw: st.DrawFn, name: str) -> Site:
    host = host_of(name)
    kind, layer = draw(st.sampled_from(host.kinds)), draw(st.integers(0, host.n_layers - 1))
    head = draw(st.none() | st.integers(0, 3)) if kind == "z" else None
    return Site(kind, layer, head)


@st.composite
def gates(draw: st.DrawFn, name: str, site: Site) -> Gate:
    """Open always, or read at an earlier site or the same one."""
    kind = draw(st.sampled_from(["always", "always", "above", "below", "ramp"]))
    if kind == "always":
        return always()
    reading = draw(sites(name).filter(lambda other: other.depth <= site.depth))
    of = draw(st.sampled_from(AXES[:3])) if reading.head is None else "direction"
    axis = axis_of(name, of, reading, draw(st.integers(0, 99)))
    return {"above": above(axis, 0.2), "below": below(axis, 0.2), "ramp": ramp(axis, -0.5, 1.5)}[kind]


@st.composite
def interventions(draw: st.DrawFn, name: str, site: Site | None = None, gated: bool = True) -> Intervention:
    place, seed = draw(sites(name)) if site is None else site, draw(st.integers(0, 9999))
    kind = draw(st.sampled_from(AXES if place.head is None else AXES[1:]))
    axis = axis_of(name, kind, place, seed)
    return make(
        draw(st.sampled_from(VERBS)),
        axis,
        host_of(name).width(place),
        seed,
        where=draw(MASKS),
        when=draw(gates(name, place)) if gated else always(),
        error=draw(st.sampled_from(["keep", "drop"])),
    )


def plans(name: str) -> st.SearchStrategy[list[Intervention]]:
    return st.lists(interventions(name), min_size=1, max_size=4)


def texts(size: int) -> st.SearchStrategy[list[str]]:
    line = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
    return st.lists(line, min_size=1, max_size=size)
