"""Site: a named place of the residual stream, written `kind.layer` ("resid_post.12")."""

from __future__ import annotations

from typing import Final, NamedTuple

from reasonmech.errors import UnknownNameError

KINDS: Final = ("resid_pre", "attn_out", "mlp_out", "resid_post")
_DEPTH: Final = {"resid_pre": 0, "attn_out": 1, "mlp_out": 2, "resid_post": 3}


class Site(NamedTuple):
    """Where activations are read or written.

    `resid_pre.L` enters block L, `attn_out.L` and `mlp_out.L` are what its two halves add,
    `resid_post.L` leaves it (= `resid_pre.L+1`). Width d_model at every kind.
    """

    kind: str
    layer: int

    @classmethod
    def parse(cls, text: Site | str) -> Site:
        """Read "resid_post.12". Raises UnknownNameError, listing the kinds."""
        if isinstance(text, Site):
            return text
        kind, _, layer = text.partition(".")
        if kind not in KINDS or not layer.isdecimal():
            raise UnknownNameError("site", text, [f"{k}.LAYER" for k in KINDS])
        return cls(kind, int(layer))

    @property
    def depth(self) -> tuple[int, int]:
        """Order of execution: `resid_post.L` and `resid_pre.L+1` are the same tensor at the same depth."""
        if self.kind == "resid_pre":
            return (self.layer - 1, _DEPTH["resid_post"])
        return (self.layer, _DEPTH[self.kind])

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"
