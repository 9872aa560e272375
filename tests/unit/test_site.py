"""A site is read from its name, and knows its order of execution."""

from __future__ import annotations

import pytest

from reasonmech.errors import ArgumentError, UnknownNameError
from reasonmech.site import KINDS, Site


def test_a_name_is_read_and_written_back() -> None:
    for name in (*(f"{kind}.12" for kind in KINDS), "z.3.1"):
        assert str(Site.parse(name)) == name
    assert Site.parse(Site("resid_post", 2)) == Site("resid_post", 2)


def test_depth_is_the_order_in_which_a_model_computes() -> None:
    depths = [Site(kind, layer).depth for layer in range(2) for kind in KINDS]
    assert depths == sorted(depths)
    assert Site.parse("resid_post.0").depth == Site.parse("resid_pre.1").depth


@pytest.mark.parametrize("name", ["resid_pst.1", "resid_post", "resid_post.-1", "resid_post.1.2", "z.x", ""])
def test_an_unknown_name_lists_the_kinds(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"resid_post\.LAYER"):
        Site.parse(name)


def test_something_that_is_no_name_is_refused() -> None:
    with pytest.raises(ArgumentError, match="site is the integer 12"):
        Site.parse(12)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resid_post.\u0661", "resid_post.1"),
        ("resid_post.\uff11", "resid_post.1"),
        ("resid_post.01", "resid_post.1"),
        ("resid_post.-0", "resid_post.0"),
        ("resid_post.+1", "resid_post.1"),
        ("resid_post. 1", "resid_post.1"),
        (" resid_post.1", "resid_post.1"),
        ("resid_post.1\n", "resid_post.1"),
        ("Resid_Post.1", "resid_post.1"),
        ("resid_p\u043est.1", "resid_post.1"),
        ("resid_post\uff0e1", "resid_post.1"),
        ("z.1.00", "z.1.0"),
    ],
)
def test_a_second_name_of_a_site_is_refused_with_the_right_one(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        Site.parse(name)
    assert refused.value.do == f"write {meant!r}"


@pytest.mark.parametrize(
    "name", ["resid_post.1_0", "resid_post.\u00b2x", "resid_post.1e3", "a" * 10_000, "z.1." + "9" * 5000]
)
def test_what_is_near_no_site_is_refused_too(name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown site"):
        Site.parse(name)
