"""Training: one SAE in SAELens' own trainer, with a curve, and a state that a checkpoint stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from reasonmech.coders.recipe import CURVE, RECORD, Recipe
from reasonmech.coders.saelens import SAELensCoder, library
from reasonmech.coders.sinks import Sinks
from reasonmech.errors import BindError, ConfigError, DataError, NonFiniteError, UnknownNameError

POINTS: Final = 100  # of a curve, spread over the steps
_MEASURED: Final = {
    "loss": "losses/overall_loss",
    "mse": "losses/mse_loss",
    "explained_variance": "metrics/explained_variance",
    "l0": "metrics/l0",
    "dead": "sparsity/dead_features",
    "lr": "details/current_learning_rate",
}


class InputMoments(NamedTuple):
    """Mean of some activations [d_in] and their mean norm, sinks left out; and which those are."""

    mean: Float[Tensor, " d_in"]
    norm: float
    sinks: Sinks


class TrainingState(NamedTuple):
    """Everything that the rest of a training depends on: tensors, and values that JSON can hold."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


@final
class Training:
    """An SAE that is being trained by SAELens' SAETrainer, one batch at a time; nothing is logged anywhere.

    Activations are scaled to a mean norm of sqrt(d_in), so that one learning rate suits every model, and the
    decoder bias starts at their mean; the scale is folded into the weights at the end.

    Attributes:
        curve: column -> values at some hundred steps: step, tokens, loss, mse, explained_variance (of the
            batch), l0 (features per token), dead (features), lr.
    """

    def __init__(self, recipe: Recipe, *, moments: InputMoments, metadata: Mapping[str, Any]) -> None:
        """Begin at step 0.

        Raises:
            UnknownNameError: SAELens can't train such an architecture. ConfigError: it has no such setting,
                or needs another k. BindError: torch's default dtype is not float32.
        """
        d_in, device, self._sinks = moments.mean.shape[-1], moments.mean.device, moments.sinks
        self.recipe, self._scale = recipe, d_in**0.5 / moments.norm
        self.curve: dict[str, list[float]] = {name: [] for name in ("step", "tokens", *_MEASURED)}
        if torch.get_default_dtype() != torch.float32:
            raise BindError(
                f"a training under torch.set_default_dtype({torch.get_default_dtype()}), in which SAELens "
                "makes its weights",
                allowed="float32: other weights are drawn in another dtype",
                do="call torch.set_default_dtype(torch.float32) before",
            )
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            sae = _new(recipe, d_in=d_in, device=device, metadata=metadata)
        sae.b_dec.data.copy_(moments.mean * self._scale)
        settings = library().config.SAETrainerConfig(
            total_training_samples=recipe.steps * recipe.batch_size,
            train_batch_size_samples=recipe.batch_size,
            lr=recipe.lr,
            lr_end=recipe.lr / 10,  # SAELens wants one; its constant schedule, which this is, does not use it
            lr_decay_steps=recipe.decay_steps,
            dead_feature_window=recipe.dead_after,
            device=str(device),
        )
        self._trainer = library().SAETrainer(settings, sae, iter(()))

    @property
    def n_steps(self) -> int:
        """Steps that were made."""
        return self._trainer.n_training_steps

    @property
    def finished(self) -> bool:
        return self.n_steps >= self.recipe.steps

    def step(self, batch: Float[Tensor, "batch d_in"]) -> None:
        """Make one step, on the rows of a batch that are no sinks.

        Raises:
            NonFiniteError: the loss became NaN or infinite.
            DataError: the batch holds nothing but sinks.
        """
        step = self.n_steps
        if self._sinks.n_sinks:
            batch = batch[~self._sinks.mask(batch.norm(dim=-1))]
            if not len(batch):
                raise DataError(f"all tokens of batch {step} are attention sinks", do="raise batch_size")
        self._trainer.maybe_reset_sparsity()
        out = self._trainer.step(batch * self._scale)
        self._trainer.n_training_steps += 1
        if step % max(1, self.recipe.steps // POINTS) and step != self.recipe.steps - 1:
            return
        measured = self._trainer.build_train_step_log_dict(out, self._trainer.n_training_samples)
        loss = measured[_MEASURED["loss"]]
        if not torch.isfinite(out.loss):
            raise NonFiniteError(
                f"the loss is {loss} at step {step}", do="lower lr, or look for NaN in the activations"
            )
        self.curve["step"].append(step)
        self.curve["tokens"].append(self._trainer.n_training_samples)
        for name, key in _MEASURED.items():
            self.curve[name].append(float(measured[key]))

    def finish(self, name: str) -> SAELensCoder:
        """The coder: the inference form of the SAE, with its curve in its metadata. The training is over
        then."""
        sae = self._trainer.sae
        sae.fold_activation_norm_scaling_factor(self._scale)
        self._trainer.set_final_sae_metadata()
        record = sae.cfg.metadata.to_dict().get(RECORD, {})
        sae.cfg.metadata[RECORD] = {**record, CURVE: self.curve}
        with TemporaryDirectory() as directory:  # exactly what a saved coder will hold
            sae.save_inference_model(directory)
            return SAELensCoder(library().SAE.load_from_disk(directory, device=str(sae.device)), name=name)

    def state(self) -> TrainingState:
        """Weights, Adam's moments, counters and schedules."""
        trainer = self._trainer
        adam = trainer.optimizer.state_dict()
        tensors = {f"sae.{name}": tensor for name, tensor in trainer.sae.state_dict().items()}
        for number, moments in adam["state"].items():
            tensors |= {f"adam.{number}.{name}": tensor for name, tensor in moments.items()}
        tensors["fired"], tensors["idle"] = trainer.act_freq_scores, trainer.n_forward_passes_since_fired
        values = {
            "steps": trainer.n_training_steps,
            "samples": trainer.n_training_samples,
            "sampled": trainer.n_frac_active_samples,
            "groups": adam["param_groups"],
            "schedule": trainer.lr_scheduler.state_dict(),
            "coefficients": {
                name: each.state_dict() for name, each in trainer.coefficient_schedulers.items()
            },
            "curve": self.curve,
        }
        return TrainingState(
            {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}, values
        )

    def restore(self, state: TrainingState) -> None:
        """Go on from a state of the same recipe, as if nothing had happened."""
        trainer, (tensors, values) = self._trainer, state
        device = trainer.sae.device
        weights = {name: tensors[f"sae.{name}"].to(device) for name in trainer.sae.state_dict()}
        trainer.sae.load_state_dict(weights)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("adam."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        trainer.optimizer.load_state_dict({"state": moments, "param_groups": values["groups"]})
        trainer.lr_scheduler.load_state_dict(values["schedule"])
        for name, each in trainer.coefficient_schedulers.items():
            each.load_state_dict(values["coefficients"][name])
        trainer.act_freq_scores = tensors["fired"].to(device)
        trainer.n_forward_passes_since_fired = tensors["idle"].to(device)
        trainer.n_training_steps, trainer.n_training_samples = values["steps"], values["samples"]
        trainer.n_frac_active_samples = values["sampled"]
        self.curve = {name: list(points) for name, points in values["curve"].items()}


def _new(recipe: Recipe, *, d_in: int, device: torch.device, metadata: Mapping[str, Any]) -> Any:
    """A freshly initialised TrainingSAE of SAELens."""
    trainable = library().registry.SAE_TRAINING_CLASS_REGISTRY
    if recipe.architecture not in trainable:
        raise UnknownNameError("SAE architecture", recipe.architecture, sorted(trainable))
    sae_class, config_class = trainable[recipe.architecture]
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(recipe.settings) - known)
    if unknown:
        raise ConfigError(
            f"a {recipe.architecture} SAE has no setting {unknown}", allowed=", ".join(sorted(known))
        )
    k, d_sae = recipe.settings.get("k"), recipe.settings["d_sae"]
    if "k" in known and (k is None or not 1 <= k <= d_sae):
        raise ConfigError(
            f"a {recipe.architecture} SAE of {d_sae} features with k = {k}", allowed=f"k: 1 .. {d_sae}"
        )
    config = config_class(
        d_in=d_in, device=str(device), metadata=library().saes.sae.SAEMetadata(**metadata), **recipe.settings
    )
    try:
        return sae_class(config)
    except ValueError as error:
        raise ConfigError(
            f"SAELens refuses a {recipe.architecture} SAE: {error}", do="change `options`"
        ) from error
