"""Origin: which model, tokenizer and coder activations come from, and whether a host is that model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from reasonmech.coders.coder import Trained
from reasonmech.digest import ModelIdentity, check_model, identity_of, weights_alone
from reasonmech.door import checked
from reasonmech.errors import MismatchError
from reasonmech.hosts.host import Host
from reasonmech.runtime.activations.keep import TopCodes


class CodesOf(NamedTuple):
    """Whose features are kept: the coder's name, the hash of its weights, its features, how many per
    token."""

    coder: str
    coder_hash: str
    d_sae: int
    k: int

    @classmethod
    def of(cls, codes: TopCodes) -> CodesOf:
        return cls(codes.coder.name, codes.coder.weight_hash, codes.coder.d_sae, codes.k)


@checked
@final
@dataclass(frozen=True)
class Origin:
    """Whose activations these are.

    Attributes:
        host_name, host_hash: the model and its `weight_hash`.
        vocabulary_hash: the host's, of every token and its id.
        codes_of: whose features are kept in place of the stream; None where the stream is.
        bos_id: the tokenizer's BOS; None where it has none, and in stores that were written before it was
            recorded.
        identity: of the model beyond its weights (`ModelIdentity`); None in stores of a time that kept none.
    """

    host_name: str
    host_hash: str
    vocabulary_hash: str
    codes_of: CodesOf | None
    bos_id: int | None = None
    identity: Mapping[str, str] | None = None

    @property
    def model(self) -> ModelIdentity:
        return ModelIdentity.of(self.host_hash, self.identity)

    @classmethod
    def of(cls, host: Host, codes: TopCodes | None) -> Origin:
        of = None if codes is None else CodesOf.of(codes)
        special: Any = host.tokenizer  # transformers types a special token as anything a config may hold
        model, words = host.model_identity(), host.vocabulary_hash
        return cls(host.name, model.weights, words, of, special.bos_token_id, model.beyond_weights())

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"codes_of": None if self.codes_of is None else self.codes_of._asdict()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Origin:
        """Raises KeyError or TypeError where it is none."""
        codes = value["codes_of"]
        of = None if codes is None else CodesOf(**codes)
        hashes = (value["host_name"], value["host_hash"], value["vocabulary_hash"])
        return cls(*hashes, of, value.get("bos_id"), value.get("identity"))  # keys of later stores

    def check(self, host: Host | Trained) -> None:
        """Raise MismatchError where a host is another model, or has another tokenizer now."""
        if isinstance(host, Host) and host.weight_hash == self.host_hash:
            self._check_words(host)
        check_model(
            f"the activations are those of {self.host_name!r}, weights",
            self.model,
            identity_of(host, host.weight_hash),
            model=f"host {host.name!r}",
            do="capture them again from this model, or load the model they come from",
        )

    def _check_words(self, host: Host) -> None:
        if host.vocabulary_hash != self.vocabulary_hash:
            raise MismatchError(
                f"the tokenizer of {host.name!r} has changed since these activations were captured",
                do="load the tokenizer that the texts were encoded with, or capture again",
            )

    @checked
    def warn_if_old(self, path: str | Path) -> None:
        """Say of a store that it records no more of its model than the weights."""
        if self.identity is None:
            warnings.warn(weights_alone(f"the store {path}"), stacklevel=3)
