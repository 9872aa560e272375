"""Metrics by name or from a mapping: what a configuration file says, and what a parameter `metric` takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Final, TypeAlias

from reasonmech.arguments import describe
from reasonmech.errors import ArgumentError, ConfigError
from reasonmech.hosts.host import Host
from reasonmech.metrics.base import RolloutMetric, check_host, metrics
from reasonmech.runtime.readout import Readout

# what a parameter `metric` takes: a metric, or the name of a registered one that needs no settings
TextMetric: TypeAlias = Readout | str

EXAMPLE: Final = "{kind: logit_diff, good: ' yes', bad: ' no'}"
WRITE_ONE: Final = """rm.logit_diff(host, good="a", bad="b"), or a class of your own:
    class Margin:
        name, unit = "margin", "logits"
        def continuations(self, host, n_texts):
            return [()] * n_texts  # token runs whose log-probability it needs; most need none
        def value(self, reading):  # reading.logits: [text, vocab], of the next token
            first, second = reading.logits.topk(2).values.unbind(-1)
            return first - second  # [text]
  and metric=Margin()"""
WRITE_ONE_OF_ROLLOUTS: Final = """rm.metrics.accuracy(), or a class of your own:
    class Length:
        name, unit = "length", "tokens"
        def measure(self, rollouts):
            return np.array([float(len(rollout.ids)) for rollout in rollouts])
  and metric=Length()"""


def metric_from_config(host: Host, config: Mapping[str, object] | str) -> Readout | RolloutMetric:
    """The metric that a mapping describes: `{kind: logit_diff, good: " yes", bad: " no"}`.

    `kind` is a registered name, a plug-in's among them; the other keys are the parameters of what is
    registered there, without `host`. A metric that needs no settings may be given by its name alone.

    Args:
        host: the model whose tokenizer turns words into token ids.

    Raises:
        UnknownNameError: a kind that nobody registered, or a key that this kind does not have.
        ConfigError: no kind, or a setting that the kind cannot do without.
        ArgumentError, DataError: what the metric itself refuses.
    """
    check_host(host, do="metric_from_config(host, {...})")
    kind, settings = metrics.split_config(config, example=EXAMPLE)
    make = metrics.get(kind)
    parameters = inspect.signature(make).parameters
    names = [name for name in parameters if name != "host"]
    metrics.check_settings(kind, settings, names)
    missing = [
        name for name in names if name not in settings and parameters[name].default is inspect.Parameter.empty
    ]
    if missing:
        raise ConfigError(
            f"metric {kind!r} without {', '.join(missing)}",
            allowed=f"settings {', '.join(names)}",
            do=f"write them beside kind, as in {EXAMPLE}",
        )
    return make(host, **settings) if "host" in parameters else make(**settings)


def as_text_metric(host: Host, metric: TextMetric) -> Readout:
    """A metric on what comes next, given as itself or by a registered name that needs no settings.

    Raises:
        ArgumentError: anything else; the message shows how to write a metric.
        UnknownNameError, ConfigError: as in `metric_from_config`.
    """
    value = metric_from_config(host, metric) if isinstance(metric, str) else metric
    # a class has the attributes of its instances, so the protocol alone would let it pass
    if isinstance(value, type) or not isinstance(value, Readout):
        raise ArgumentError(
            f"metric is {_what(value)}",
            allowed="a metric on what a model would say next, with name, unit, continuations and value; or "
            "the name of a registered one that needs no settings",
            do=WRITE_ONE,
        )
    return value


def as_rollout_metric(host: Host, metric: RolloutMetric | str) -> RolloutMetric:
    """The same for a metric on what was written."""
    value = metric_from_config(host, metric) if isinstance(metric, str) else metric
    if isinstance(value, type) or not isinstance(value, RolloutMetric):
        raise ArgumentError(
            f"metric is {_what(value)}",
            allowed="a metric on rollouts, with name, unit and measure; or the name of a registered one that "
            "needs no settings, such as 'accuracy'",
            do=WRITE_ONE_OF_ROLLOUTS,
        )
    return value


def _what(value: object) -> str:
    if isinstance(value, type):
        return f"{describe(value)}, not a value of it"
    if isinstance(value, RolloutMetric):
        return f"{value.name!r}, which reads rollouts"
    if isinstance(value, Readout):
        return f"{value.name!r}, which reads what comes next after a text"
    return describe(value)
