"""One reader of YAML: what it would have to guess at, it refuses, with the line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import reasonmech as rm
from reasonmech.coders import load_coder_config
from reasonmech.errors import ConfigError
from reasonmech.experiments import load_experiment
from reasonmech.hosts import pair_config
from reasonmech.paths import config_dir
from reasonmech.testing import tiny_host
from reasonmech.yaml_text import parse_yaml, read_yaml

EXPERIMENT = """\
name: a
pair: tiny-when
task: {kind: chain, n: 4}
stages:
  - {kind: rollouts, n: 4}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{y}: &{y} [{','.join(['*' + x] * 10)}]\n" for x, y in zip("abcdefg", "bcdefgh", strict=True)
)

REFUSED: dict[str, tuple[bytes, str]] = {
    "a key twice": (b"seed: 1\nquestion: q\nseed: 2\n", r":3 has the key 'seed' again, which line 1 has"),
    "a key twice, deep": (b"a:\n  - {b: 1,\n    b: 2}\n", r":3 has the key 'b' again, which line 2 has"),
    "one key, two spellings": (b"'seed': 1\nseed: 2\n", r":2 has the key 'seed' again"),
    "a bomb of aliases": (BOMB.encode(), "values once its aliases are written out"),
    "an alias of itself": (b"a: &a [1, *a]\n", r":1.*an alias stands inside"),
    "an alias of nothing": (b"a: 1\nb: *c\n", r":2 is not YAML"),
    "bytes that are no UTF-8": (b"a: 1\nb: \xff\n", r":2 is not UTF-8: byte 0xff"),
    "latin-1": ("a: Überschrift".encode("latin-1"), ":1 is not UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), "is written in UTF-16"),
    "utf-32": ("a: 1".encode("utf-32"), "is written in UTF-16 or UTF-32"),
    "an open bracket": (b"a: 1\nb: [1,\n", r":\d is not YAML"),
    "a tab": (b"a:\n\tb: 1\n", r":2 is not YAML"),
    "a NUL": (b"a: \x00\n", ":1 holds the sign 0x0"),
    "two documents": (b"a: 1\n---\na: 2\n", r":2 is not YAML"),
    "not a number": (b"a: 1\nb: .nan\n", r":2: the number \.nan"),
    "infinity": (b"a: -.inf\n", r":1: the number -\.inf"),
    "base eight": (b"seed: 010\n", r":1: 010 would be a number in another base"),
    "base sixty": (b"n: 1:30\n", r":1: 1:30 would be a number in another base"),
    "python": (b"a: !!python/object/apply:os.system ['true']\n", r":1: a value with the tag"),
    "deep": (b"[" * 10_000, "nested more than 50 deep"),
    "a tag that its value is not": (b"a: 1\nb: !!bool foo\n", r":2: 'foo' is no truth value"),
    "a date that is none": (b"a: !!timestamp foo\n", r":1: 'foo' is no date"),
    "a month that is none": (b"a: 2001-13-45\n", r":1: the date 2001-13-45"),
    "bytes": (b"a: !!binary aGk=\n", r":1: a value with the tag"),
    "a tag of a key": (b"!!bool foo: 1\n", r":1: 'foo' is no truth value"),
    "a number that is none": (b"a: !!int foo\n", r":1: 'foo' is no whole number"),
    "a null that is none": (b"a: !!null foo\n", r":1: 'foo' is no null"),
    "a number of 5000 digits": (b"a: 1\nb: " + b"9" * 5000, r":2: the whole number 999"),
    "base sixteen": (b"a: 0x1F\n", r":1: 0x1F would be a number in another base"),
    "base eight of YAML 1.2": (b"a: 0o17\n", r":1: 0o17 would be"),
    "groups of digits": (b"a: 1_000\n", r":1: 1_000 would be a number, written in groups"),
    "groups of digits with a point": (b"a: 1_0.5\n", r":1: 1_0\.5 would be"),
    "Norway": (b"a: 1\nname: no\n", r":2: no would be false"),
    "off": (b"a: [x, OFF]\n", r":1: OFF would be false"),
    "a key that is on": (b"on: 1\n", r":1: on would be true"),
    "a key that is true": (b"true: 1\n", r":1: the key true"),
    "a key that is nothing": (b"~: 1\n", r":1: the key ~"),
    "a key that is no number": (b"a: 1\n.nan: 1\n", r":2: the number \.nan"),
    "a key with a point": (b"1.5: 1\n", r":1: the key 1\.5"),
    "a key in base sixty": (b"12:30:45: 1\n", r":1: 12:30:45 would be"),
    "a key in base sixteen": (b"0x1F: 1\n", r":1: 0x1F would be"),
    "a key that is a date": (b"2001-01-01: 1\n", r":1: the key 2001-01-01"),
    "a number and its text": (b"1: a\n'1': b\n", r":2 has the key '1' again, which line 1 has"),
    "two merges": (b"a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: *a,\n  <<: *b}\n", r":4 has the key '<<' again"),
    "an equals sign": (b"a: =\n", r":1: = would be"),
    "a key that is a list": (b"? [1]\n: 2\n", ":1.*key"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_guessed_at_is_refused(case: str, tmp_path: Path) -> None:
    content, message = REFUSED[case]
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    began = time.perf_counter()
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value) and caught.value.do + caught.value.allowed
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("case", REFUSED)
def test_every_reader_of_yaml_refuses_it(case: str, tmp_path: Path) -> None:
    content, _ = REFUSED[case]
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    for read in (
        load_experiment,
        load_coder_config,
        pair_config,
        lambda path: rm.load_plan(path, tiny_host()),
    ):
        with pytest.raises(ConfigError, match=r"my\.yaml"):
            read(file)


@pytest.mark.parametrize(
    "override",
    ["question=[", "question=*a", "seed=.inf", "seed=010", "seed={a: 1, a: 2}", "seed=!!bool x", "name=no"],
)
def test_an_override_that_is_no_yaml_is_refused(override: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    with pytest.raises(ConfigError, match=r"override '.*=.*'"):
        load_experiment(tmp_path / "my.yaml", [override])


def test_a_key_that_is_set_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(EXPERIMENT)
    with pytest.raises(ConfigError, match="seed is set 2 times"):
        load_experiment(tmp_path / "my.yaml", ["seed=1", "seed=2"])


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes(b"\xef\xbb\xbf" + EXPERIMENT.replace("\n", "\r\n").encode())
    assert load_experiment(tmp_path / "my.yaml").name == "a"


def test_a_few_aliases_are_written_out_and_share_nothing(tmp_path: Path) -> None:
    text = "a: &x {n: 1, m: [2]}\nb: *x\nc: {<<: *x, n: 3}\nd: {<<: [*x, {k: 5, n: 9}]}\n"
    value: Any = parse_yaml(text, name="text").value
    assert value == yaml.safe_load(text)
    value["a"]["m"].append(4)
    assert value["b"] == {"n": 1, "m": [2]} and value["c"]["m"] == [2]


@pytest.mark.parametrize("file", sorted(config_dir().rglob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_shipped_is_read_as_before(file: Path) -> None:
    assert read_yaml(file).value == yaml.safe_load(file.read_text())


def test_an_error_of_validation_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        EXPERIMENT.replace("n: 4}\nstages", "n: many}\nstages").replace("n: 4}\n", "n: 4, samples: -1}\n")
    )
    with pytest.raises(ConfigError) as caught:
        load_experiment(file)
    assert str(file) in str(caught.value)
    assert "task.n" in str(caught.value) and "(line 3)" in str(caught.value)
    assert "stages.0" in str(caught.value) and "(line 5)" in str(caught.value)
    file.write_text("architecture: topk\nd_sae: 8\nk: many\n")
    with pytest.raises(ConfigError, match=r"my\.yaml: k: .*\(line 3\)"):
        load_coder_config(file)


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes(b"#" * (17 * 2**20))
    with pytest.raises(ConfigError, match="bytes"):
        read_yaml(tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 'no'", {"a": "no"}),
        ('a: "12:30"', {"a": "12:30"}),
        ("a: '2001-01-01'", {"a": "2001-01-01"}),
        ("a: !!str 3", {"a": "3"}),
        ("a: !!int '3'", {"a": 3}),
        ("a: !!float 3", {"a": 3.0}),
        (
            "a: [true, FALSE, ~, null, Null, x_1, w_1_2, n, y]",
            {"a": [True, False, None, None, None, "x_1", "w_1_2", "n", "y"]},
        ),
        ("0: a\n1: b\n'0x': c", {0: "a", 1: "b", "0x": "c"}),
        ("a: -1.5e3", {"a": -1500.0}),
    ],
)
def test_what_is_said_plainly_is_read(text: str, value: object) -> None:
    assert parse_yaml(text, name="text").value == value
