"""SAELens behind the SparseCoder protocol. The only module that imports sae_lens; its siblings call
`library`."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reasonmech.acting import acting_on
from reasonmech.coders.hookname import site_of_hook
from reasonmech.coders.recipe import RECORD, SINKS
from reasonmech.coders.stream_record import StreamRecord, read_stream_record
from reasonmech.device import device_of
from reasonmech.digest import ModelIdentity
from reasonmech.disk import explain_failed_writes
from reasonmech.door import checked
from reasonmech.errors import (
    ArgumentError,
    MismatchError,
    UnknownNameError,
)
from reasonmech.files import new_directory
from reasonmech.mode import check_precision
from reasonmech.quiet import quiet_import
from reasonmech.site import Site
from reasonmech.state_hash import StateHash

if TYPE_CHECKING:
    from sae_lens import SAE  # noqa: TID251 - this is the adapter

_COLUMNWISE: Final = ("standard", "jumprelu")  # a feature's activation depends on its own column alone
_NOT_AFFINE: Final = ("constant_norm_rescale", "layer_norm")
_NOT_FOLDED: Final = ("expected_average_only_in", "covariance_whitening")


class _Norms(threading.local):
    """Stands for an SAE where SAELens keeps the norm of what was encoded until it is decoded, by thread."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg


