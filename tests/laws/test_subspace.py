"""A subspace is read and written as one; mean and resample ablation put in what other tokens held."""

import pytest
import torch

from reasonmech.errors import BindError, DataError, MismatchError, UnknownNameError
from reasonmech.interventions import (
    Direction,
    Features,
    Subspace,
    Whole,
    ablate,
    above,
    bind,
    patch,
    prompt,
    steer,
)
from reasonmech.runtime.activations.capture import capture
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from reasonmech.runtime.replacements import mean_of, resampled
from tests.laws.plans import CLOSE, CODER, DECODE, HOST, PROMPTS, direction, ids_of, uncached

SITE = "resid_post.1"
TEXTS = ["w1 w2 . w3", "w5 w6", "w9 w1 . w4 w2 w40 w3", "<think> w7 w7", "w1 . w2 w3 ."]


def subspace(k: int = 3, site: str = SITE) -> Subspace:
    width = HOST.width(site)
    return Subspace.spanned_by(torch.randn(k, width, generator=torch.Generator().manual_seed(k)), site)


def test_spanning_vectors_are_inside_and_what_is_orthogonal_is_left_alone() -> None:
    vectors = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    space = Subspace.spanned_by(vectors, SITE)
    assert torch.allclose(space.write(space.read(vectors)), vectors, atol=1e-5)
    assert torch.allclose(space.basis[0], vectors[0] / vectors[0].norm(), atol=1e-6)
    other = torch.randn(2, 32)
    outside = other - space.write(space.read(other))
    assert torch.allclose(space.read(outside), torch.zeros(2, 4), atol=1e-5)


def test_patching_a_subspace_exchanges_what_is_in_it_and_nothing_else() -> None:
    """Geiger et al. 2023, eq. 3: the component in the subspace is the source's, the one beside it the text's
    own."""
    space, source = subspace(), torch.randn(32, generator=torch.Generator().manual_seed(9))
    texts = [TEXTS[2]]
    clean = capture(HOST, texts, [SITE], progress=False).at(SITE)
    projector = space.basis.T @ space.basis
    expected = clean - clean @ projector + source @ projector
    assert not torch.allclose(expected, clean, atol=0.1)
    [by_hand] = forward(HOST, texts, [patch(Whole(SITE), expected)], receipt="none").logits
    [ours] = forward(HOST, texts, [patch(space, source)], receipt="none").logits
    [plain] = forward(HOST, texts).logits
    assert not torch.allclose(ours, plain, atol=1e-2) and torch.allclose(ours, by_hand, **CLOSE)


def test_one_direction_is_a_subspace_of_one() -> None:
    v = direction(0)
    one = Subspace(v.vector[None], SITE)
    for plan in ([steer(v, 3.0)], [ablate(v)], [steer(direction(1), 2.0, when=above(v, 0.3))]):
        [first] = plan
        same = [steer(one, 3.0), ablate(one), steer(direction(1), 2.0, when=above(one, 0.3))]
        twin = next(i for i in same if (i.verb, type(i.when)) == (first.verb, type(first.when)))
        a, b = (forward(HOST, TEXTS, [p], receipt="none").logits for p in (first, twin))
        assert all(torch.allclose(x, y, **CLOSE) for x, y in zip(a, b, strict=True))
        assert not torch.allclose(a[0], forward(HOST, TEXTS).logits[0], atol=1e-2)


def test_generation_under_subspace_edits_of_every_width_equals_uncached_rows() -> None:
    plan = [steer(subspace(2, "resid_mid.2"), torch.tensor([5.0, -5.0])), ablate(subspace(3, "z.1.1"))]
    batch = generate(HOST, PROMPTS, plan, decode=DECODE, receipt="none")
    assert ids_of(batch) != ids_of(generate(HOST, PROMPTS, decode=DECODE))
    assert ids_of(batch) == [uncached(HOST, HOST.encode(p), plan, 14) for p in PROMPTS]


def test_what_is_no_basis_is_refused() -> None:
    for wrong in (torch.ones(2, 32), torch.ones(32), torch.zeros(0, 32), 2 * torch.eye(32)[:2]):
        with pytest.raises(BindError, match="spanned_by"):
            Subspace(wrong, SITE)
    with pytest.raises(BindError, match="finite"):
        Subspace.spanned_by(torch.full((2, 32), torch.nan), SITE)
    with pytest.raises(BindError, match="k >= 1"):
        Subspace.spanned_by(torch.zeros(0, 32), SITE)
    for wrong in (torch.ones(2, 32), torch.randn(33, 32)):
        with pytest.raises(BindError, match="fewer dimensions"):
            Subspace.spanned_by(wrong, SITE)
    with pytest.raises(BindError, match=r"\[3\]"):
        steer(subspace(3), torch.zeros(2))
    with pytest.raises(MismatchError, match=r"z\.1\.0 .* has 8"):
        bind([ablate(Subspace(torch.eye(32)[:2], "z.1.0"))], HOST)


