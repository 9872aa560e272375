"""gsm8k, math500, hendrycks: from files as the Hub has them, from the cache, from the Hub, from nowhere."""

import json

import datasets
import pandas as pd
import pytest

import reasonmech as rm
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.tasks.questions.published import _from_hub
from tests.unit.tasks.test_question_files import record_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    _from_hub.cache_clear()
    return tmp_path / "cache" / "datasets"


def gsm8k(n, word="sheep"):
    return pd.DataFrame(
        {
            "question": [f"{i} {word} and one?" for i in range(n)],
            "answer": [f"{i} + 1 = <<{i}+1={i + 1}>>{i + 1}\n#### 1,{i + 1:03}" for i in range(n)],
        }
    )


def write_gsm8k(home):
    for config in ("main", "socratic"):
        (home / config).mkdir(parents=True)
        gsm8k(60).to_parquet(home / config / "train-00000-of-00001.parquet")
        gsm8k(40, "cows").to_parquet(home / config / "test-00000-of-00001.parquet")
    return home


def test_gsm8k_as_the_hub_has_it(tmp_path):
    name = f"gsm8k:{write_gsm8k(tmp_path / 'here')}"
    record = record_of(name)
    assert record["rows"] == record["questions"] == 100  # the other configuration asks the same
    assert record["splits"]["train"] + record["splits"]["tuning"] == 60
    assert record["licence"].startswith("MIT") and len(record["files"]) == 2 and len(record["sha256"]) == 64
    problem = rm.load_task(name, n=5)[0]
    assert "cows" in problem.prompt and problem.answer == f"1,{int(problem.prompt.split()[1]) + 1:03}"
    assert problem.data["answer"].startswith(problem.prompt.split()[1]) and problem.id.startswith("gsm8k/")
    assert all("sheep" in p.prompt for p in rm.load_task(name, n=5, split="train"))


def test_the_cache_is_looked_at_first(cache):
    write_gsm8k(cache / "gsm8k")
    assert record_of("gsm8k")["source"] == str(cache / "gsm8k")
    assert rm.load_task("gsm8k", n=3).task == "gsm8k"
    assert record_of("gsm8k?grading=exact")["grading"] == "exact"


def test_math500_and_hendrycks(tmp_path):
    rows = [
        {"problem": f"Find {i}.", "solution": rf"It is $\boxed{{{i}}}$.", "answer": str(i), "level": i % 5}
        for i in range(50)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    record = record_of(f"math500:{tmp_path}")
    assert record["questions"] == 50 and all(record["splits"].values())
    for part in ("train", "test"):
        for subject in ("algebra", "geometry"):
            (tmp_path / "h" / subject).mkdir(parents=True, exist_ok=True)
            frame = pd.DataFrame(
                {
                    "problem": [f"{part} {subject} {i}" for i in range(30)],
                    "solution": [
                        rf"First \boxed{{0}}, so \boxed{{\frac{{{i}}}{{7}}}} it is." for i in range(30)
                    ],
                }
            )
            frame.to_parquet(tmp_path / "h" / subject / f"{part}-00000-of-00001.parquet")
    name = f"hendrycks:{tmp_path / 'h'}"
    assert record_of(name)["questions"] == 120 and record_of(name)["unparsable_gold"] == 0
    problem = rm.load_task(name, n=1)[0]
    assert problem.answer == rf"\frac{{{problem.prompt.split()[3]}}}{{7}}"
    assert "First" in problem.data["solution"]


def test_one_file_is_split_by_its_questions_alone(tmp_path):
    gsm8k(200).to_parquet(tmp_path / "test.parquet")
    assert all(record_of(f"gsm8k:{tmp_path / 'test.parquet'}")["splits"].values())


def test_a_gold_answer_without_its_mark_is_counted(tmp_path):
    frame = gsm8k(100)
    frame.loc[:4, "answer"] = "it is 7"
    frame.to_parquet(tmp_path / "q.parquet")
    record = record_of(f"gsm8k:{tmp_path / 'q.parquet'}")
    assert (record["unanswered"], record["questions"]) == (5, 95)
    frame.loc[:5, "answer"] = "it is 7"
    frame.to_parquet(tmp_path / "q.parquet")
    with pytest.raises(DataError, match="6 of 100 gold answers"):
        record_of(f"gsm8k:{tmp_path / 'q.parquet'}")


def test_the_columns_of_another_data_set_are_named(tmp_path):
    gsm8k(3).to_parquet(tmp_path / "q.parquet")
    with pytest.raises(UnknownNameError, match="'problem'"):
        rm.load_task(f"math500:{tmp_path / 'q.parquet'}", n=1)


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("gsm8k", "openai/gsm8k"),
        ("math500", "HuggingFaceH4/MATH-500"),
        ("hendrycks", "EleutherAI/hendrycks_math"),
    ],
)
def test_a_hub_that_cannot_be_reached(cache, monkeypatch, name, hub):
    def unreachable(*args, **kwargs):
        raise ConnectionError(f"Couldn't reach '{hub}' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=f"{hub}: it is not at {cache / name}.*ConnectionError") as caught:
        rm.load_task(name, n=1)
    assert f"hf download {hub} --repo-type dataset" in caught.value.do
    assert f"--local-dir {cache / name}" in caught.value.do and f"{name}:PATH" in caught.value.allowed


def test_from_the_hub(cache, monkeypatch):
    def loaded(hub, config):
        assert (hub, config) == ("openai/gsm8k", "main")
        of_part = {"train": gsm8k(60), "test": gsm8k(40, "cows")}
        return {datasets.NamedSplit(part): frame.to_dict("records") for part, frame in of_part.items()}

    monkeypatch.setattr(datasets, "load_dataset", loaded)
    record = record_of("gsm8k")
    assert record["source"].endswith("openai/gsm8k") and len(record["sha256"]) == 64
    assert "cows" in rm.load_task("gsm8k", n=1)[0].prompt


def test_a_directory_without_files(tmp_path):
    with pytest.raises(DataError, match="holds no file of openai/gsm8k"):
        rm.load_task(f"gsm8k:{tmp_path}", n=1)
