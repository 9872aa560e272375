"""Answers of a judge on disk: appended one by one, so that a kill loses at most the one being written."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from reasonmech.door import checked
from reasonmech.errors import CorruptFileError, MismatchError, OutputError
from reasonmech.json_text import check_shape, parse_json


class JudgeCache:
    """Prompt -> answer of one judge, in a JSONL file whose first line names the judge.

    Keys are SHA-256 of the prompt. Every answer is on the disk before the next question is asked; a last line
    that a kill cut off is taken out when the file is opened again, and asked again.

    Raises:
        MismatchError: the file holds the answers of another judge.
        CorruptFileError: a line other than the last is damaged.
        OutputError: the file cannot be written.
    """

    @checked
    def __init__(self, path: str | Path, *, judge: str) -> None:
        self.path, self.judge = Path(path).expanduser(), judge
        self._answers: dict[str, str] = {}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            lines = self._read_lines()
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written: {error.strerror}", do="choose a file that you can write"
            ) from error
        if not lines:
            self._append({"judge": judge})
        for number, line in enumerate(lines):
            self._parse(number, line)

    def __len__(self) -> int:
        return len(self._answers)

    @checked
    def get(self, prompt: str) -> str | None:
        """The answer to a prompt, None where it was never given."""
        return self._answers.get(_key(prompt))

    @checked
    def put(self, prompt: str, answer: str) -> None:
        """Store an answer; it is on the disk when this returns."""
        self._append({"key": _key(prompt), "answer": answer})
        self._answers[_key(prompt)] = answer

    def _read_lines(self) -> list[bytes]:
        content = self.path.read_bytes()
        end = content.rfind(b"\n") + 1  # what follows is a line that a kill cut off
        if end < len(content):
            with self.path.open("r+b") as file:
                file.truncate(end)
        return content[:end].splitlines()

    def _parse(self, number: int, line: bytes) -> None:
        try:
            row = parse_json(line)
            if number:
                check_shape(row, {"key": str, "answer": str})
                self._answers[row["key"]] = row["answer"]
                return
            named = row["judge"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                f"line {number + 1} of {self.path} is damaged: {error!r}", do="delete that line, or the file"
            ) from error
        if named != self.judge:
            raise MismatchError(
                f"{self.path} holds the answers of judge {named!r}, not of {self.judge!r}",
                do="give every judge a cache of its own",
            )

    def _append(self, row: dict[str, str]) -> None:
        with self.path.open("ab") as file:
            file.write((json.dumps(row) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode(errors="surrogatepass")).hexdigest()
