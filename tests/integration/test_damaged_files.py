"""Files of JSON damaged at random are read as they were, or refused: never raw, never as others."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.errors import CorruptFileError, ReasonmechError
from reasonmech.experiments import load_run
from reasonmech.organisms.overview import truth_table
from reasonmech.organisms.record import read_truth
from reasonmech.paths import organism_dir
from reasonmech.report.terminal import receipts, summary
from reasonmech.resumable import ResumableDirectory, read_plan
from reasonmech.rollout import Rollouts
from reasonmech.runtime.activations.store import hash_of
from reasonmech.taxonomies.text.cache import JudgeCache
from reasonmech.testing import tiny_host
from tests.json_mutations import Damage, damages
from tests.made_run import make_run

HOST = tiny_host()
MANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
FEWER = settings(MANY, max_examples=25)  # of what takes long to read


def read_or_refused(read: Callable[[], Any], right: Any, damage: Damage) -> None:
    """What is read is what was there before the damage, or it is refused; where a key is twice, refused."""
    try:
        value = read()
    except ReasonmechError as error:
        assert error.happened and (error.allowed or error.do)
        return
    assert damage.how != "duplicate"
    assert repr(value) == repr(right), damage


@pytest.fixture(scope="module")
def rollouts() -> Rollouts:
    plan = [rm.steer(rm.Direction.along(HOST.unembedding()[3], "resid_post.1"), 2.0)]
    return rm.generate(HOST, ["w1 w2", "w3"], plan, decode=rm.Decode(max_new_tokens=3), progress=False)


def content(rollouts: Rollouts) -> Any:
    return (list(map(vars, rollouts)), rollouts.task, rollouts.receipt)


@MANY
@given(data=st.data())
def test_rollouts(data: st.DataObject, rollouts: Rollouts) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "r.jsonl"
        rollouts.save(file)
        lines = file.read_text().splitlines()
        number = data.draw(st.sampled_from(range(len(lines))))
        damage = data.draw(damages(json.loads(lines[number])))
        lines[number] = damage.text
        file.write_text("\n".join(lines) + "\n")
        try:
            read = Rollouts.load(file)
        except CorruptFileError as error:
            assert f"line {number + 1}" in error.happened or "2 rollouts" in error.happened
            return
        assert damage.how != "duplicate"
        if damage.path[0] == "receipt" or damage.path[:2] == ("problem", "data"):
            return  # older files lack some of it, and what was not measured is None
        if damage.path[0] == "prompt_ids":  # one token less is a prompt too
            return
        assert content(read) == content(rollouts)


@MANY
@given(data=st.data())
def test_a_store(data: st.DataObject) -> None:
    acts = rm.capture(HOST, ["w1 w2", "w3"], ["resid_post.1"], progress=False)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "store"
        acts.save(path)
        right = json.loads((path / "record.json").read_text())
        rehash = data.draw(st.booleans())  # of one who edits, and knows how the hash is made
        damage = data.draw(
            damages({key: right[key] for key in right if key != "content_hash"} if rehash else right)
        )
        text = damage.text
        if rehash and damage.how != "duplicate":
            value = json.loads(text)
            text = json.dumps(value | {"content_hash": hash_of(value)})
        (path / "record.json").write_text(text)
        old = damage.path == ("origin", "identity") and damage.how != "duplicate"  # a store of such a time
        try:
            with warnings.catch_warnings():
                if old:
                    warnings.filterwarnings("ignore", "the store .* hash of its model's weights alone")
                again = rm.Activations.load(path, host=HOST)
            again.verify()
        except ReasonmechError:
            return
        assert rehash and damage.how != "duplicate", damage


@pytest.fixture(scope="module")
def right() -> Any:
    return read_truth(organism_dir() / "tiny-when")


@FEWER
@given(data=st.data())
def test_the_truth_of_an_organism(data: st.DataObject, right: Any) -> None:
    damage = data.draw(damages({key: right[key] for key in right if key not in ("skills", "card")}))
    with TemporaryDirectory() as directory:
        (Path(directory) / "truth.json").write_text(damage.text)
        try:
            truth = read_truth(Path(directory))
        except CorruptFileError as error:
            assert "truth.json" in error.happened
            return
        assert damage.how != "duplicate"
        assert len(truth_table(truth)) == len(truth_table(right)) or damage.how == "delete"


@FEWER
@given(data=st.data())
def test_a_run(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = tmp_path_factory.getbasetemp() / "made" / "run"
    if not made.exists():
        make_run(made)
    right = json.loads((made / "record.json").read_text())
    damage = data.draw(damages(right))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "run"
        shutil.copytree(made, path)
        (path / "record.json").write_text(damage.text)
        try:
            run = load_run(path)
            summary(run), receipts(run), rm.report(run)
        except ReasonmechError:
            return
        assert damage.how != "duplicate"


@MANY
@given(data=st.data())
def test_the_plan_of_what_was_begun(data: st.DataObject) -> None:
    plan = {"sites": ["a", "b"], "n": 3, "host": {"hash": "x", "none": None}}
    damage = data.draw(damages(plan))
    with TemporaryDirectory() as directory:
        begun = ResumableDirectory(Path(directory) / "out", plan, kind="sweep")
        with begun.open():
            pass
        begun.path("plan.json").write_text(damage.text)

        def reopened() -> object:
            with begun.open():
                return read_plan(begun.partial)

        read_or_refused(reopened, plan, damage)


@MANY
@given(data=st.data())
def test_the_answers_of_a_judge(data: st.DataObject) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "cache.jsonl"
        JudgeCache(file, judge="j").put("a prompt", "yes")
        lines = file.read_text().splitlines()
        number = data.draw(st.sampled_from([0, 1]))
        damage = data.draw(damages(json.loads(lines[number])))
        lines[number] = damage.text
        file.write_text("\n".join(lines) + "\n")
        read_or_refused(
            lambda: (JudgeCache(file, judge="j").get("a prompt") or "yes", "j"), ("yes", "j"), damage
        )
