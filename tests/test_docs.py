"""What the pages say is true: their code runs, the tests they name exist, their links lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reasonmech.paths import organism_dir
from reasonmech.registry import _registries

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # "```python no-run" is left alone
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
SLOW = {"docs/hybrid.md", "docs/verdicts.md"}  # trains category vectors; judges a pair
PAIR = "tiny-when"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_of(page: Path) -> str:
    """All blocks as one program whose lines are numbered as those of the page."""
    text, lines = page.read_text(), []
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        lines += [""] * (first - len(lines)) + block.group(1).splitlines()
    return "\n".join(lines)


def with_code() -> list[object]:
    pages = [page for page in PAGES if code_of(page)]
    return [pytest.param(p, id=name_of(p), marks=[pytest.mark.slow] * (name_of(p) in SLOW)) for p in pages]


@pytest.fixture
def clean_registries() -> Iterator[None]:
    """What a page registers is forgotten after it."""
    registries = [(registry, dict(registry._entries)) for registry in _registries]
    yield
    for registry, entries in registries:
        registry._entries = entries


@pytest.mark.usefixtures("clean_registries")
@pytest.mark.parametrize("page", with_code())
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_of(page)
    if PAIR in code and not (organism_dir() / PAIR / "base").is_dir():
        pytest.skip(f"the weights of {PAIR} are not in this checkout")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))  # a page leaves nothing behind
    exec(compile(code, str(page), "exec", dont_inherit=True), {"__name__": name_of(page)})


def test_a_block_keeps_its_line_and_no_run_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nx = 1\n```\n\n```python no-run\nboom()\n```\n\n```python\ny = x / 0\n```\n"
    )
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile(code_of(page), "page.md", "exec"), {})
    assert caught.traceback[-1].lineno + 1 == 12


@cache
def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_tests_and_links_exist(page: Path) -> None:
    text = page.read_text()
    for file, test in TEST.findall(text):
        assert (ROOT / file).is_file(), f"{name_of(page)} names {file}"
        assert not test or test in functions_of(ROOT / file), f"{name_of(page)} names {file}::{test}"
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {(ROOT / "docs" / target).resolve() for target in LINK.findall(index)}
    missing = [name_of(page) for page in PAGES if page.parent != ROOT and page.name != "README.md"]
    assert not [name for name in missing if ROOT / name not in linked]
