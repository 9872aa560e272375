"""Hook names of SAE files are sites, or are refused."""

from __future__ import annotations

import pytest

from reasonmech.coders import hook_of_site, site_of_hook
from reasonmech.errors import MismatchError
from reasonmech.site import KINDS, Site


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_sites_translate_both_ways(kind: str) -> None:
    assert site_of_hook(hook_of_site(Site(kind, 7))) == Site(kind, 7)


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("blocks.3.hook_resid_pre", Site("resid_pre", 3)),
        ("blocks.12.hook_resid_post", Site("resid_post", 12)),
        ("blocks.0.hook_mlp_out", Site("mlp_out", 0)),
        ("blocks.0.hook_attn_out", Site("attn_out", 0)),
        ("blocks.4.ln1_post.hook_out", Site("attn_out", 4)),
        ("blocks.4.ln2_post.hook_out", Site("mlp_out", 4)),
        ("blocks.4.attn.o.hook_in", Site("z", 4)),
        ("blocks.4.hook_resid_mid", Site("resid_mid", 4)),
        ("model.layers.2", Site("resid_post", 2)),
        ("transformer.h.5", Site("resid_post", 5)),
    ],
)
def test_other_spellings_are_read(hook: str, site: Site) -> None:
    assert site_of_hook(hook) == site


@pytest.mark.parametrize("hook", ["blocks.3.attn.hook_q", "blocks.3.ln2.hook_normalized", "", None])
def test_what_is_no_site_of_the_stream_is_refused(hook: str | None) -> None:
    with pytest.raises(MismatchError, match="no site of the residual stream"):
        site_of_hook(hook)


def test_a_head_belongs_to_z_alone_and_is_no_hook() -> None:
    assert site_of_hook("blocks.3.attn.hook_z", head=2) == Site("z", 3, 2)
    for hook in ("blocks.3.hook_resid_post", "model.layers.3"):
        with pytest.raises(MismatchError, match="head 2"):
            site_of_hook(hook, head=2)
    with pytest.raises(MismatchError, match=r"Allowed: z\.3"):
        hook_of_site(Site("z", 3, 2))
