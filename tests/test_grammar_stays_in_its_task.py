"""The toy world's grammar lies in tasks/chain, and in what builds chain worlds: nothing else knows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "reasonmech"
CHAIN_WORLDS = ("tasks", "organisms", "simulators")  # tasks registers the chain world; the others build some
FIELDS = {"relation", "standing", "equation", "adopts", "adopted", "value_at"}  # of a ChainSentence
WORDS = {"ONSET_WORDS", "FULL_STOP", "DIGITS", "OPERATORS", "INDEX_WORDS", "full_stop", "onset_id"}
ELSEWHERE = [
    path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in CHAIN_WORLDS
]
# whose business is where sentences of prose end
PROSE = ("taxonomies/text/segmentation.py", "interventions/masks/sentence_starts.py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", ELSEWHERE, ids=name_of)
def test_no_module_outside_chain_worlds_knows_the_grammar(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{name_of(path)}, line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("reasonmech.tasks.chain"), f"{where} imports the chain"
            names = {alias.name for alias in node.names}
            assert not (node.module == "reasonmech.tasks" and "chain" in names), f"{where} imports the chain"
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            assert not any(name.startswith("reasonmech.tasks.chain") for name in names), where
        elif isinstance(node, ast.Attribute):
            assert node.attr not in FIELDS | WORDS, f"{where} reads .{node.attr}: that is the chain's"
        elif isinstance(node, ast.Name):
            assert node.id not in WORDS, f"{where} speaks of {node.id}: that is the chain's"
        elif isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            stops = [o for o in operands if isinstance(o, ast.Constant) and o.value == "."]
            assert not stops or name_of(path) in PROSE, (
                f"{where} looks for a full stop: ask the trace or its kinds"
            )


def test_the_chain_itself_would_be_caught() -> None:
    caught = []
    for path in sorted((ROOT / "tasks" / "chain").rglob("*.py")):
        try:
            test_no_module_outside_chain_worlds_knows_the_grammar(path)
        except AssertionError:
            caught.append(path.name)
    assert {"parser.py", "environment.py", "backtrack.py", "kinds.py", "task.py"} <= set(caught)


def test_a_sentence_is_a_kind_and_two_offsets() -> None:
    (sentence,) = (
        node
        for node in ast.walk(ast.parse((ROOT / "rollout.py").read_text()))
        if isinstance(node, ast.ClassDef) and node.name == "Sentence"
    )
    fields = [node.target.id for node in sentence.body if isinstance(node, ast.AnnAssign)]  # type: ignore[union-attr]
    assert fields == ["kind", "start", "stop"]
