"""Identity of a sweep: everything that its numbers depend on, and content hashes of its cells."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence, Set
from types import FunctionType
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from reasonmech.causal.sweeps.configurations import Configuration
from reasonmech.errors import DataError
from reasonmech.hosts.host import Host
from reasonmech.hosts.identity import settings_of
from reasonmech.interventions.canonical import Json, fingerprint, tensor_json
from reasonmech.runtime.pass_rows import PassRow
from reasonmech.versions import version_of

Plan: TypeAlias = dict[str, Json]

# "identity" and "model" are held to by the plan as a whole: cells keep the hash that they had before
NOT_MEASURED: Final = (
    "identity",
    "model",
    "configurations",
    "texts",
    "problems",
    "seeds",
    "batch_rows",
    "versions",
)
WORDS: Final = {  # what a part of a plan says where it differs; what of it, `model` says
    "identity.config": "the model is configured or edited otherwise",
    "identity.vocabulary": "the tokenizer is another",
    "identity.ends": "other tokens end a text",
}


@runtime_checkable
class Canonical(Protocol):
    """Something that knows its canonical form: interventions, axes, masks, edits, and metrics that choose
    to."""

    def to_json(self) -> Mapping[str, Json]: ...


def content(value: object) -> Json:
    """Canonical JSON of a value: numbers and words as themselves, tensors by content, objects by class and
    attributes.

    Raises:
        DataError: something that has no content one could compare, such as a lambda.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Tensor():
            return tensor_json(value)
        case np.ndarray() | np.generic():
            return tensor_json(torch.as_tensor(np.asarray(value)))
        case Host():
            return {"host": value.fingerprint}
        case BaseModel():
            return _named(value, value.model_dump(mode="json"))
        case Canonical():
            return _named(value, value.to_json())
        case Mapping():
            return {str(key): content(item) for key, item in value.items()}
        case Set():
            return sorted((content(item) for item in value), key=str)
        case list() | tuple() | range():
            return [content(item) for item in value]
        case type() | FunctionType():
            return _code(value)
    if dataclasses.is_dataclass(value):
        return _named(
            value, {field.name: content(vars(value)[field.name]) for field in dataclasses.fields(value)}
        )
    try:
        return _named(value, {name: content(item) for name, item in vars(value).items()})
    except TypeError as error:
        raise _no_content(value) from error


def _named(value: object, attributes: Mapping[str, Json]) -> Json:
    return {"class": f"{type(value).__module__}.{type(value).__qualname__}"} | dict(attributes)


def _code(value: type | FunctionType) -> str:
    name = f"{value.__module__}.{value.__qualname__}"
    if "<" in name:
        raise _no_content(value)
    return name


def _no_content(value: object) -> DataError:
    return DataError(
        f"nobody can tell whether {value!r} is the same in two runs",
        allowed="numbers, words, tensors, functions and classes with a name, and objects made of these",
        do="make the metric a frozen dataclass, or give it a method to_json",
    )


def text_hash(text: PassRow) -> str:
    """SHA-256 of tokens, length of the prompt and labels: what a plan and a metric can see of a text."""
    labels = {name: sorted(positions) for name, positions in sorted(text.labels.items())}
    return hashlib.sha256(repr((text.ids, text.prompt_length, labels)).encode()).hexdigest()


def cell_hash(measured: str, plan: str, unit: str) -> str:
    """SHA-256 of one cell, whatever stands beside it in the sweep.

    Args:
        measured: fingerprint of host, metric and decoding.
        plan: fingerprint of the configuration's plan.
        unit: what the plan is tried on: number and hash of a text, or a problem, a sample and a seed. The
            number belongs to it, for a metric, a source of `patch` or a mask may be aligned with the texts.
    """
    return hashlib.sha256(f"{measured} {plan} {unit}".encode()).hexdigest()


def plan_of(
    host: Host, metric: object, configurations: Sequence[Configuration], settings: Mapping[str, object]
) -> Plan:
    """Everything that the numbers of a sweep depend on; the order of the configurations is not part of it."""
    identity = host.model_identity()
    return {
        "host": identity.weights,
        "identity": identity.beyond_weights(),
        "model": {
            "tensors": identity.weights,
            "settings": content(json.loads(json.dumps(settings_of(host.model.config), default=str))),
            "ends": list(host.eos_ids),
            "edited": list(identity.deviations),
        },
        "metric": content(metric),
        "configurations": {one.name: one.fingerprint for one in configurations},
        **{name: content(value) for name, value in settings.items()},
        "versions": {name: version_of(name) for name in ("reasonmech", "torch", "transformers")},
    }


def measured(plan: Plan) -> str:
    """Fingerprint of what is measured: host, metric and decoding, not what they are tried on and how it is
    packed."""
    return fingerprint({name: value for name, value in plan.items() if name not in NOT_MEASURED})


def in_order(configurations: Sequence[Configuration]) -> list[Configuration]:
    """By depth of the first edit, then by name: the same order, hence the same batches, however they were
    given."""

    def key(one: Configuration) -> tuple[tuple[int, int], str]:
        return min(intervention.site.depth for intervention in one.plan), one.name

    return sorted(configurations, key=key)
