"""Site: a named place of the residual stream, written `kind.layer` ("resid_post.12"), or `z.layer.head`."""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

from reasonmech.arguments import check_type
from reasonmech.errors import UnknownNameError
from reasonmech.suggestions import close_matches

KINDS: Final = ("resid_pre", "z", "attn_out", "resid_mid", "mlp_out", "resid_post")
"""In the order in which a block computes them."""

HEADED: Final = "z"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_DEPTH: Final = {kind: order for order, kind in enumerate(KINDS)}


class Site(NamedTuple):
    """Where activations are read or written.

    `resid_pre.L` enters block L; `attn_out.L` and `mlp_out.L` are what its two halves add; `resid_mid.L` is
    the stream between the two; `resid_post.L` leaves the block (= `resid_pre.L+1`). All of these have width
    d_model. `z.L` is what the heads of block L mixed, before the output projection: all heads side by side
    [n_heads * d_head]; `z.L.H` is head H alone [d_head].
    """

    kind: str
    layer: int
    head: int | None = None

    @classmethod
    def parse(cls, text: Site | str) -> Site:
        """Read "resid_post.12" or "z.3.1"; a site is returned as it is.

        Raises:
            ArgumentError: neither a site nor a string.
            UnknownNameError: no such site; the kinds are listed.
        """
        if isinstance(text, Site):
            return text
        check_type(text, str, name="site", allowed='a site such as "resid_post.12" or "z.3.1"')
        kind, *numbers = text.split(".")
        # digits of other scripts, and zeros in front, would be a second name of one site
        if not _is_name(text) or not all(_NUMBER.fullmatch(number) for number in numbers):
            raise UnknownNameError(
                "site",
                text,
                [*(f"{k}.LAYER" for k in KINDS), f"{HEADED}.LAYER.HEAD"],
                do=_meant(text),
            )
        return cls(kind, *map(int, numbers))

    @property
    def depth(self) -> tuple[int, int]:
        """Order of execution: `resid_post.L` and `resid_pre.L+1` are the same tensor at the same depth."""
        if self.kind == "resid_pre":  # of block 0, what the embedding leaves: layer -1
            return (self.layer - 1, _DEPTH["resid_post"])
        return (self.layer, _DEPTH[self.kind])

    @property
    def whole(self) -> Site:
        """The tensor that a head is part of; every other site is its own."""
        return self._replace(head=None)

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


def _meant(text: str) -> str:
    """What to write instead of a name that is none; empty where nothing is near."""
    kind, *numbers = "".join(unicodedata.normalize("NFKC", text).split()).casefold().split(".")
    near = close_matches(kind, list(KINDS))
    if not near or not numbers or not all(number.lstrip("+-").isdecimal() for number in numbers):
        return ""
    site = ".".join([near[0], *(str(abs(int(number[:12]))) for number in numbers)])
    return f"write {site!r}" if _is_name(site) else ""


def _is_name(text: str) -> bool:
    kind, *numbers = text.split(".")
    return kind in KINDS and len(numbers) in ((1, 2) if kind == HEADED else (1,))
