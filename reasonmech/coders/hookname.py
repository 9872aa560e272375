"""Names of sites in TransformerLens and Hugging Face, as SAE files record them."""

from __future__ import annotations

import re
from typing import Final

from reasonmech.errors import MismatchError
from reasonmech.site import Site

# The bridge's own names come first: an alias such as hook_resid_post is unknown to a bridge that carries SAEs.
_NAMES: Final = {
    "resid_pre": ("hook_in", "hook_resid_pre"),
    "attn_out": ("attn.hook_out", "hook_attn_out", "ln1_post.hook_out"),
    "mlp_out": ("mlp.hook_out", "hook_mlp_out", "ln2_post.hook_out"),
    "resid_post": ("hook_out", "hook_resid_post"),
}
_KIND: Final = {name: kind for kind, names in _NAMES.items() for name in names}
_LENS: Final = re.compile(r"blocks\.(\d+)\.(.+)")
_HUGGING_FACE: Final = re.compile(r"(?:model|transformer|gpt_neox)\.(?:layers|h)\.(\d+)")


def hook_of_site(site: Site) -> str:
    """TransformerLens name of a site: "resid_post.2" is "blocks.2.hook_out".

    Of a model with a norm after each half of a block, `attn_out` and `mlp_out` are after that norm: its own name is
    found by `Host.lens_hook`.
    """
    return f"blocks.{site.layer}.{_NAMES[site.kind][0]}"


def site_of_hook(hook: str | None) -> Site:
    """Site of a TransformerLens hook, or of a Hugging Face block (whose output is `resid_post`).

    Raises:
        MismatchError: the hook is no place of width d_model in the residual stream.
    """
    lens, block = _LENS.fullmatch(hook or ""), _HUGGING_FACE.fullmatch(hook or "")
    if lens and lens[2] in _KIND:
        return Site(_KIND[lens[2]], int(lens[1]))
    if block:
        return Site("resid_post", int(block[1]))
    names = sorted(f"blocks.LAYER.{name}" for name in _KIND)
    raise MismatchError(
        f"this coder reads {hook!r}, which is no site of the residual stream",
        allowed=", ".join([*names, "model.layers.LAYER"]),
        do="use a coder of the residual stream, of an attention output or of an MLP output",
    )
