"""Registration: everything that is fixed before a pair is looked at, its hash, and the ledger of looks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, final

from reasonmech.claims.claim import Rule
from reasonmech.claims.judgement import ladder
from reasonmech.claims.measuring.extent import Extent
from reasonmech.claims.provenance import Provenance
from reasonmech.disk import explain_failed_writes
from reasonmech.door import checked
from reasonmech.files import write_text
from reasonmech.hosts import ModelPair
from reasonmech.json_text import read_object
from reasonmech.paths import cache_dir
from reasonmech.ranges import Seed
from reasonmech.tasks import Split
from reasonmech.versions import version_of

MEASURING: Final = 1
"""Version of what is measured and how: raised where the same models would give other numbers."""

_PACKAGES: Final = ("reasonmech", "torch", "transformers", "numpy", "scipy")
_ENTRY: Final = {
    "hash": str, "opened": str, "opened_before": [str], "out": str, "extent": {"n": int}, "seed": int,
    "base": str, "thinking": str, "task": str, "split": str,
}  # fmt: skip


@final
@checked
@dataclass(frozen=True)
class Terms:
    """On which problems, and by which rule, a pair is judged.

    Attributes:
        task: whose problems; None: the pair's own.
        split: which of them. The confirmation split is for the judgement that you print.
        seed: of problems and noise.
        rule: the numbers that verdicts hang on.
    """

    task: str | None = None
    split: Split = "confirmation"
    seed: Seed = 0
    rule: Rule = field(default_factory=Rule)


@final
@checked
@dataclass(frozen=True)
class Registration:
    """What is fixed before anything is seen.

    Attributes:
        pair: its name; no part of the hash.
        base, thinking: fingerprints of the models.
        task, terms, extent: what is measured, on what, how much.
    """

    pair: str
    base: str
    thinking: str
    task: str
    terms: Terms
    extent: Extent

    @classmethod
    @checked
    def of(cls, pair: ModelPair, *, task: str, terms: Terms, extent: Extent) -> Registration:
        """The registration of a pair."""
        return cls(pair.name, pair.base.fingerprint, pair.thinking.fingerprint, task, terms, extent)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the hash of every claim among them."""
        return {
            "measuring": MEASURING,
            "claims": {claim.name: claim.hash for claim in ladder(self.terms.rule, self.terms.split)},
            "rule": asdict(self.terms.rule),
            "base": self.base,
            "thinking": self.thinking,
            "task": self.task,
            "split": self.terms.split,
            "seed": self.terms.seed,
            "extent": asdict(self.extent),
        }

    @checked
    def provenance(self, fitted_on: str, opened_before: tuple[str, ...]) -> Provenance:
        """What is kept with the evidence that was measured under it."""
        return Provenance(
            registration=self.hash,
            task=self.task,
            split=self.terms.split,
            seed=self.terms.seed,
            samples=self.extent.samples,
            max_new_tokens=self.extent.max_new_tokens,
            fitted_on=fitted_on,
            base=self.base,
            thinking=self.thinking,
            opened_before=opened_before,
            versions={package: version_of(package) for package in _PACKAGES},
        )

    @property
    def hash(self) -> str:
        """Identity of all of it but the pair's name."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


@final
@dataclass(frozen=True)
class Looks:
    """Which splits were opened, for which pairs, under which registration: one file per registration.

    Attributes:
        directory: where it is; the user's cache, so that it knows of every output directory.
    """

    directory: Path

    @classmethod
    def of_user(cls) -> Looks:
        """The ledger of this user, on this machine."""
        return cls(cache_dir() / "judgements" / "ledger")

    def open(self, registration: Registration, out: Path) -> tuple[str, ...]:
        """Enter a registration, if it is not there, before anything is run; and say who looked earlier.

        Returns:
            Earlier looks at this split of this pair under other registrations, in words. What they were is
            fixed when a registration is first entered.

        Raises:
            OutputError: the ledger cannot be written. CorruptFileError: an entry is damaged.
        """
        entry = self._read(self._file(registration.hash))
        if entry is None:
            earlier = [_look(other) for other in self._of_same_split(registration)]
            entry = registration.to_json() | {
                "pair": registration.pair,
                "hash": registration.hash,
                "opened": datetime.now(UTC).isoformat(timespec="seconds"),
                "opened_before": earlier,
            }
        self._write(registration, entry | {"out": str(out.resolve())})
        return tuple(entry["opened_before"])

    def place(self, registration: Registration) -> Path | None:
        """Where the judgement of a registration was written; None where it was never entered."""
        entry = self._read(self._file(registration.hash))
        return None if entry is None else Path(entry["out"])

    def _write(self, registration: Registration, entry: Mapping[str, Any]) -> None:
        with explain_failed_writes(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            write_text(self._file(registration.hash), json.dumps(entry, indent=1) + "\n")

    def _file(self, digest: str) -> Path:
        return self.directory / f"{digest}.json"

    def _of_same_split(self, registration: Registration) -> Iterator[Mapping[str, Any]]:
        here = registration.to_json()
        entries = [self._read(file) for file in sorted(self.directory.glob("*.json"))]
        looks = [entry for entry in entries if entry is not None]
        for entry in sorted(looks, key=lambda entry: entry["opened"]):
            if all(entry[key] == here[key] for key in ("base", "thinking", "task", "split")):
                yield entry

    @staticmethod
    def _read(file: Path) -> dict[str, Any] | None:
        if not file.is_file():
            return None
        return read_object(file, _ENTRY, do="delete it; what it told of an earlier look is then lost")


def _look(entry: Mapping[str, Any]) -> str:
    return (
        f"{entry['hash'][:12]} on {entry['opened'][:10]} (n = {entry['extent']['n']}, seed {entry['seed']})"
    )
