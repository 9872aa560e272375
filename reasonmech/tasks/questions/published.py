"""Published data sets of questions: where they are looked for, and how each writes its gold answers."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.paths import cache_dir
from reasonmech.tasks.questions.bank import QuestionColumns
from reasonmech.tasks.questions.reading import boxed
from reasonmech.tasks.questions.rows import QuestionSource, Row, as_json, read_rows

_HOME: Final = "datasets"  # folder of the cache
_SUFFIXES: Final = (".jsonl", ".parquet")
_PART: Final = re.compile(r"(?:^|[-_./])(train|test)(?=[-_./])")


@checked
@dataclass(frozen=True)
class Published:
    """A data set on the Hub.

    Attributes:
        hub: its id there.
        configs: names of its configurations, which are folders of it; () where it has none.
        gold_of: the gold answer in what stands in the answer's column; None where there is none.
        form: how that column says which is the gold answer, in words.
        licence: as its authors state it.
    """

    kind: str
    hub: str
    configs: tuple[str, ...]
    columns: QuestionColumns
    gold_of: Callable[[str], str | None]
    licence: str
    form: str

    @property
    def home(self) -> Path:
        """Where it is looked for first."""
        return cache_dir() / _HOME / self.kind

    @property
    def download(self) -> str:
        """The command that puts it there."""
        only = "".join(f" --include '{config}/*'" for config in self.configs)
        return f"hf download {self.hub} --repo-type dataset{only} --local-dir {shlex.quote(str(self.home))}"


def _after_marks(answer: str) -> str | None:
    """GSM8K ends a worked solution with "#### 42"."""
    return answer.rpartition("####")[2].strip() if "####" in answer else None


GSM8K: Final = Published(
    "gsm8k",
    "openai/gsm8k",
    ("main",),
    QuestionColumns(),
    _after_marks,
    "MIT (openai/grade-school-math)",
    "'#### 42' at its end",
)
MATH500: Final = Published(
    "math500",
    "HuggingFaceH4/MATH-500",
    (),
    QuestionColumns("problem", "answer"),
    str.strip,
    "MIT (hendrycks/math; openai/prm800k); its page on the Hub states none",
    "the answer alone",
)
_SUBJECTS: Final = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
HENDRYCKS: Final = Published(
    "hendrycks",
    "EleutherAI/hendrycks_math",
    _SUBJECTS,
    QuestionColumns("problem", "solution"),
    boxed,
    "MIT (hendrycks/math)",
    r"\boxed{...} in it",
)
PUBLISHED: Final[Mapping[str, Published]] = {one.kind: one for one in (GSM8K, MATH500, HENDRYCKS)}


@checked
def read_published(published: Published, path: str = "") -> QuestionSource:
    """Its rows: of a file or directory, else of the cache's folder, else of the Hub.

    Raises:
        DataError: it is nowhere, with the command that downloads it; a directory without files of it.
        CorruptFileError: a file that cannot be read.
    """
    if path or published.home.is_dir():
        return read_directory(Path(path).expanduser() if path else published.home, published)
    return _from_hub(published)


@checked
def read_directory(path: Path, published: Published) -> QuestionSource:
    """Rows of all files of a data set in a directory, each of the part (train, test) that its path names."""
    if not path.is_dir():
        return read_rows(path)
    files = [file for file in sorted(path.rglob("*")) if file.suffix in _SUFFIXES and file.is_file()]
    of_config = [file for file in files if set(file.relative_to(path).parts) & set(published.configs)]
    files = of_config or files
    if not files:
        raise DataError(
            f"the directory {path} holds no file of {published.hub}",
            allowed=f"*{' or *'.join(_SUFFIXES)}, as it is on the Hub",
            do=published.download,
        )
    rows, hashes = list[Row](), dict[str, str]()
    for file in files:
        name = file.relative_to(path).as_posix()
        read, part = read_rows(file), _PART.search(name)
        hashes[name] = read.sha256
        rows += [replace(row, part=part[1] if part else "") for row in read.rows]
    together = hashlib.sha256("".join(f"{sha}  {name}\n" for name, sha in hashes.items()).encode())
    return QuestionSource(str(path), together.hexdigest(), tuple(rows), {"files": hashes})


@cache
def _from_hub(published: Published) -> QuestionSource:
    import datasets  # heavy, and needed here alone

    rows, digest = list[Row](), hashlib.sha256()
    try:
        for config in published.configs or (None,):
            for part, listed in datasets.load_dataset(published.hub, config).items():
                part = str(part)
                for number, fields in enumerate(listed, start=1):
                    row = as_json(dict(fields))
                    digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
                    where = f"{published.hub}, {config or 'default'}/{part}, row {number}"
                    rows.append(Row(where, row, part if part in ("train", "test") else ""))
    except Exception as error:  # the network's, the Hub's and the library's are many
        first = str(error).strip().splitlines()
        raise DataError(
            f"task {published.kind!r} needs the data set {published.hub}: it is not at {published.home}, and "
            f"the Hub gives none ({type(error).__name__}: {first[0][:200] if first else ''})",
            allowed=f"its files there, or {published.kind}:PATH of a file or directory of it",
            do=f"where there is a network: {published.download}",
        ) from error
    name = f"https://huggingface.co/datasets/{published.hub}"
    return QuestionSource(
        name, digest.hexdigest(), tuple(rows), {"sha256_of": "rows as JSON lines, keys sorted"}
    )
