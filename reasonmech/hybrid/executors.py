"""Executors: category vectors, clamped features of the base's own coder, and token takeover (the ceiling)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reasonmech.coders import SparseCoder
from reasonmech.digest import ModelIdentity, check_model
from reasonmech.door import checked
from reasonmech.errors import BindError, MismatchError
from reasonmech.hosts import Host
from reasonmech.hybrid.parts import Moment
from reasonmech.hybrid.vector_forms import VectorScale
from reasonmech.interventions import Features
from reasonmech.interventions.hooks import widen
from reasonmech.ranges import Seed
from reasonmech.runtime.rerun import CleanPast, rerun
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


@final
class Vectors:
    """Adds one vector per category to the residual stream of the gated position.

    Attributes:
        table: [category, d_model], residual-norm units.
        trained: categories that have a vector; the others are left alone.
        scale: how much of a vector is added, read off the stream; None: all of it.
        made_for: the model that they were made for; a hybrid with another base is refused.

    Raises:
        BindError: vectors of another shape than the site, not finite, or none.
    """

    def __init__(
        self,
        host: Host,
        site: Site | str,
        *,
        table: Float[Tensor, "category d_model"],
        trained: Bool[Tensor, " category"],
        scale: VectorScale | None = None,
    ) -> None:
        self.host, self.site = host, host.check_site(site)
        check_table(table, trained, host, self.site)
        if not bool(torch.isfinite(table).all()):
            raise BindError(f"category vectors for {self.site} are not finite", do="train them again")
        if not bool(trained.any()):
            raise BindError(
                "no category has a vector: the arm would be the base", do="lower VectorConfig.min_count"
            )
        self.table, self.trained = table.to(host.device, host.dtype), trained
        self.scale = None if scale is None else scale.requires_grad_(False).to(host.device)
        self.made_for = host.model_identity()

    @checked
    def check(self, host: Host, categories: Sequence[str]) -> None:
        check_base("the category vectors", self.made_for, host, (len(self.trained), categories))

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self.trained[category]

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        past = context.select(rows.to(self.host.device), site=self.site)
        return rerun(self.host, past, self.site, lambda x: x + self.added(x, category))

    def added(
        self, x: Float[Tensor, "batch d_model"], category: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch d_model"]:
        """What is added to the stream of each row."""
        added = self.table[category.to(self.table.device)]
        return added if self.scale is None else (self.scale(x, category) * added).to(x)

    def to_bytes(self) -> bytes:
        """Everything that is added, of any two that add the same the same."""
        tensors = [self.table, *([] if self.scale is None else self.scale.state_dict().values())]
        return b"".join(t.detach().float().cpu().contiguous().numpy().tobytes() for t in tensors)

    @checked
    def random(self, seed: Seed) -> Vectors:
        """Norm-matched null: every vector replaced by a random direction of the same length."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.table.shape, generator=generator).to(self.table)
        noise = noise / noise.norm(dim=-1, keepdim=True) * self.table.norm(dim=-1, keepdim=True)
        return Vectors(self.host, self.site, table=noise, trained=self.trained, scale=self.scale)


@final
class ClampFeatures:
    """Clamps features of the base's own sparse coder, per category; the coder's error is kept.

    x <- x + sum_f (v_f - a_f(x)) W_dec[f], over the features f of the row's category. A `Hybrid` lets it
    act where a sentence begins and nowhere else.

    Attributes:
        features: category -> (feature indices, clamped activations in the coder's activation units).

    Raises:
        BindError: nothing to clamp. MismatchError: the coder belongs to another model.
    """

    @checked
    def __init__(
        self,
        host: Host,
        coder: SparseCoder,
        *,
        features: Mapping[int, tuple[tuple[int, ...], tuple[float, ...]]],
        n: int,
    ) -> None:
        self.host, self.coder, self.site = host, coder, host.check_site(coder.site)
        self.indices = tuple(sorted({f for chosen, _ in features.values() for f in chosen}))
        if not self.indices:
            raise BindError(
                "no feature to clamp for any category", do="locate features first, or leave this arm out"
            )
        self._axis = Features(coder, self.indices)
        self._axis.check(host)
        self._made_for = host.model_identity()
        self._value = torch.zeros(n, len(self.indices))
        self._clamped = torch.zeros(n, len(self.indices), dtype=torch.bool)
        for category, (chosen, values) in features.items():
            for feature, value in zip(chosen, values, strict=True):
                column = self.indices.index(feature)
                self._value[category, column], self._clamped[category, column] = value, True

    @checked
    def check(self, host: Host, categories: Sequence[str]) -> None:
        check_base("the clamped features", self._made_for, host, (len(self._clamped), categories))
        self._axis.check(host)

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return self._clamped.any(dim=1)[category]

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        def edit(x: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_model"]:
            wide = widen(x)
            value, clamped = self._value[category].to(wide), self._clamped[category].to(x.device)
            difference = torch.where(clamped, value - self._axis.read(wide), 0.0)
            return (wide + self._axis.write(difference)).to(x.dtype)

        return rerun(self.host, context.select(rows.to(self.host.device), site=self.site), self.site, edit)


@final
class Takeover:
    """No steering: the thinking model's own logits stand in. With an argmax gate this is the thinking model
    itself."""

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.ones_like(category, dtype=torch.bool)

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        return moment.thinking[rows.to(moment.thinking.device)]


@final
class SecondChoice:
    """Null of `Takeover`: the base's own token is barred, and it writes what it likes second best (greedily
    its second choice, else what it would draw without the first)."""

    def covers(self, category: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        return torch.ones_like(category, dtype=torch.bool)

    def execute(
        self, moment: Moment, context: CleanPast, rows: Int[Tensor, " row"], category: Int[Tensor, " row"]
    ) -> NextLogits:
        barred = moment.base_choice[rows].to(moment.base.device)[:, None]
        return moment.base[rows.to(moment.base.device)].scatter(1, barred, -torch.inf)


def check_table(
    table: Float[Tensor, "*draw category d_model"],
    trained: Bool[Tensor, " category"],
    host: Host,
    site: Site,
) -> None:
    """Raise BindError unless each category of a table has a vector of the site's width."""
    shape = (len(trained), host.width(site))
    if table.shape[-2:] != shape:
        raise BindError(
            f"category vectors of shape {tuple(table.shape)} at {site} of {host.name!r}",
            allowed=f"[{shape[0]}, {shape[1]}]: one for each entry of `trained`, as wide as the stream there",
            do="train them on this host",
        )


def check_base(what: str, made_for: ModelIdentity, host: Host, categories: tuple[int, Sequence[str]]) -> None:
    """Raise MismatchError where the base of a hybrid is not what an executor was made for.

    Args:
        categories: how many the executor has, and the names of the hybrid's.
    """
    check_model(
        f"{what} were made for weights",
        made_for,
        host.model_identity(),
        model=f"base {host.name!r}",
        do="make them for this base, or take the pair that they were made for",
    )
    n, names = categories
    if n != len(names):
        raise MismatchError(
            f"{what} are of {n} categories, the hybrid's kinds are {len(names)}",
            allowed=", ".join(names),
            do="make them with these kinds, or give the hybrid the kinds that they were made with",
        )
