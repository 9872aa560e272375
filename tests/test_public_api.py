"""The public API: every name loads, alone and fast, and nothing hides another."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType

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
    declared: dict[str, str] = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            declared |= {
                alias.name: f"reasonmech.{alias.name}" if node.module == "reasonmech" else str(node.module)
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            declared |= {str(alias.asname): alias.name for alias in node.names}
    assert declared.pop("sweeps") == "reasonmech.causal"
    assert declared | {"sweeps": "reasonmech.causal.sweeps"} == rm._HOME | rm._NAMESPACES


def test_a_verb_is_not_hidden_by_the_package_of_its_name() -> None:
    script = (
        "import reasonmech.locate.scoring.auroc, reasonmech.report.page, reasonmech as rm; "
        "assert rm.locate.__module__ == 'reasonmech.locate.search', rm.locate; "
        "assert callable(rm.report) and callable(rm.run) and callable(rm.locate); "
        "from reasonmech.locate.scoring import auroc"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def functions_of(value: object) -> Iterator[FunctionType]:
    """The function, or the public methods and the constructor of a class."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, type):
        for name, member in vars(value).items():
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if isinstance(function, FunctionType) and (not name.startswith("_") or name == "__init__"):
                yield function


def names_known_to(module: str) -> dict[str, object]:
    """What a name means in annotations of a module, those imported for type checkers only included."""
    known = dict(vars(sys.modules[module]))
    for node in ast.walk(ast.parse(Path(str(sys.modules[module].__file__)).read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("reasonmech"):
            source = import_module(str(node.module))
            known |= {a.asname or a.name: getattr(source, a.name, None) for a in node.names}
    return known


def test_every_type_that_a_public_signature_mentions_is_reachable() -> None:
    reachable = {id(getattr(rm, name)) for name in rm._HOME}
    for space in map(rm.__getattr__, rm._NAMESPACES):
        reachable |= {id(getattr(space, name)) for name in getattr(space, "__all__", ())}
    seen, missing = 0, set()
    for name in rm._HOME:
        for function in functions_of(getattr(rm, name)):
            known = names_known_to(function.__module__)
            for annotation in function.__annotations__.values():
                for word in re.findall(r"[A-Za-z_]\w*", str(annotation)):
                    mentioned = known.get(word)
                    if isinstance(mentioned, type) and mentioned.__module__.startswith("reasonmech"):
                        seen += 1
                        if id(mentioned) not in reachable:
                            missing.add(f"{name}: {mentioned.__module__}.{word}")
    assert seen > 100 and missing == set()


def test_about_fifty_names_are_at_the_top() -> None:
    assert 45 <= len(rm._HOME) <= 60


@pytest.mark.parametrize("space", sorted(rm._NAMESPACES))
def test_a_namespace_exports_names_that_exist(space: str) -> None:
    namespace = getattr(rm, space)
    assert inspect.getdoc(namespace), f"{space} has no docstring"
    for name in getattr(namespace, "__all__", ()):
        assert getattr(namespace, name) is not None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("load_piar", "did you mean rm.load_pair"),
        ("faithfulness", "it is rm.causal.faithfulness"),
        ("featuretable", "did you mean rm.features.FeatureTable"),
        ("Causal", "did you mean rm.causal"),
        ("zzzzqq", "public names: .*load_pair.*namespaces: .*causal"),
    ],
)
def test_an_unknown_name_names_what_was_probably_meant(typed: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=meant):
        getattr(rm, typed)


def test_a_look_up_of_an_unknown_name_imports_nothing() -> None:
    script = (
        "import sys, reasonmech as rm; assert not hasattr(rm, 'load_piar'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


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
