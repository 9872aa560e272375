"""What this environment holds, and combinations of packages that are known to break."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, NamedTuple

from packaging.version import InvalidVersion, Version
from rich.table import Table
from rich.text import Text

from reasonmech.experiments.record import package_versions
from reasonmech.registry import failed_plugins
from reasonmech.versions import ABSENT


class Trap(NamedTuple):
    """A combination of packages that is known to break.

    Attributes:
        applies: whether these versions are such a combination.
        problem: what breaks.
        do: what to install instead.
    """

    applies: Callable[[Mapping[str, Version]], bool]
    problem: str
    do: str


TRAPS: Final = (
    Trap(
        lambda v: "transformer-lens" in v and v["transformer-lens"] >= Version("4"),
        "TransformerLens 4 removed HookedTransformer; every SAELens that works needs TransformerLens 3.9",
        "pip install 'transformer-lens>=3.9,<4' 'sae-lens>=6.54.12'",
    ),
    Trap(
        lambda v: "sae-lens" in v and v["sae-lens"] < Version("6.54.12"),
        "an old SAELens, as pip picks it when TransformerLens 4 is asked for; it fails on import",
        "pip install 'transformer-lens>=3.9,<4' 'sae-lens>=6.54.12'",
    ),
    Trap(
        lambda v: "torch" in v and v["torch"] < Version("2.6"),
        "torch before 2.6",
        "pip install 'torch>=2.6'",
    ),
    Trap(
        lambda v: "transformers" in v and v["transformers"] < Version("5"),
        "transformers before 5 has another cache interface",
        "pip install 'transformers>=5,<6'",
    ),
)


@dataclass(frozen=True)
class Diagnosis:
    """Installed versions, absent packages, and the traps that this environment is in."""

    versions: Mapping[str, str]
    absent: tuple[str, ...]
    traps: tuple[Trap, ...]

    @property
    def healthy(self) -> bool:
        """Whether everything is installed, every plug-in can be imported, and nothing is known to break."""
        return not self.absent and not self.traps and not failed_plugins()

    def table(self) -> Table:
        """One row per package, then one per trap and per plug-in that cannot be imported, then CUDA."""
        table = Table("package", "version", "state", header_style="bold")
        for name, version in self.versions.items():
            table.add_row(
                name, version, "missing: pip install -c constraints.txt -e ." if name in self.absent else "ok"
            )
        for trap in self.traps:
            table.add_row("", "", Text.assemble((trap.problem, "red"), "\n", trap.do))
        for name, problem in failed_plugins().items():
            table.add_row(Text(f"plug-in {name}"), "", Text(problem, style="red"))
        table.add_row("CUDA", *_cuda())
        return table


def diagnose() -> Diagnosis:
    """Look at what is installed; nothing heavy is imported but torch."""
    versions = package_versions()
    absent = tuple(name for name, version in versions.items() if version == ABSENT)
    parsed: dict[str, Version] = {}
    for name, version in versions.items():
        try:
            parsed[name] = Version(version)
        except InvalidVersion:  # `ABSENT`
            continue
    return Diagnosis(versions, absent, tuple(trap for trap in TRAPS if trap.applies(parsed)))


def _cuda() -> tuple[str, str]:
    if find_spec("torch") is None:
        return ("-", "torch is missing")
    import torch

    return (str(torch.version.cuda or "-"), "ok" if torch.cuda.is_available() else "none: runs on the CPU")
