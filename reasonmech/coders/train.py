"""train_coder: activations and a config in, a sparse coder out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from reasonmech.coders.coder import SparseCoder, Trained
from reasonmech.coders.hookname import hook_of_site
from reasonmech.coders.recipe import RECORD, Recipe
from reasonmech.coders.saelens import SAELensCoder, fit
from reasonmech.errors import DataError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.paths import config_dir, read_config
from reasonmech.site import Site

SAMPLE: Final = 16384  # rows from which mean and norm are estimated


class CoderConfig(BaseModel):
    """A file of `sae_configs/coders`: which SAE, and how it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str = Field(description="an architecture that SAELens can train: topk, batchtopk, ...")
    d_sae: int = Field(ge=1, description="number of features")
    k: int | None = Field(default=None, ge=1, description="active features per token (batchtopk: on average)")
    steps: int = Field(ge=1, description="training steps")
    batch_size: int = Field(default=1024, ge=2, description="tokens per step")
    lr: float = Field(default=1e-3, gt=0, description="learning rate of Adam, for inputs of mean norm sqrt(d_in)")
    decay: float = Field(default=0.3, ge=0, le=1, description="last share of the steps, in which lr falls to a tenth")
    dead_after: int = Field(default=200, ge=1, description="steps without firing after which a feature counts as dead")
    seed: int = Field(default=0, description="seed of the initial weights and of the order of tokens")
    options: dict[str, int | float | bool] = Field(
        default_factory=dict, description="further settings of the architecture, as SAELens names them"
    )


def load_coder_config(source: str | Path) -> CoderConfig:
    """Read a YAML file, or a shipped one by its name ("topk").

    Raises:
        UnknownNameError: no such file; the shipped names are listed. ConfigError: it does not validate.
    """
    shipped = config_dir() / "coders"
    for path in (Path(source).expanduser(), shipped / f"{source}.yaml"):
        if path.is_file():
            return read_config(path, CoderConfig)
    raise UnknownNameError("coder config", str(source), sorted(p.stem for p in shipped.glob("*.yaml")))


class ActivationSource(Protocol):
    """Activations of a host that may be larger than memory (runtime's Activations are one)."""

    @property
    def sites(self) -> Sequence[Site]: ...
    @property
    def host_name(self) -> str: ...
    @property
    def host_hash(self) -> str: ...
    @property
    def n_tokens(self) -> int: ...
    def take(self, site: Site | str, tokens: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]: ...


class _Origin(NamedTuple):
    name: str
    weight_hash: str


def train_coder(
    acts: ActivationSource | Float[Tensor, "token d_model"],
    config: CoderConfig | str | Path,
    *,
    site: Site | str | None = None,
    host: Trained | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> SparseCoder:
    """Train a sparse coder on the activations of one site, with SAELens' trainer.

    The weight hash of the model travels with the coder, so that it is refused on any other one.

    Args:
        acts: captured activations, or a tensor [token, d_model] of them together with `site` and `host`.
        config: settings, a YAML file of them, or the name of a shipped one ("topk", "batchtopk").
        site: which site of `acts`; may be left out where there is only one.
        host: the model that a plain tensor came from.
        device: where to train. None: where the host is, else the CPU.

    Raises:
        DataError: fewer tokens than one batch. NonFiniteError: NaN or infinity in the activations or the loss.
        UnknownNameError: no such config, architecture or site. MismatchError: a tensor without site and host.
    """
    config = config if isinstance(config, CoderConfig) else load_coder_config(config)
    at, origin, source = _source(acts, site=site, host=host)
    if source.n_tokens < config.batch_size:
        raise DataError(
            f"{source.n_tokens} tokens are fewer than one batch of {config.batch_size}",
            do="capture more text, or lower batch_size",
        )
    where = torch.device(device if device is not None else host.device if host is not None else "cpu")
    generator = torch.Generator().manual_seed(config.seed)
    sample = source.take(at, torch.randperm(source.n_tokens, generator=generator)[:SAMPLE]).to(where, torch.float32)
    if not bool(torch.isfinite(sample).all()):
        raise NonFiniteError(f"activations of {at} hold NaN or infinity", do="capture them again in float32")
    record = {"site": str(at), "model_hash": origin.weight_hash, "config": config.model_dump()}
    metadata = {"model_name": origin.name, "hook_name": hook_of_site(at), "prepend_bos": False, RECORD: record}
    settings = {"d_sae": config.d_sae, **({} if config.k is None else {"k": config.k}), **config.options}
    recipe = Recipe(
        config.architecture,
        settings,
        steps=config.steps,
        batch_size=config.batch_size,
        lr=config.lr,
        decay_steps=round(config.decay * config.steps),
        dead_after=config.dead_after,
        seed=config.seed,
    )
    batches = _batches(source, at, config, device=where)
    mean, norm = sample.mean(0), sample.norm(dim=-1).mean().item()
    sae = fit(recipe, batches, mean=mean, norm=norm, metadata=metadata, progress=progress)
    return SAELensCoder(sae, name=f"{config.architecture}@{at}")


class _TensorSource(NamedTuple):
    """One tensor as an ActivationSource."""

    values: Tensor
    sites: tuple[Site, ...]
    host_name: str
    host_hash: str

    @property
    def n_tokens(self) -> int:
        return len(self.values)

    def take(self, site: Site | str, tokens: Tensor) -> Tensor:
        return self.values[tokens]


def _source(
    acts: ActivationSource | Tensor, *, site: Site | str | None, host: Trained | None
) -> tuple[Site, _Origin, ActivationSource]:
    if isinstance(acts, Tensor):
        if site is None or host is None:
            raise MismatchError(
                "a plain tensor does not say which site of which model it holds", do="pass site= and host="
            )
        at = Site.parse(site)
        return at, _Origin(host.name, host.weight_hash), _TensorSource(acts, (at,), host.name, host.weight_hash)
    if site is None and len(acts.sites) != 1:
        raise MismatchError(f"the activations hold {len(acts.sites)} sites", do="say which one: site=")
    at = acts.sites[0] if site is None else Site.parse(site)
    if at not in acts.sites:
        raise UnknownNameError("captured site", str(at), map(str, acts.sites))
    if host is not None and host.weight_hash != acts.host_hash:
        raise MismatchError(f"the activations are those of {acts.host_name!r}, not of {host.name!r}")
    return at, _Origin(acts.host_name, acts.host_hash), acts


def _batches(
    source: ActivationSource, site: Site, config: CoderConfig, *, device: torch.device
) -> Iterator[Float[Tensor, "batch d_model"]]:
    """Endless batches; every token once before any comes again."""
    generator = torch.Generator().manual_seed(config.seed)
    while True:
        order = torch.randperm(source.n_tokens, generator=generator)
        for start in range(0, source.n_tokens - config.batch_size + 1, config.batch_size):
            rows = order[start : start + config.batch_size]
            yield source.take(site, rows).to(device, torch.float32)
