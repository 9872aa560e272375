"""x <- x + g * W(edit(R(x)) - R(x)): every verb on every axis against a literal, token-by-token reference."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.errors import ArgumentError, BindError, DataError, MismatchError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions import (
    Direction,
    Features,
    Hooks,
    Intervention,
    Subspace,
    Whole,
    ablate,
    above,
    always,
    below,
    bind,
    clamp,
    labelled,
    patch,
    ramp,
    scale,
    steer,
)
from reasonmech.interventions.axes import Axis
from reasonmech.step import Step
from reasonmech.testing import tiny_coder, tiny_host

HOST: Host = tiny_host()
CODER: SparseCoder = tiny_coder(HOST)
SITE = "resid_post.1"
TOLERANCE = {
    "atol": 2e-5,
    "rtol": 1e-5,
}  # float32; the library multiplies all tokens at once, the reference one


def random_direction(seed: int) -> Direction:
    return Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(seed)), SITE)


def run(plan: list[Intervention], x: Tensor, mask: Tensor | None = None) -> Tensor:
    """What the hook at the site makes of a stream."""
    step = Step.of(torch.ones(x.shape[:2], dtype=torch.long), labels={} if mask is None else {"here": mask})
    hooks = Hooks(bind(plan, HOST))
    hooks.begin(step)
    [stop] = hooks.bound.stops
    out = hooks.apply(stop, x)
    return x if out is None else out


def gate_value(kind: str, axis: Axis, x: Tensor) -> float:
    c = max(axis.read(x[None])[0].tolist())
    return {
        "always": 1.0,
        "above": float(c > 0.1),
        "below": float(c < 0.1),
        "ramp": min(max((c + 0.5) / 2.0, 0.0), 1.0),
    }[kind]


def new_coords(verb: str, c: Tensor, source: Tensor) -> Tensor:
    return {
        "ablate": torch.zeros_like(c),
        "ablate_to": torch.full_like(c, 0.7),
        "clamp": torch.full_like(c, 3.0),
        "scale": 2.5 * c,
        "steer": c - 1.5,
        "patch": source,
    }[verb]


def make(verb: str, axis: Axis, source: Tensor, **kwargs: object) -> Intervention:
    match verb:
        case "ablate":
            return ablate(axis, **kwargs)
        case "ablate_to":
            return ablate(axis, value=0.7, **kwargs)
        case "clamp":
            return clamp(axis, 3.0, **kwargs)
        case "scale":
            return scale(axis, 2.5, **kwargs)
        case "steer":
            amount = torch.full((32,), -1.5) if isinstance(axis, Whole) else -1.5
            return steer(axis, amount, **kwargs)
    return patch(axis, source, **kwargs)


VERBS = ("ablate", "ablate_to", "clamp", "scale", "steer", "patch")
PAIRS = [(verb, axis) for verb in VERBS for axis in ("features", "direction", "subspace")]
PAIRS += [(v, "whole") for v in ("ablate", "ablate_to", "steer", "patch")]


@pytest.mark.parametrize(("verb", "kind"), PAIRS)
@given(
    seed=st.integers(0, 10_000),
    gate=st.sampled_from(["always", "above", "below", "ramp"]),
    drop=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_every_verb_on_every_axis_is_the_formula(
    verb: str, kind: str, seed: int, gate: str, drop: bool
) -> None:
    random = torch.Generator().manual_seed(seed)
    x, source = (2 * torch.randn(2, 5, 32, generator=random) for _ in range(2))
    mask = torch.rand(2, 5, generator=random) < 0.6
    axes = {
        "features": Features(CODER, (3, 5, 40)),
        "direction": random_direction(seed),
        "whole": Whole(SITE),
    }
    axes["subspace"] = Subspace.spanned_by(torch.randn(5, 32, generator=random), SITE)
    axis, gating = axes[kind], random_direction(seed + 1)
    when = {
        "always": always(),
        "above": above(gating, 0.1),
        "below": below(gating, 0.1),
        "ramp": ramp(gating, -0.5, 1.5),
    }
    error = "drop" if drop and kind == "features" else "keep"
    expected = x.clone()
    for row, position in mask.nonzero().tolist():
        stream = x[row, position]
        c, from_source = axis.read(stream[None])[0], axis.read(source[row, position][None])[0]
        delta = axis.write((new_coords(verb, c, from_source) - c)[None])[0]
        if error == "drop":
            delta = delta + CODER.decode(CODER.encode(stream)) - stream
        expected[row, position] = stream + gate_value(gate, gating, stream) * delta
    edited = run([make(verb, axis, source, where=labelled("here"), when=when[gate], error=error)], x, mask)
    assert torch.allclose(edited, expected, **TOLERANCE)
    assert torch.equal(edited[~mask], x[~mask])
    if gate == "always" and mask.any() and verb not in ("ablate", "scale"):
        assume(not torch.allclose(expected, x))  # a patch may draw what stands there already
        assert not torch.allclose(edited, x)


def test_features_are_read_together_and_written_jointly() -> None:
    x = 2 * torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))
    f = CODER.encode(x)
    f[..., [3, 5]] = 4.0
    expected = CODER.decode(f) + (x - CODER.decode(CODER.encode(x)))
    assert torch.allclose(run([clamp(Features(CODER, (3, 5)), 4.0)], x), expected, **TOLERANCE)
    dropped = run([clamp(Features(CODER, (3, 5)), 4.0, error="drop")], x)
    assert torch.allclose(dropped, CODER.decode(f), **TOLERANCE)
    assert not torch.allclose(dropped, expected)


def test_a_value_per_coordinate_and_a_mean_vector() -> None:
    x = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(1))
    f = CODER.encode(x)
    f[..., [7, 2]] = torch.tensor([1.0, 6.0])
    expected = CODER.decode(f) + (x - CODER.decode(CODER.encode(x)))
    assert torch.allclose(
        run([clamp(Features(CODER, (7, 2)), torch.tensor([1.0, 6.0]))], x), expected, **TOLERANCE
    )
    mean = torch.randn(32)
    assert torch.equal(run([ablate(Whole(SITE), value=mean)], x), mean.expand_as(x))


def test_amounts_along_a_direction_are_residual_norm_units() -> None:
    x, v = torch.randn(1, 4, 32), random_direction(0)
    moved = run([steer(v, 2.0)], x) - x
    assert torch.allclose(moved.norm(dim=-1), torch.full((1, 4), 2.0), atol=1e-5)
    assert torch.allclose(run([clamp(v, 2.0)], x) @ v.vector, torch.full((1, 4), 2.0), atol=1e-5)
    assert torch.allclose(run([ablate(v)], x) @ v.vector, torch.zeros(1, 4), atol=1e-5)


def test_patches_take_positions_and_rows_of_the_source() -> None:
    x, by_row, by_position, one = (
        torch.randn(2, 5, 32),
        torch.randn(2, 5, 32),
        torch.randn(5, 32),
        torch.randn(32),
    )
    assert torch.equal(run([patch(Whole(SITE), by_row)], x), by_row)
    assert torch.equal(run([patch(Whole(SITE), by_position)], x), by_position.expand(2, 5, 32))
    assert torch.equal(run([patch(Whole(SITE), one)], x), one.expand(2, 5, 32))
    with pytest.raises(DataError, match="position 4 of a source with 3 positions"):
        run([patch(Whole(SITE), by_position[:3])], x)
    with pytest.raises(DataError, match="row 1 from a source with 1 rows"):
        run([patch(Whole(SITE), by_row[:1])], x)


def test_bfloat16_is_edited_without_rounding_in_between() -> None:
    x, v = torch.randn(2, 3, 32).bfloat16(), random_direction(3)
    edited = run([clamp(v, 2.0)], x)
    exact = x.float() + (2.0 - x.float() @ v.vector)[..., None] * v.vector
    assert edited.dtype == torch.bfloat16 and torch.equal(edited, exact.bfloat16())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Direction(2 * random_direction(0).vector, SITE), "norm 2"),
        (lambda: Direction(torch.full((32,), torch.nan), SITE), "not finite"),
        (lambda: clamp(Whole(SITE), 1.0), "clamp has no meaning"),
        (lambda: scale(Whole(SITE), 1.0), "scale has no meaning"),
        (lambda: steer(Whole(SITE), 1.0), r"a vector \[d_model\]"),
        (lambda: steer(random_direction(0), float("inf")), "not finite"),
        (lambda: clamp(Features(CODER, (1, 2)), torch.ones(3)), r"shape \(3,\)"),
        (lambda: ablate(Whole(SITE), error="drop"), "without reconstruction error"),
        (lambda: patch(Whole(SITE), torch.ones(1, 1, 1, 1)), "source of patch has shape"),
        (lambda: above(Whole(SITE), 0.0), "gate on the whole stream"),
        (lambda: ramp(random_direction(0), 1.0, 1.0), "lo < hi"),
        (lambda: Features(CODER, ()), "at least one"),
        (lambda: Features(CODER, (1, 1)), "each once"),
        (lambda: Features(CODER, (64,)), r"no feature 64\n.*0 \.\. 63"),
    ],
)
def test_values_that_mean_nothing_cannot_be_made(build: object, message: str) -> None:
    with pytest.raises(BindError, match=message):
        build()


def test_binding_checks_site_width_coder_and_gate_order() -> None:
    v = random_direction(0)
    with pytest.raises(UnknownNameError, match=r"resid_post\.0 \.\. resid_post\.3"):
        bind([steer(Direction(v.vector, "resid_post.7"), 1.0)], HOST)
    with pytest.raises(MismatchError, match="16 dimensions"):
        bind([steer(Direction.along(torch.ones(16), SITE), 1.0)], HOST)
    with pytest.raises(BindError, match="comes later"):
        bind([steer(v, 1.0, when=above(Direction(v.vector, "resid_pre.3"), 0.0))], HOST)
    with pytest.raises(ArgumentError, match=r"plan\[0\] is the string 'clamp'"):
        bind(["clamp"], HOST)
    other = tiny_host(seed=5)
    with pytest.raises(MismatchError, match="transfer=True"):
        bind([ablate(Features(CODER, (1,)))], other)
    assert bind([ablate(Features(CODER, (1,), transfer=True))], other).stops
