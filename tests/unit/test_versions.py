"""Versions where the package is installed, and where it is run from a source tree."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

import reasonmech as rm
from reasonmech import registry, versions
from reasonmech.claims import Terms
from reasonmech.claims.measuring import Extent
from reasonmech.claims.registration import Registration
from reasonmech.experiments.record import package_versions
from reasonmech.versions import ABSENT, VERSION, version_of


def test_the_code_says_its_version_and_absent_packages_are_named() -> None:
    assert rm.__version__ == VERSION == version_of("reasonmech")
    assert version_of("numpy")[0].isdigit() and version_of("no-such-package") == ABSENT


def test_a_source_tree_that_is_not_installed_says_so_wherever_versions_are_recorded(monkeypatch) -> None:
    def installed(package: str) -> str:
        if package == "reasonmech":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(versions, "version", installed)
    registration = Registration("p", "a", "b", "chain", Terms(), Extent.of(59, full=False))
    recorded = registration.provenance("tuning", ()).versions, package_versions()
    assert [each["reasonmech"] for each in recorded] == [f"{VERSION}+not.installed"] * 2
    assert all(each["torch"] == version("torch") for each in recorded)


def test_a_source_tree_that_is_not_installed_has_its_own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = []
    monkeypatch.setattr(registry, "entry_points", lambda **_: ())
    monkeypatch.setattr(registry, "_scans", {})
    monkeypatch.setattr(registry, "import_module", imported.append)
    monkeypatch.setattr(registry, "_loaded_plugins", set())
    registry.load_plugins()
    assert imported == ["reasonmech.tasks"]
