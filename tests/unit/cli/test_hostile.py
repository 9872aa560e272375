"""Names that look like markup, files that are something else, plug-ins that fail: a message, no more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from reasonmech import registry
from reasonmech.report import report
from tests.copied_run import copy_run
from tests.made_run import make_run
from tests.unit.cli.test_cli import command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report, to be copied."""
    run = make_run(tmp_path_factory.mktemp("clean") / "made")
    report(run)
    return run.path


@pytest.mark.parametrize("name", ["[red]run[/red]", "a[/b]", "[link=http://x.y]z[/link]", ":smile:", "[bold"])
def test_a_path_that_looks_like_markup_is_printed_as_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    run = copy_run(made, tmp_path / name.replace("/", "|"))
    monkeypatch.setenv("COLUMNS", "400")
    for more in ([], ["--receipts"]):
        assert command(monkeypatch, "show", str(run.path), *more) == 0
        assert f"{run.path}/report.html" in capsys.readouterr().out


FILES = {
    "empty": b"",
    "text": b"once upon a time\n",
    "binary": bytes(range(256)),
    "json": b'{"a": [1, 2]}',
    "a list": b"- 1\n- 2\n",
    "a number": b"3",
    "zip": b"PK\x03\x04" + bytes(60),
    "pickle": b"\x80\x04\x95\x00",
}
VERBS = {
    "run": ["run"],
    "check": ["check"],
    "show": ["show"],
    "train-coder": ["train-coder", "PATH", "topk", "--site", "resid_post.1", "--out", "out"],
    "train-coder's config": [
        "train-coder",
        "tiny-when",
        "PATH",
        "--site",
        "resid_post.1",
        "--out",
        "out",
    ],
    "steer": ["steer", "PATH", "a prompt"],
    "steer from a file": ["steer"],
    "steer's coder": ["steer", "organism:tiny-when/base", "w", "--coder", "PATH", "--features", "3"],
    "steer's vector": ["steer", "organism:tiny-when/base", "w", "--vector", "PATH", "--site", "resid_post.1"],
    "organisms verify": ["organisms", "verify"],
    "organisms card": ["organisms", "card"],
}


def call(verb: str, path: str) -> list[str]:
    arguments = VERBS[verb]
    return [path if part == "PATH" else part for part in arguments] + ([] if "PATH" in arguments else [path])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", [*FILES, "folder", "nothing", "a loop", "a long name", "a NUL"])
def test_a_foreign_file_is_a_message(
    verb: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "thing.yaml"
    if kind in FILES:
        file.write_bytes(FILES[kind])
    elif kind == "folder":
        file.mkdir()
        (file / "config.json").write_text("{}")
    elif kind == "a loop":
        file.symlink_to(file)
    path = {"a long name": "n" * 5000, "a NUL": "a\0b"}.get(kind, str(file))
    assert command(monkeypatch, *call(verb, path)) == 2
    message = capsys.readouterr().err
    assert message and "Traceback" not in message
    assert not (tmp_path / "out").exists()


PLUGINS = {
    "fails": "raise RuntimeError('broken on purpose')",
    "exits": "import sys; sys.exit(3)",
    "is not there": None,
}


def install_broken(folder: Path, kind: str) -> None:
    """A package of one plug-in that is broken in that way."""
    module, source = f"my_plugin_that_{kind.replace(' ', '_')}", PLUGINS[kind]
    if source is not None:
        (folder / f"{module}.py").write_text(source)
    package = f"their_{kind.split()[0]}"
    info = folder / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[reasonmech]\nmine = {module}\n")


def name_of(kind: str) -> str:
    return f"mine = 'my_plugin_that_{kind.replace(' ', '_')}' of their_{kind.split()[0]} 1.2"


@pytest.mark.parametrize("kind", PLUGINS)
def test_a_plug_in_that_cannot_be_imported_is_named_and_takes_no_verb_with_it(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    install_broken(tmp_path, kind)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str) -> tuple[int, str, str]:
        """As in a process of its own: no plug-in has been looked at."""
        monkeypatch.setattr(registry, "_loaded_plugins", set())
        monkeypatch.setattr(registry, "_failed_plugins", {})
        with pytest.warns(UserWarning, match=f"{re.escape(name_of(kind))} cannot be imported"):
            code = command(monkeypatch, *arguments)
        return code, *capsys.readouterr()

    code, _, complaint = run("organisms", "card", "theirs")
    assert code == 2 and f"Do: mend or uninstall plug-in {name_of(kind)}" in complaint
    assert "Traceback" not in complaint
    code, listed, complaint = run("organisms", "list")
    assert code == 0 and "tiny-when" in listed, complaint
    code, told, _ = run("doctor")
    assert code == 1 and name_of(kind) in told


def test_plug_ins_that_cannot_be_imported_do_not_end_the_process(tmp_path: Path) -> None:
    """All of them at once, in one process: each start of one takes seconds."""
    for kind in PLUGINS:
        install_broken(tmp_path, kind)
    unknown = subprocess.run(
        [sys.executable, "-m", "reasonmech", "organisms", "card", "theirs"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert unknown.returncode == 2 and "Do: mend or uninstall plug-in mine" in unknown.stderr
    for kind in PLUGINS:
        assert name_of(kind) in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_a_second_interrupt_changes_nothing(tmp_path: Path) -> None:
    """The first one is answered slowly, and the second comes meanwhile."""
    script = textwrap.dedent(
        """
        import signal, sys, time
        from importlib import import_module
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        module = import_module('reasonmech.cli.app')
        def slow():
            print("begun", flush=True)
            try:
                time.sleep(60)
            finally:
                time.sleep(2)
        module.app.command("slow")(slow)
        sys.argv = ["reasonmech", "slow"]
        module.main()
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGINT)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, message = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted: what was finished is kept" in message and "Traceback" not in message