@final
class SAELensCoder:
    """A SAELens SAE as a `SparseCoder`.

    Attributes:
        sae: the SAE itself, for everything that SAELens offers.
        stream: what its record says of the activations that it was trained on.
    """

    @checked
    def __init__(self, sae: SAE[Any], *, name: str) -> None:
        """Use `load_coder` or `train_coder`.

        Raises:
            MismatchError: it reads no site of the residual stream, or its activations need a scaling or a
                context that is not in its weights, or come from a model that was changed in a way that can't
                be followed here.
            CorruptFileError: its record is damaged.
        """
        self.sae, self.name = sae.eval().requires_grad_(False), name
        self.site: Site = site_of_hook(sae.cfg.metadata.hook_name, head=sae.cfg.metadata.hook_head_index)
        self.stream: StreamRecord = read_stream_record(sae.cfg.metadata.to_dict(), self.site, name=name)
        if self.record and SINKS not in self.record:  # written before prepend_bos was looked up
            self.stream = self.stream._replace(prepend_bos=None)
        # heads stand side by side here, in a bridge they do not
        self.sae.turn_off_forward_pass_hook_z_reshaping()
        self.d_in, self.d_sae = int(sae.cfg.d_in), int(sae.cfg.d_sae)
        self.architecture: str = sae.cfg.architecture()
        self._state = StateHash(self.sae, self._settings)
        self._index: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}
        check_architecture(self.architecture)
        if sae.cfg.normalize_activations in _NOT_FOLDED:
            raise MismatchError(
                f"{name!r} expects activations scaled by {sae.cfg.normalize_activations}, and the scale is "
                "not in it",
                do="fold the scale into its weights (SAELens' trainer does at the end of fit) and save it "
                "again",
            )
        if sae.cfg.normalize_activations in _NOT_AFFINE:
            norms: Any = _Norms(sae.cfg)
            type(sae)._setup_activation_normalization(norms)
            self.sae.run_time_activation_norm_fn_in = norms.run_time_activation_norm_fn_in
            self.sae.run_time_activation_norm_fn_out = norms.run_time_activation_norm_fn_out

    @property
    def record(self) -> Mapping[str, Any]:
        """What this library wrote into the coder's metadata; empty for a coder made elsewhere."""
        return self.sae.cfg.metadata.to_dict().get(RECORD, {})

    @property
    def model_hash(self) -> str | None:
        return self.record.get("model_hash")

    def model_identity(self) -> ModelIdentity | None:
        """The model it was trained on; weights alone where the record is of a time that kept no more."""
        weights = self.model_hash
        return None if weights is None else ModelIdentity.of(weights, self.record.get("model_identity"))

    @property
    def model_name(self) -> str | None:
        """Name of the model it was trained on, as whoever trained it recorded it."""
        return self.sae.cfg.metadata.model_name

    @property
    def device(self) -> torch.device:
        return self.sae.W_dec.device

    @property
    def dtype(self) -> torch.dtype:
        return self.sae.W_dec.dtype

    @property
    def weight_hash(self) -> str:
        """As weights, settings and hooks stand (`StateHash` says which edits in place are noticed)."""
        return self._state.value()

    def _settings(self) -> str:
        """What decides activations beside the weights; what was done to the SAE in hand, too."""
        config = self.sae.cfg.to_dict()
        settings = {key: config[key] for key in sorted(config) if key not in ("metadata", "device", "dtype")}
        done = [line for name, part in self.sae.named_modules() for line in acting_on(name or "sae", part)]
        now, made = (_described(f) for f in (self.sae.activation_fn, self.sae.get_activation_fn()))
        if now != made:
            done.append(f"activation {now}, its settings make {made}")
        return repr(settings) + (" centred" if self.stream.centred else "") + "".join(done)

    def encode(self, x: Float[Tensor, "*axes d_in"]) -> Float[Tensor, "*axes d_sae"]:
        check_precision(self.name)
        return self.sae.encode(self.seen(x))

    def seen(self, x: Float[Tensor, "*axes d_in"]) -> Float[Tensor, "*axes d_in"]:
        """The stream as it was in training: less its own mean over the dimensions, token by token, where the
        model's writing weights had been centred; elsewhere as it is.

        Exact in a model all of whose norms subtract that mean (LayerNorm): centring every matrix and bias
        that writes then takes the mean out of the stream, and changes nothing else.
        """
        return x - x.mean(-1, keepdim=True) if self.stream.centred else x

    def decode(self, features: Float[Tensor, "*axes d_sae"]) -> Float[Tensor, "*axes d_in"]:
        check_precision(self.name)
        return self.sae.decode(features)

    def read(self, x: Float[Tensor, "*axes d_in"], indices: Sequence[int]) -> Float[Tensor, "*axes k"]:
        """Activations of k features, equal to encode(x)[..., indices].

        Bit-equal where every pre-activation is computed anyway (topk and others). Where a feature needs only
        its own encoder column (standard, jumprelu) only those columns are multiplied, which may round the
        last bit another way.

        Raises:
            UnknownNameError: an index is not a feature.
        """
        features = self._check(indices)
        if self._is_hooked:
            return self.encode(x)[..., list(features)]
        if self.architecture in _COLUMNWISE and self.sae.cfg.normalize_activations == "none":
            check_precision(self.name)
            index = self._index_of(features)
            weight, bias = self.sae.W_enc[:, index], self.sae.get_parameter("b_enc")[index]
            pre: Tensor = self.sae.process_sae_in(self.seen(x)) @ weight + bias
            if self.architecture != "jumprelu":
                return self.sae.activation_fn(pre)
            return self.sae.activation_fn(pre) * (pre > self.sae.get_parameter("threshold")[index]).to(
                pre.dtype
            )
        if self.architecture == "topk" and len(features) * self._k <= self.d_sae:
            return self._read_topk(x, features)
        return self.encode(x)[..., list(features)]

    def _index_of(self, features: tuple[int, ...]) -> Tensor:
        """Features as an index on the coder's device, copied there once."""
        key = (features, self.device)
        if key not in self._index:
            self._index[key] = torch.tensor(features, dtype=torch.long, device=self.device)
        return self._index[key]

    @property
    def _is_hooked(self) -> bool:
        """Whether somebody's hooks act where activations are made: then all of them are."""
        points = (self.sae.hook_sae_input, self.sae.hook_sae_acts_pre, self.sae.hook_sae_acts_post)
        return any(point._forward_hooks or point._forward_pre_hooks for point in points)

    @property
    def _k(self) -> int:
        activation: Any = self.sae.activation_fn  # what `encode` applies, whatever the settings say
        return int(activation.k)

    def _read_topk(self, x: Tensor, features: tuple[int, ...]) -> Tensor:
        """As SAELens' TopK, without scattering d_sae zeros per token."""
        check_precision(self.name)
        pre: Tensor = self.sae.process_sae_in(self.seen(x)) @ self.sae.W_enc + self.sae.get_parameter("b_enc")
        if self.sae.cfg.rescale_acts_by_decoder_norm:
            pre = pre * self.sae.W_dec.norm(dim=-1)
        index = self._index_of(features)
        top = pre.topk(self._k, dim=-1, sorted=False).indices
        selected = (top.unsqueeze(-2) == index.unsqueeze(-1)).any(-1)
        values = pre[..., index].relu()
        return torch.where(selected, values, torch.zeros_like(values))

    def rows(self, indices: Sequence[int]) -> Float[Tensor, "k d_in"]:
        """What one unit of each feature adds to the stream: decode(f) = sum_i f_i rows_i + const.

        Raises:
            MismatchError: the coder rescales each token by its own norm, so no such row exists.
            UnknownNameError: an index is not a feature.
        """
        if self.sae.cfg.normalize_activations in _NOT_AFFINE:
            raise MismatchError(
                f"{self.name!r} normalises every token ({self.sae.cfg.normalize_activations}): what a "
                "feature adds "
                "depends on the token, so it cannot be written as a fixed row",
                allowed="coders with normalize_activations none",
            )
        rows = self.sae.W_dec[list(self._check(indices))]
        if self.sae.cfg.to_dict().get("rescale_acts_by_decoder_norm"):
            rows = rows * (1 / rows.norm(dim=-1, keepdim=True))
        return rows

    def _check(self, indices: Sequence[int]) -> tuple[int, ...]:
        try:
            features = tuple(operator.index(i) for i in indices)
            wrong = len(features) != len(indices) or any(isinstance(i, bool) for i in indices)
        except TypeError:
            features, wrong = (), True
        if wrong:
            raise ArgumentError(
                f"features {indices!r:.80} of {self.name!r}", allowed="whole numbers, in a list"
            )
        for i in features:
            if not 0 <= i < self.d_sae:
                raise UnknownNameError(f"feature of {self.name!r}", str(i), [f"0 .. {self.d_sae - 1}"])
        return features

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        twin, where = copy.deepcopy(self.sae), self.device if device is None else device_of(device)
        return type(self)(twin.to(device=where, dtype=dtype or self.dtype), name=self.name)

    @checked
    def save(self, path: str | Path) -> None:
        """Write a new directory in SAELens' layout; `sae_lens.SAE.load_from_disk` reads it.

        Raises:
            OutputError: it exists, or cannot be written.
        """
        with (
            new_directory(path) as partial,
            explain_failed_writes(Path(path), do="make room, and save it again"),
        ):
            self.sae.save_model(partial)

    def __repr__(self) -> str:
        return f"SAELensCoder({self.name!r}, {self.architecture}, {self.site}, {self.d_sae} x {self.d_in})"


def check_architecture(architecture: str) -> None:
    """Raise MismatchError for a coder that reads another site than it writes, or other positions too."""
    if "transcoder" in architecture or architecture == "temporal":
        raise MismatchError(
            f"a {architecture} does not reconstruct the site it reads from that position alone",
            allowed="autoencoders of one position: topk, jumprelu, standard, gated, ...",
            do="use such a coder of the same site",
        )


def _described(activation: Callable[[Tensor], Tensor]) -> str:
    """A function of activations by its class and settings."""
    if not isinstance(activation, nn.Module):
        return getattr(activation, "__qualname__", type(activation).__qualname__)
    settings = {name: value for name, value in vars(activation).items() if isinstance(value, int | float)}
    return f"{type(activation).__qualname__} {sorted(settings.items())}"


def library() -> Any:
    """sae_lens, imported when first needed: it takes seconds and touches logging."""
    with quiet_import():
        import sae_lens  # noqa: TID251 - this is the adapter
    return sae_lens
