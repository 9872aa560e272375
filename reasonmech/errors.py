"""One exception per way to be wrong; every message says what happened, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from reasonmech.printable import printable
from reasonmech.suggestions import close_matches


class ReasonmechError(Exception):
    """Base of every error that a caller can cause.

    What in them would act on a terminal is written out (`printable`).

    Args:
        happened: what went wrong, with the offending values.
        allowed: what would have been accepted (empty when nothing helps).
        do: what the caller can do now.
    """

    def __init__(self, happened: str, *, allowed: str = "", do: str = "") -> None:
        self.happened, self.allowed, self.do = map(printable, (happened, allowed, do))
        parts = [self.happened]
        if allowed:
            parts.append(f"Allowed: {self.allowed}")
        if do:
            parts.append(f"Do: {self.do}")
        super().__init__("\n  ".join(parts))


class UnknownNameError(ReasonmechError):
    """A pair, task, site, kind or key that does not exist: the ones that look like it, and all there are."""

    def __init__(self, what: str, name: str, valid: Iterable[str], *, do: str = "") -> None:
        names = list(valid)
        # an entry with a blank is a phrase ("resid_post.0 .. resid_post.3"), which nobody mistypes
        close = close_matches(name, [one for one in names if " " not in one])
        meant = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
        super().__init__(
            f"unknown {what} {name!r}{meant}", allowed=", ".join(names) or "(none registered)", do=do
        )


class ArgumentError(ReasonmechError, TypeError):
    """A value of the wrong type: a tensor where a direction is meant, a function where a metric is."""


class DuplicateNameError(ReasonmechError):
    """A second class registered under a kind that is taken."""


class ConfigError(ReasonmechError):
    """A configuration file that does not validate; the message names the file and the key."""


class MismatchError(ReasonmechError):
    """Two things that must belong together do not: tokenizers, widths, weights and their coder."""


class BindError(ReasonmechError):
    """A plan that cannot run on this host: a gate that reads too late, a direction that is not unit norm."""


class ReentryError(ReasonmechError):
    """A pass of a model that was begun inside another pass of it: an edit that runs its own host."""


class NoChangeError(ReasonmechError):
    """An intervention that changed nothing in the whole run; what was computed is on `.result`."""

    def __init__(self, happened: str, *, allowed: str = "", do: str = "", result: object = None) -> None:
        super().__init__(happened, allowed=allowed, do=do)
        self.result = result


class NonFiniteError(ReasonmechError):
    """NaN or infinite numbers where finite ones are needed; the message says which site and problem."""


class CorruptFileError(ReasonmechError):
    """A truncated or damaged safetensors, parquet, JSON or YAML file."""


class NotBuiltError(ReasonmechError):
    """An organism whose weights are not on this machine; the message says how to build them."""


class PickleRefusedError(ReasonmechError):
    """A pickled checkpoint: loading one executes code, so it is refused."""


class OutputError(ReasonmechError):
    """An output directory that exists already, is partial, or cannot be written."""


class DataError(ReasonmechError):
    """Data that cannot answer the question asked: no positive label, no opportunity, too few problems."""


class MemoryShortError(ReasonmechError, MemoryError):
    """More memory is needed than there is, even for the smallest portion: how much, and how much is there."""


class SkillError(DataError):
    """A pretrained base that lacks a skill, which another initialisation may bring."""