def test_tensors_of_another_width_are_refused_when_a_plan_is_bound() -> None:
    for wrong in (
        steer(Whole("z.1.0"), torch.ones(32)),
        ablate(Whole("resid_mid.1"), value=torch.ones(8)),
        patch(Whole("z.1.0"), torch.ones(4, 32)),
        patch(direction(0), torch.ones(8)),
    ):
        with pytest.raises(MismatchError, match=r"z\.1\.0|resid_mid\.1|resid_post\.1"):
            bind([wrong], HOST)


@pytest.mark.parametrize("site", [SITE, "resid_mid.1", "z.1.2"])
def test_a_mean_is_the_mean_of_the_coordinates(site: str) -> None:
    acts = capture(HOST, TEXTS, [site], progress=False)
    x = acts.at(site)
    width = x.shape[1]
    v = Direction.along(torch.randn(width, generator=torch.Generator().manual_seed(1)), site)
    assert torch.allclose(mean_of(acts, Whole(site)), x.mean(0), atol=1e-5)
    assert torch.allclose(mean_of(acts, v), (x @ v.vector).mean()[None], atol=1e-5)
    rows = torch.tensor([0, 2, 3])
    assert torch.allclose(mean_of(acts, Whole(site), tokens=rows), x[rows].mean(0), atol=1e-5)
    ablated = forward(
        HOST, TEXTS, [ablate(Whole(site), value=mean_of(acts, Whole(site)))], receipt="none"
    ).logits
    by_hand = forward(HOST, TEXTS, [patch(Whole(site), x.mean(0))], receipt="none").logits
    clean = forward(HOST, TEXTS).logits
    assert not torch.allclose(ablated[0], clean[0], atol=1e-2)
    assert all(torch.allclose(a, b, **CLOSE) for a, b in zip(ablated, by_hand, strict=True))


def test_a_mean_of_features_is_in_activation_units() -> None:
    acts = capture(HOST, TEXTS, [SITE], progress=False)
    features = Features(CODER, (3, 9))
    assert torch.allclose(mean_of(acts, features), CODER.encode(acts.at(SITE))[:, [3, 9]].mean(0), atol=1e-5)
    with pytest.raises(DataError, match="no token"):
        mean_of(acts, features, tokens=torch.tensor([], dtype=torch.long))
    with pytest.raises(UnknownNameError, match="captured site"):
        mean_of(acts, Whole("resid_post.2"))


def test_a_resample_is_another_problems_text_at_the_same_positions() -> None:
    acts = capture(HOST, TEXTS, [SITE], progress=False)
    source = resampled(acts, SITE, seed=0)
    lengths = [len(HOST.encode(text)) for text in TEXTS]
    assert source.shape == (5, sorted(lengths)[-2], 32)
    starts = [sum(lengths[:i]) for i in range(5)]
    x = acts.at(SITE)
    for row in range(5):
        donors = []
        for position in range(source.shape[1]):
            long_enough = [i for i in range(5) if lengths[i] > position]
            equal = [i for i in long_enough if torch.equal(x[starts[i] + position], source[row, position])]
            assert equal and equal != [row]
            donors.append({i for i in equal if i != row})
        shortest = min(lengths[i] for i in donors[-1])
        assert set.intersection(*donors[: min(shortest, 2)]), "one text stands in as far as it goes"
    assert torch.equal(source, resampled(acts, SITE, seed=0)) and not torch.equal(
        source, resampled(acts, SITE, seed=1)
    )
    short = [text for text in TEXTS if len(HOST.encode(text)) <= source.shape[1]]
    acts = capture(HOST, short, [SITE], progress=False)
    plan = [patch(Whole(SITE), resampled(acts, SITE, seed=3, n_positions=3), where=prompt(stop=3))]
    changed = forward(HOST, short, plan, receipt="none").logits
    assert all(
        not torch.allclose(a, b, atol=1e-2) for a, b in zip(changed, forward(HOST, short).logits, strict=True)
    )


def test_a_resample_never_takes_from_the_same_problem() -> None:
    rollouts = generate(
        HOST, PROMPTS[:2], decode=DECODE.model_copy(update={"samples": 3, "temperature": 1.0})
    )
    acts = capture(HOST, list(rollouts), [SITE], progress=False)
    problem_of = {
        int(i): str(name) for i, name in zip(acts.index["rollout"], acts.index["problem"], strict=True)
    }
    x, rollout = acts.at(SITE), torch.as_tensor(acts.index["rollout"].to_numpy(copy=True))
    for row, line in enumerate(resampled(acts, SITE, seed=1, n_positions=4)):
        for vector in line:
            problems = {problem_of[int(rollout[i])] for i in (x == vector).all(-1).nonzero().flatten()}
            assert problems and problems != {problem_of[row]}


def test_a_resample_that_cannot_be_drawn_is_refused() -> None:
    acts = capture(HOST, TEXTS, [SITE], progress=False)
    with pytest.raises(DataError, match=r"1 \.\. 5 positions"):
        resampled(acts, SITE, seed=0, n_positions=6)
    with pytest.raises(DataError, match="two problems"):
        resampled(capture(HOST, TEXTS[:1], [SITE], progress=False), SITE, seed=0)
