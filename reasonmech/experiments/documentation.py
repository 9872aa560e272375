"""Documentation: passages of the documentation that ships with installed packages, and where each is from."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from inspect import cleandoc
from typing import Final, NamedTuple

import numpy as np

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Positive, Seed

PACKAGES: Final = (
    "click",
    "fsspec",
    "huggingface-hub",
    "jinja2",
    "joblib",
    "mpmath",
    "networkx",
    "nltk",
    "numpy",
    "packaging",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "pygments",
    "regex",
    "requests",
    "rich",
    "sae-lens",
    "safetensors",
    "scikit-learn",
    "scipy",
    "setuptools",
    "statsmodels",
    "sympy",
    "tokenizers",
    "torch",
    "tqdm",
    "transformer-lens",
    "transformers",
    "typer",
    "typing-extensions",
    "urllib3",
)
"""What is read of the environment: packages of the tested set, all under permissive licences."""

LONGEST: Final = 4000  # characters of a passage, some thousand tokens of English
SHORTEST: Final = 400  # of one that is kept
PROSE: Final = (".md", ".rst")
_TESTS: Final = {"test", "tests", "testing", "_vendor", "vendored"}


class ReadPackage(NamedTuple):
    """A package that was read.

    Attributes:
        sha256: of its passages in their order.
    """

    package: str
    version: str
    licence: str
    passages: int
    characters: int
    sha256: str


class Passages(NamedTuple):
    """Texts, and what they were taken from."""

    texts: list[str]
    sources: list[ReadPackage]


@checked
def documentation(n: Positive, *, seed: Seed = 0) -> Passages:
    """Passages of at most 4,000 characters of docstrings, .rst and .md files and descriptions of installed
    packages: `n` of them in an order that the seed draws, as many of each package as it has until there are
    enough.

    The same versions of the same packages give the same texts; packages that are not installed are left out,
    and `sources` says which were read.

    Raises:
        DataError: the packages have fewer passages.
    """
    generator = np.random.default_rng(seed)
    packages = {name: package for name in PACKAGES if (package := _installed(name)) is not None}
    unread = {name: _passages(package, generator.spawn(1)[0]) for name, package in packages.items()}
    taken: dict[str, str] = {}  # passage -> package: what two packages ship is read once
    while len(taken) < n and unread:
        for name, passages in [*unread.items()]:
            passage = next((text for text in passages if text not in taken), None)
            if passage is None:
                del unread[name]
            elif len(taken) < n:
                taken[passage] = name
    if len(taken) < n:
        raise DataError(
            f"{n} passages of documentation", allowed=f"1 .. {len(taken)}, as installed", do="ask for fewer"
        )
    by_package = {name: [text for text, other in taken.items() if other == name] for name in packages}
    sources = [_source(packages[name], texts) for name, texts in by_package.items() if texts]
    texts = [*taken]
    return Passages([texts[i] for i in generator.permutation(n)], sources)


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _source(package: Distribution, texts: Sequence[str]) -> ReadPackage:
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    name, size = package.metadata["Name"], sum(map(len, texts))
    return ReadPackage(name, package.version, _licence(package), len(texts), size, digest)


def _licence(package: Distribution) -> str:
    """What a package's metadata says in one line: an SPDX expression, its licence field, or a classifier."""
    metadata = package.metadata
    named = (key for key in ("License-Expression", "License") if key in metadata)
    lines = [metadata[key].strip() for key in named]
    lines += [
        c.rsplit(" :: ", 1)[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")
    ]
    return next((line for line in lines if line and "\n" not in line), "see its licence file")


def _passages(package: Distribution, generator: np.random.Generator) -> Iterator[str]:
    """Passages of one file after the other, in an order of the files that the generator draws."""
    if "Description" in package.metadata:  # mostly the README
        yield from _cut(package.metadata["Description"])
    names = (file for file in package.files or [] if file.suffix in (".py", *PROSE))
    files = sorted((file for file in names if not _TESTS & set(file.parts)), key=str)
    for i in generator.permutation(len(files)):
        try:
            text = files[i].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # a file that was removed, or is in another encoding
            continue
        yield from _cut(text if files[i].suffix in PROSE else _docstrings(text))


def _docstrings(source: str) -> str:
    """Docstrings of a module, its classes and functions, each under its name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in others' strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ""
    parts = [ast.get_docstring(tree) or ""]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            parts.append(f"{_heading(node)}\n\n{cleandoc(text)}")
    return "\n\n\n".join(part for part in parts if part)


def _heading(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"def {node.name}({ast.unparse(node.args)})"


def _cut(text: str) -> Iterator[str]:
    """Passages of a text, cut at empty lines, and anywhere where two of those are too far apart."""
    passage = ""
    for part in text.split("\n\n"):
        if passage and len(passage) + len(part) + 2 > LONGEST:
            yield from _kept(passage)
            passage = ""
        passage = f"{passage}\n\n{part}" if passage else part
        while len(passage) > LONGEST:
            yield from _kept(passage[:LONGEST])
            passage = passage[LONGEST:]
    yield from _kept(passage)


def _kept(passage: str) -> Iterator[str]:
    passage = passage.strip("\n")
    if len(passage) >= SHORTEST:
        yield passage
