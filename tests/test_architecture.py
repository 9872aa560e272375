"""The rules of the house, by walking every import: layers, cycles, adapters, length."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "reasonmech"

# A lower layer never imports a higher one. Inside one layer only modules of the same package meet, except in
# the
# first two: their modules are single nouns, which may build on each other as long as there is no cycle.
LAYERS = (
    {
        "errors",
        "arguments",
        "suggestions",
        "shapes",
        "frames",
        "stats",
        "paths",
        "disk",
        "files",
        "resumable",
        "digest",
        "quiet",
    },
    {"registry", "site", "step", "problem", "rollout", "labels"},
    {"hosts", "coders", "simulators"},
    {"interventions"},
    {"runtime"},
    {"tasks", "behaviours", "taxonomies"},
    {"metrics"},
    {"locate", "causal"},
    {"hybrid"},
    {"organisms"},
    {"experiments"},
    {"viz"},
    {"report", "doctor"},
    {"cli"},
)
LAYER = {name: depth for depth, names in enumerate(LAYERS) for name in names}
NOUN_LAYERS = (0, 1)
TESTING_SEES = 4
ADAPTERS = {"transformer_lens": "reasonmech.hosts.lens", "sae_lens": "reasonmech.coders.saelens"}
FORBIDDEN = {"pickle", "dill", "cloudpickle", "joblib"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TOP = {"reasonmech", "reasonmech.__main__"}  # the package itself re-exports from every layer


def imported(name: str) -> set[str]:
    """Every module that `name` imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            base = node.module or ""
            submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            rest = len(submodules) < len(node.names)
            found |= submodules | ({base} if rest else set())
    return found


def internal(name: str) -> set[str]:
    return {target for target in imported(name) if target in MODULES}


def area(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("name", sorted(MODULES.keys() - TOP))
def test_imports_point_downward(name: str) -> None:
    here = area(name)
    assert here == "testing" or here in LAYER, f"{name}: give the new area {here!r} a layer"
    for target in internal(name):
        assert target not in TOP, f"{name} imports the package itself: import the module that holds the name"
        there = area(target)
        if here == there:
            continue
        if here == "testing":
            assert there in LAYER and LAYER[there] <= TESTING_SEES, (
                f"{name} may import layers 0-4, not {target}"
            )
            continue
        allowed = LAYER[there] < LAYER[here] or (LAYER[there] == LAYER[here] and LAYER[here] in NOUN_LAYERS)
        assert allowed, f"{name} (layer {LAYER[here]}) imports {target} (layer {LAYER[there]})"


def test_there_is_no_import_cycle() -> None:
    graph = {name: internal(name) for name in MODULES.keys() - TOP}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        for target in sorted(graph.get(name, ())):
            visit(target, (*path, name))
        done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_an_adapter_meets_its_library(name: str) -> None:
    roots = {target.split(".")[0] for target in imported(name)}
    for library, adapter in ADAPTERS.items():
        assert library not in roots or name == adapter, f"{name} imports {library}: only {adapter} may"
    assert not roots & FORBIDDEN, f"{name} imports {roots & FORBIDDEN}: nothing is pickled"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_at_most_300_lines_and_a_function_50(name: str) -> None:
    text = MODULES[name].read_text()
    assert len(text.splitlines()) <= 300, (
        f"{name} has {len(text.splitlines())} lines: which noun can leave it?"
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = (
                (node.body[1].lineno if len(node.body) > 1 else node.lineno) if documented else node.lineno
            )
            length = (node.end_lineno or start) - start + 1
            assert length <= 50, f"{name}.{node.name} has {length} lines of code"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[name].read_text())), f"{name} has no docstring"


def test_every_folder_is_a_package_with_content() -> None:
    for folder in {path.parent for path in MODULES.values()} - {ROOT}:
        assert (folder / "__init__.py").exists(), f"{folder} lacks __init__.py"
        assert any(
            p.name != "__init__.py" or len(p.read_text().splitlines()) > 3 for p in folder.glob("*.py")
        ), folder


def test_the_walk_sees_what_it_should() -> None:
    """The rules above would pass on an empty tree; this one would not."""
    assert {"reasonmech.errors", "reasonmech.registry"} <= MODULES.keys()
    assert "reasonmech.errors" in internal("reasonmech.registry")
