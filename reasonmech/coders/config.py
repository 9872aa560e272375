"""CoderConfig: a file of `sae_configs/coders`, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field

from reasonmech.arguments import check_path
from reasonmech.coders.recipe import Recipe
from reasonmech.door import checked
from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.paths import config_dir, read_config
from reasonmech.ranges import Seed
from reasonmech.settings import Settings

NO_OPTIONS: Final = {
    "d_in",
    "d_sae",
    "k",
    "device",
    "metadata",
}  # settings of SAELens that are no options here


class CoderConfig(Settings):
    """A file of `sae_configs/coders`: which SAE, and how it is trained."""

    architecture: str = Field(description="an architecture that SAELens can train: topk, batchtopk, ...")
    d_sae: int = Field(ge=1, description="number of features")
    k: int | None = Field(default=None, ge=1, description="active features per token (batchtopk: on average)")
    steps: int = Field(ge=1, description="training steps")
    batch_size: int = Field(default=1024, ge=2, description="tokens per step")
    lr: float = Field(
        default=1e-3, gt=0, description="learning rate of Adam, for inputs of mean norm sqrt(d_in)"
    )
    decay: float = Field(
        default=0.3, ge=0, le=1, description="last share of the steps, in which lr falls to zero"
    )
    dead_after: int = Field(
        default=200,
        ge=1,
        description="steps without firing after which a feature counts as dead",
    )
    seed: Seed = Field(default=0, description="seed of the initial weights and of the order of tokens")
    buffer: int | None = Field(
        default=None,
        ge=1,
        description="tokens of a store that are held in memory and shuffled at a time; none: drawn from all "
        "of them",
    )
    checkpoint_every: int = Field(
        default=500,
        ge=1,
        description="steps after which a training that writes to a directory can go on after a kill",
    )
    include_sinks: bool = Field(
        default=False,
        description="train on attention sinks, too: tokens, mostly the first, whose stream is many times as "
        "long as others'",
    )
    options: dict[str, int | float | bool | list[int]] = Field(
        default_factory=dict, description="further settings of the architecture, as SAELens names them"
    )

    def recipe(self) -> Recipe:
        """What a `Training` needs to know.

        Raises:
            ConfigError: `options` name what has a key of its own, or what the activations and the device
                decide.
        """
        if taken := sorted(NO_OPTIONS & self.options.keys()):
            raise ConfigError(
                f"options {taken}", allowed="settings beside d_sae and k, which are their own keys"
            )
        return Recipe(
            self.architecture,
            {
                "d_sae": self.d_sae,
                **({} if self.k is None else {"k": self.k}),
                **self.model_copy(deep=True).options,
            },
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            decay_steps=round(self.decay * self.steps),
            dead_after=self.dead_after,
            seed=self.seed,
        )


@checked
def load_coder_config(source: CoderConfig | str | Path) -> CoderConfig:
    """Read a YAML file, or a shipped one by its name ("topk"); a config is returned as it is.

    Raises:
        UnknownNameError: no such file; the shipped names are listed. ConfigError: it does not validate.
    """
    if isinstance(source, CoderConfig):
        return source
    check_path(
        source,
        name="config",
        allowed="a CoderConfig, a YAML file, or a shipped name such as 'topk'",
    )
    shipped = config_dir() / "coders"
    for path in (Path(source).expanduser(), shipped / f"{source}.yaml"):
        if path.is_file():
            return read_config(path, CoderConfig)
    raise UnknownNameError("coder config", str(source), sorted(p.stem for p in shipped.glob("*.yaml")))
