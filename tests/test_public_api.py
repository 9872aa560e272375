"""The public API: every name loads, alone and fast, and nothing hides another."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import reasonmech as rm

NAMES = sorted(rm._HOME)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_loads_and_is_documented(name: str) -> None:
    value = getattr(rm, name)
    assert inspect.getdoc(value), f"{name} has no docstring"
    assert value.__module__.startswith("reasonmech"), value.__module__


def test_people_and_type_checkers_see_the_same_names() -> None:
    source = ast.parse(Path(rm.__file__).read_text())
    block = next(node for node in source.body if isinstance(node, ast.If))
    declared = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == rm._HOME


def test_a_verb_is_not_hidden_by_the_package_of_its_name() -> None:
    script = (
        "import reasonmech.locate.scoring.auroc, reasonmech.report.page, reasonmech as rm; "
        "assert rm.locate.__module__ == 'reasonmech.locate.search', rm.locate; "
        "assert callable(rm.report) and callable(rm.run) and callable(rm.locate); "
        "from reasonmech.locate.scoring import auroc"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="load_pair"):
        rm.load_piar  # noqa: B018


def test_import_and_help_take_under_a_second_and_touch_no_heavy_library() -> None:
    script = (
        "import time; t = time.perf_counter(); import reasonmech; import reasonmech.cli; "
        "import sys; assert not {'torch', 'transformers', 'sae_lens', 'transformer_lens', 'wandb'} & "
        "set(sys.modules); "
        "print(time.perf_counter() - t)"
    )
    seconds = [
        float(
            subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
        )
        for _ in range(3)
    ]
    assert min(seconds) < 1.0


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert rm.__version__ == version("reasonmech")
