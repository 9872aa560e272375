"""SiteMap: which sites a model has, how wide they are, and where each one passes."""

from __future__ import annotations

from typing import Any, final

from torch import nn
from transformers import PreTrainedModel

from reasonmech.errors import UnknownNameError
from reasonmech.hosts.architecture import Architecture, check_paths
from reasonmech.hosts.hookpoint import ALL, HookPoint
from reasonmech.site import HEADED, KINDS, Site


@final
class SiteMap:
    """The sites of one model.

    Attributes:
        d_model: width of the residual stream.
        n_heads, d_head: heads of a block, and width of each; None where the architecture names no projection.
        absent: kinds of site that this model has not, and why.
    """

    def __init__(
        self, model: PreTrainedModel, architecture: Architecture, *, d_model: int, name: str
    ) -> None:
        check_paths(model, architecture, model.config.model_type)
        self._model, self._architecture, self._name = model, architecture, name
        self.d_model = d_model
        self.absent = dict[str, str]()
        settings: Any = model.config.get_text_config()  # of a model that sees images, too
        self.n_heads = self.d_head = None
        if architecture.projection is None:
            self.absent["z"] = "its architecture names no output projection"
        else:
            self.n_heads = int(settings.num_attention_heads)
            self.d_head = _fan_in(self.layers[0].get_submodule(architecture.projection)) // self.n_heads
        if architecture.entry is None:
            self.absent["resid_mid"] = "its architecture names no module that the block's input enters"
        elif settings.to_dict().get("use_parallel_residual"):
            self.absent["resid_mid"] = "its attention and MLP read the same stream and are added together"

    @property
    def layers(self) -> list[nn.Module]:
        """The model's blocks, in order, as they stand now."""
        return list(self._model.get_submodule(self._architecture.layers).children())

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of site that the model has, in the order in which a block computes them."""
        return tuple(kind for kind in KINDS if kind not in self.absent)

    def check(self, site: Site | str) -> Site:
        """Parse a site and check that the model has it. Raises UnknownNameError, listing the valid range."""
        last = len(self.layers) - 1
        valid = [f"{kind}.0 .. {kind}.{last}" for kind in self.kinds]
        if self.n_heads is not None:
            valid.append(f"{HEADED}.LAYER.0 .. {HEADED}.LAYER.{self.n_heads - 1}")
        try:
            parsed = Site.parse(site)
        except UnknownNameError as error:
            raise UnknownNameError("site", str(site), valid) from error
        kind, layer, head = parsed
        if kind in self.absent:
            raise UnknownNameError(
                "site",
                str(site),
                valid,
                do=f"choose another kind: {self._name!r} has no {kind}: {self.absent[kind]}",
            )
        if kind not in KINDS or not 0 <= layer <= last:
            raise UnknownNameError(
                "site", str(site), valid, do=f"choose a layer below {last + 1}: {self._name!r} has no more"
            )
        if head is not None and (kind != HEADED or self.n_heads is None or not 0 <= head < self.n_heads):
            raise UnknownNameError("site", str(site), valid, do="name a head that a block has, of z alone")
        return parsed

    def width(self, site: Site) -> int:
        """Numbers per token."""
        if site.kind != HEADED:
            return self.d_model
        assert self.n_heads is not None and self.d_head is not None, "a checked site"
        return self.d_head * (self.n_heads if site.head is None else 1)

    def columns(self, site: Site) -> slice:
        """Part of the tensor of `site.whole` that is the site."""
        if site.head is None:
            return ALL
        assert self.d_head is not None, "a checked site"
        return slice(site.head * self.d_head, (site.head + 1) * self.d_head)

    def point(self, site: Site) -> HookPoint:
        """Where the site's tensor passes."""
        block, paths = self.layers[site.layer], self._architecture
        match site.kind:
            case "resid_pre":
                return HookPoint(block, "input")
            case "resid_post":
                return HookPoint(block, "output")
            case "z":
                assert paths.projection is not None, "a checked site"
                return HookPoint(block.get_submodule(paths.projection), "input", self.columns(site))
            case "resid_mid":
                assert paths.entry is not None, "a checked site"
                entry = block.get_submodule(paths.entry)
                return HookPoint(block.get_submodule(paths.attention), "output", entry=entry)
            case "attn_out":
                return HookPoint(block.get_submodule(paths.attention), "output")
        return HookPoint(block.get_submodule(paths.mlp), "output")


def _fan_in(projection: nn.Module) -> int:
    """Width of what a linear map reads; GPT-2 keeps its matrices transposed."""
    if isinstance(projection, nn.Linear):
        return projection.in_features
    return len(projection.get_parameter("weight"))
