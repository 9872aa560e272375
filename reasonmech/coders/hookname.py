"""Names of sites in TransformerLens and Hugging Face, as SAE files record them."""

from __future__ import annotations

import re
from typing import Final

from reasonmech.door import checked
from reasonmech.errors import MismatchError
from reasonmech.site import HEADED, Site

# The bridge's own names come first: an alias such as hook_resid_post is unknown to a bridge that carries
# SAEs.
_NAMES: Final = {
    "resid_pre": ("hook_in", "hook_resid_pre"),
    "z": ("attn.hook_z", "attn.o.hook_in"),  # SAELens tells what it must flatten by the ending _z
    "resid_mid": ("ln2.hook_in", "hook_resid_mid"),
    "attn_out": ("attn.hook_out", "hook_attn_out", "ln1_post.hook_out"),
    "mlp_out": ("mlp.hook_out", "hook_mlp_out", "ln2_post.hook_out"),
    "resid_post": ("hook_out", "hook_resid_post"),
}
_KIND: Final = {name: kind for kind, names in _NAMES.items() for name in names}
_LENS: Final = re.compile(r"blocks\.(\d+)\.(.+)")
_HUGGING_FACE: Final = re.compile(r"(?:model|transformer|gpt_neox)\.(?:layers|h)\.(\d+)")


def hook_of_site(site: Site) -> str:
    """TransformerLens name of a site: "resid_post.2" is "blocks.2.hook_out".

    Of a model with a norm after each half of a block, `attn_out` and `mlp_out` are after that norm: its own
    name is found by `Host.lens_hook`.

    Raises:
        MismatchError: the site is one head: no hook is.
    """
    if site.head is not None:
        raise MismatchError(
            f"{site} is part of a hook", allowed=str(site.whole), do="use the site of all heads"
        )
    return f"blocks.{site.layer}.{_NAMES[site.kind][0]}"


@checked
def site_of_hook(hook: str | None, *, head: int | None = None) -> Site:
    """Site of a TransformerLens hook, or of a Hugging Face block (whose output is `resid_post`).

    Args:
        head: which head of `z`; None for all of them, and at every other hook.

    Raises:
        MismatchError: the hook is no site.
    """
    lens, block = _LENS.fullmatch(hook or ""), _HUGGING_FACE.fullmatch(hook or "")
    if lens and lens[2] in _KIND and (head is None or _KIND[lens[2]] == HEADED):
        return Site(_KIND[lens[2]], int(lens[1]), head)
    if block and head is None:
        return Site("resid_post", int(block[1]))
    names = sorted(f"blocks.LAYER.{name}" for name in _KIND)
    raise MismatchError(
        f"this coder reads {hook!r}{'' if head is None else f', head {head}'}, which is no site of the "
        "residual stream",
        allowed=", ".join([*names, "model.layers.LAYER"]),
        do="use a coder of the residual stream, of heads' values, of an attention output or of an MLP output",
    )
