"""The rules of the house, by walking every import and definition: layers, cycles, adapters, sizes, names.

`python -m tests.test_architecture` writes docs/layers.md anew from what it walked.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import reasonmech as rm

ROOT = Path(__file__).parent.parent / "reasonmech"

PAGE = ROOT.parent / "docs" / "layers.md"

# A lower layer never imports a higher one. Inside one layer only modules of the same package meet, except in
# the first two: their modules are single nouns, which may build on each other as long as there is no cycle.
LAYERS = (
    {
        "errors",
        "abbreviations",
        "arguments",
        "door",
        "plain",
        "printable",
        "ranges",
        "settings",
        "suggestions",
        "shapes",
        "frames",
        "stats",
        "paths",
        "disk",
        "yaml_text",
        "json_text",
        "lock",
        "output_path",
        "files",
        "resumable",
        "device",
        "digest",
        "state_hash",
        "own_memory",
        "acting",
        "mode",
        "quiet",
        "splitmix",
        "versions",
    },
    {"registry", "site", "step", "problem", "receipt", "rollout", "labels", "kinds"},
    {"hosts", "coders", "simulators"},
    {"interventions"},
    {"runtime"},
    {"behaviours"},
    {"taxonomies"},
    {"tasks"},
    {"metrics"},
    {"locate", "causal", "pairwise"},
    {"hybrid"},
    {"organisms"},
    {"claims"},
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
    modules: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            base = node.module or ""
            submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            rest = len(submodules) < len(node.names)
            modules |= submodules | ({base} if rest else set())
    return modules


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


Function = ast.FunctionDef | ast.AsyncFunctionDef
ENTRIES = {
    "reasonmech",
    "reasonmech.__main__",
    "reasonmech.cli",
    "reasonmech.testing",
}  # what starts from outside
# Names that say nothing of a value: each reads well where it is bound, and is a riddle ten lines below.
REPOSITORY = ROOT.parent
WITH_TESTS = MODULES | {
    str(path.relative_to(REPOSITORY)): path
    for folder in ("tests", "benchmarks")
    for path in (REPOSITORY / folder).rglob("*.py")
}
RIDDLES = {"found", "some", "given", "asked", "own", "said"}


def definitions(name: str) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(MODULES[name].read_text()))


def parameters(function: Function) -> list[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_function_has_at_most_six_parameters(name: str) -> None:
    for node in definitions(name):
        if isinstance(node, Function):
            taken = parameters(node)
            assert len(taken) <= 6, f"{name}.{node.name} takes {', '.join(taken)}: which noun is missing?"


def test_no_class_name_is_used_twice() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for name in MODULES:
        for node in definitions(name):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert len(homes) > 300
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_every_module_is_imported_by_another() -> None:
    imported_by_another = {target for name in MODULES for target in internal(name) - {name}}
    namespaces = set(rm._NAMESPACES.values()) | set(rm._HOME.values())
    folders = {name.rsplit(".", 1)[0] for name in imported_by_another}  # its docstring says what is in it
    assert MODULES.keys() - imported_by_another - folders - namespaces - ENTRIES == set()


@pytest.mark.parametrize("name", sorted(WITH_TESTS))
def test_a_name_says_what_its_value_is(name: str) -> None:
    for node in ast.walk(ast.parse(WITH_TESTS[name].read_text())):
        if isinstance(node, Function):
            assert not RIDDLES & {*parameters(node)}, f"{name}.{node.name}: {RIDDLES & {*parameters(node)}}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assert node.id not in RIDDLES, f"{name}, line {node.lineno}: {node.id} is no name"
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            assert node.attr.strip("_") not in RIDDLES, f"{name}, line {node.lineno}: {node.attr} is no name"


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


def summary(name: str) -> str:
    """First sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(MODULES[name].read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def layer_page() -> str:
    """docs/layers.md: every area with its layer, what is in it, and which areas it really imports."""
    members: dict[str, list[str]] = defaultdict(list)
    for name in sorted(MODULES.keys() - TOP):
        members[area(name)].append(name)
    lines = [
        "# Layers",
        "",
        "Written by `python -m tests.test_architecture`, from the rules that `tests/test_architecture.py`",
        "enforces and the imports that it walks. Imports point upwards in this table, to a smaller",
        "number; from layer 2 on, areas of one layer never import each other. Why:",
        "[layers](decisions/010-layers.md).",
        "",
        "| layer | area | what is in it | imports |",
        "|---|---|---|---|",
    ]
    for depth, names in enumerate((*LAYERS, {"testing"})):
        for one in sorted(names):
            targets = {area(target) for name in members[one] for target in internal(name)} - {one}
            folder = f"`{one}/`" if len(members[one]) > 1 else f"`{one}`"
            row = (
                "-" if one == "testing" else str(depth),
                folder,
                summary(f"reasonmech.{one}"),
                ", ".join(sorted(targets, key=lambda target: (LAYER[target], target))),
            )
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def test_the_page_of_layers_is_what_was_walked() -> None:
    assert PAGE.read_text() == layer_page(), "run: python -m tests.test_architecture"


if __name__ == "__main__":
    PAGE.write_text(layer_page())
