"""The rules of the house, by walking every import and definition: layers, cycles, adapters, sizes, names.

`python -m tests.test_architecture` writes docs/layers.md anew from what it walked.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

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


REPOSITORY = ROOT.parent
WITH_TESTS = MODULES | {
    str(path.relative_to(REPOSITORY)): path
    for folder in ("tests", "benchmarks")
    for path in (REPOSITORY / folder).rglob("*.py")
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


class FunctionFacts(NamedTuple):
    """What the rules ask of a function."""

    name: str
    n_lines: int  # of code: its docstring aside
    parameters: list[str]


class Facts(NamedTuple):
    """What the rules ask of a module; its tree is many times as large, and not kept."""

    n_lines: int
    docstring: str | None
    imports: list[ast.Import | ast.ImportFrom]
    functions: list[FunctionFacts]
    classes: list[str]
    bound: list[tuple[int, str]]  # line and name of each variable and attribute that is assigned to


@cache
def facts(name: str) -> Facts:
    """A file is parsed and walked once for all rules."""
    text = WITH_TESTS[name].read_text()
    tree = ast.parse(text)
    walked = Facts(len(text.splitlines()), ast.get_docstring(tree), [], [], [], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            walked.imports.append(node)
        elif isinstance(node, Function):
            walked.functions.append(FunctionFacts(node.name, code_lines(node), parameters(node)))
        elif isinstance(node, ast.ClassDef):
            walked.classes.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            walked.bound.append((node.lineno, node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            walked.bound.append((node.lineno, node.attr.strip("_")))
    return walked


def code_lines(function: Function) -> int:
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = function.lineno
    if documented and len(function.body) > 1:
        start = function.body[1].lineno
    return (function.end_lineno or start) - start + 1


def parameters(function: Function) -> list[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


@cache
def imported(name: str) -> set[str]:
    """Every module that `name` imports, at its top or inside a function."""
    modules: set[str] = set()
    for node in facts(name).imports:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        else:
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


def upward(name: str, target: str) -> str | None:
    """What is wrong with one import; nothing for one that points downward."""
    if target in TOP:
        return f"{name} imports the package itself: import the module that holds the name"
    here, there = area(name), area(target)
    if here == there:
        return None
    if here == "testing":
        seen = there in LAYER and LAYER[there] <= TESTING_SEES
        return None if seen else f"{name} may import layers 0-4, not {target}"
    allowed = LAYER[there] < LAYER[here] or (LAYER[there] == LAYER[here] and LAYER[here] in NOUN_LAYERS)
    return None if allowed else f"{name} (layer {LAYER[here]}) imports {target} (layer {LAYER[there]})"


def test_imports_point_downward() -> None:
    names = sorted(MODULES.keys() - TOP)
    assert {area(name) for name in names} <= LAYER.keys() | {"testing"}, "give every new area a layer"
    wrong = [upward(name, target) for name in names for target in sorted(internal(name))]
    assert [line for line in wrong if line] == []


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


def test_only_an_adapter_meets_its_library() -> None:
    wrong: list[str] = []
    for name in sorted(MODULES):
        roots = {target.split(".")[0] for target in imported(name)}
        for library, adapter in ADAPTERS.items():
            if library in roots and name != adapter:
                wrong.append(f"{name} imports {library}: only {adapter} may")
        if roots & FORBIDDEN:
            wrong.append(f"{name} imports {roots & FORBIDDEN}: nothing is pickled")
    assert wrong == []


def test_a_module_is_at_most_300_lines_and_a_function_50() -> None:
    long = {name: facts(name).n_lines for name in MODULES if facts(name).n_lines > 300}
    assert long == {}, "which noun can leave it?"
    functions = {
        f"{name}.{function.name}": function.n_lines
        for name in MODULES
        for function in facts(name).functions
        if function.n_lines > 50
    }
    assert functions == {}


ENTRIES = {
    "reasonmech",
    "reasonmech.__main__",
    "reasonmech.cli",
    "reasonmech.testing",
}  # what starts from outside
# Names that say nothing of a value: each reads well where it is bound, and is a riddle ten lines below.
RIDDLES = {"found", "some", "given", "asked", "own", "said"}


def test_a_function_has_at_most_six_parameters() -> None:
    many = {
        f"{name}.{function.name}": function.parameters
        for name in MODULES
        for function in facts(name).functions
        if len(function.parameters) > 6
    }
    assert many == {}, "which noun is missing?"


def test_no_class_name_is_used_twice() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for name in MODULES:
        for class_name in facts(name).classes:
            homes[class_name].append(name)
    assert len(homes) > 300
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_every_module_is_imported_by_another() -> None:
    imported_by_another = {target for name in MODULES for target in internal(name) - {name}}
    namespaces = set(rm._NAMESPACES.values()) | set(rm._HOME.values())
    folders = {name.rsplit(".", 1)[0] for name in imported_by_another}  # its docstring says what is in it
    assert MODULES.keys() - imported_by_another - folders - namespaces - ENTRIES == set()


def test_a_name_says_what_its_value_is() -> None:
    riddles: list[str] = []
    for name in sorted(WITH_TESTS):
        for function in facts(name).functions:
            riddles += [f"{name}.{function.name}: {one}" for one in RIDDLES & {*function.parameters}]
        riddles += [f"{name}, line {line}: {one}" for line, one in facts(name).bound if one in RIDDLES]
    assert riddles == []


def test_every_module_says_what_it_is() -> None:
    assert [name for name in MODULES if not facts(name).docstring] == []


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
    text = facts(name).docstring or ""
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
