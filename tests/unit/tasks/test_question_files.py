"""Questions out of files: what is read, refused, counted, and which split it is in."""

import json
from typing import get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reasonmech as rm
from reasonmech.errors import ConfigError, CorruptFileError, DataError, UnknownNameError
from reasonmech.tasks import HasSource, Split, tasks
from reasonmech.tasks.questions.bank import QuestionColumns, make_bank, question_key
from reasonmech.tasks.questions.rows import QuestionSource, Row

SPLITS = get_args(Split)


def write(path, rows, **form):
    path.write_bytes(("\n".join(json.dumps(row, **form) for row in rows) + "\n").encode())
    return path


def sums(n, **more):
    return [{"question": f"What is {i} + {i}?", "answer": str(2 * i), **more} for i in range(n)]


def record_of(name):
    task = tasks.get(name)
    assert isinstance(task, HasSource)
    return task.record()


def all_of(name):
    """Every problem of every split."""
    counts = record_of(name)["splits"]
    return {split: list(rm.load_task(name, n=n, split=split)) for split, n in counts.items() if n}


def test_a_file_of_questions(tmp_path):
    path = write(tmp_path / "sums.jsonl", sums(200, level=3, tags=["a", None], licence="CC0"))
    name = f"jsonl:{path}"
    of_split = all_of(name)
    assert sum(map(len, of_split.values())) == 200 and set(of_split) == set(SPLITS)
    problem = of_split["test"][0]
    assert problem.prompt == f"Question: {problem.data['question']}\nAnswer:"
    assert problem.data["level"] == 3 and problem.data["tags"] == ["a", None]
    assert int(problem.answer) == 2 * int(problem.data["question"].split()[2])
    assert len({p.id for problems in of_split.values() for p in problems}) == 200
    record = record_of(name)
    assert record["licence"] == "CC0" and record["rows"] == record["questions"] == 200
    assert record["sha256"] == __import__("hashlib").sha256(path.read_bytes()).hexdigest()


def test_the_same_call_gives_the_same_problems_and_a_seed_others(tmp_path):
    name = f"jsonl:{write(tmp_path / 'q.jsonl', sums(200))}"
    once, again, other = (rm.load_task(name, n=10, seed=seed) for seed in (0, 0, 1))
    assert once.problems == again.problems != other.problems
    assert once.task == name


def test_neither_the_order_of_the_file_nor_new_rows_move_a_question(tmp_path):
    path = write(tmp_path / "q.jsonl", sums(100))
    before = {p.id: split for split, problems in all_of(f"jsonl:{path}").items() for p in problems}
    first = rm.load_task(f"jsonl:{path}", n=5)
    write(path, reversed(sums(100)))
    assert rm.load_task(f"jsonl:{path}", n=5).problems[0].id == first[0].id
    write(path, [*sums(100), {"question": "And 1 + 1?", "answer": "2"}])
    after = {p.id: split for split, problems in all_of(f"jsonl:{path}").items() for p in problems}
    assert before.items() < after.items()


def test_columns_by_name_and_one_that_is_not_there(tmp_path):
    path = write(tmp_path / "q.jsonl", [{"problem": f"{i} + 0 = ?", "gold": i} for i in range(40)])
    name = f"jsonl:{path}?question=problem&answer=gold&split=test"
    assert len(rm.load_task(name, n=40)) == 40
    with pytest.raises(UnknownNameError, match=r"unknown column of .* 'question'") as caught:
        rm.load_task(f"jsonl:{path}", n=1)
    assert caught.value.allowed == "problem, gold" and "question=COLUMN" in caught.value.do
    with pytest.raises(UnknownNameError, match="did you mean 'gold'"):
        rm.load_task(f"jsonl:{path}?question=problem&answer=golds", n=1)


def test_no_column_is_overwritten(tmp_path):
    path = write(tmp_path / "q.jsonl", [{"problem": "1 + 1?", "answer": 2, "where": "here", "question": "?"}])
    with pytest.raises(DataError, match="a column 'question' beside"):
        rm.load_task(f"jsonl:{path}?question=problem", n=1)
    write(path, [{"question": "1 + 1?", "answer": 2, "where": "here"}])
    assert rm.load_task(f"jsonl:{path}?split=test", n=1)[0].data["where"] == "here"


def test_parquet_is_read_as_json_lines_are(tmp_path):
    rows = sums(60, level=1.5, day=None)
    write(tmp_path / "q.jsonl", rows)
    pd.DataFrame(rows).to_parquet(tmp_path / "q.parquet")
    for one, other in zip(
        rm.load_task(f"jsonl:{tmp_path}/q.jsonl?split=test", n=60),
        rm.load_task(f"jsonl:{tmp_path}/q.parquet?split=test", n=60),
        strict=True,
    ):
        assert (one.id, one.prompt, one.answer, one.data["level"]) == (
            other.id,
            other.prompt,
            other.answer,
            other.data["level"],
        )


def test_a_byte_order_mark_crlf_blank_lines_and_line_separators(tmp_path):
    lines = [json.dumps(row, ensure_ascii=False) for row in sums(3)]
    lines.append(json.dumps({"question": "Was ist 1\u2028+ 1? 🙂 $x^2$", "answer": "2"}, ensure_ascii=False))
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    problems = rm.load_task(f"jsonl:{path}?split=test", n=4)
    assert {p.data["__where__"] for p in problems} == {f"q.jsonl, line {n}" for n in (1, 3, 5, 7)}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"question": "a", "answer": ', "line 2 is broken"),
        ('["a", "b"]', "line 2 is broken: it is no object but a list of 2"),
        ('{"question": "a", "answer": "1", "answer": "2"}', "line 2 is broken: .*twice"),
        ('{"question": "\\ud800", "answer": "1"}', "line 2 is broken"),
        ("\udcff", "line 2 is broken"),
        ('{"question": "a"}', "line 2: there is no 'answer'"),
        ('{"question": "a", "answer": null}', "line 2: 'answer' is None"),
        ('{"question": "a", "answer": ["1"]}', "line 2: 'answer' is a list"),
        ('{"question": "a", "answer": true}', "line 2: 'answer' is the truth value"),
        ('{"question": " ", "answer": "1"}', "line 2: 'question' is the string"),
        ('{"question": 7, "answer": "1"}', "line 2: 'question' is the integer"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path, line, why):
    path = tmp_path / "q.jsonl"
    path.write_bytes(f'{{"question": "b", "answer": "1"}}\n{line}\n'.encode(errors="surrogateescape"))
    with pytest.raises(CorruptFileError, match=why):
        rm.load_task(f"jsonl:{path}", n=1)


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"\n \n")
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and no more")
    pd.DataFrame({"question": [], "answer": []}).to_parquet(tmp_path / "none.parquet")
    pd.DataFrame({"question": ["a"], "answer": ["1"], "image": [b"x"]}).to_parquet(tmp_path / "bytes.parquet")
    for name, why in {
        "empty.jsonl": "holds no row",
        "none.parquet": "holds no row",
        "half.parquet": "is damaged parquet",
        "bytes.parquet": "row 1",
        "absent.jsonl": "cannot be read",
        "": "it is a directory",
    }.items():
        with pytest.raises(CorruptFileError, match=why):
            rm.load_task(f"jsonl:{tmp_path}/{name}", n=1)


def test_numbers_are_answers(tmp_path):
    rows = [{"question": f"{i}?", "answer": answer} for i, answer in enumerate((4, 0.5, -3, 1e22, "7"))]
    path = write(tmp_path / "q.jsonl", rows)
    answers = {p.answer for p in rm.load_task(f"jsonl:{path}?split=test", n=5)}
    assert answers == {"4", "0.5", "-3", "1e+22", "7"}


def test_gold_answers_that_cannot_be_read_are_counted_and_above_five_percent_refused(tmp_path):
    few = [*sums(95), *({"question": f"who {i}?", "answer": "no idea"} for i in range(5))]
    path = write(tmp_path / "q.jsonl", few)
    record = record_of(f"jsonl:{path}")
    assert record["unparsable_gold"] == 5 and record["questions"] == 100
    write(path, [*few, {"question": "who else?", "answer": "???"}])
    with pytest.raises(DataError, match=r"6 of 101 gold answers of .*cannot be read") as caught:
        rm.load_task(f"jsonl:{path}", n=1)
    assert "line 96: 'no idea'" in str(caught.value) and "grading=exact" in caught.value.do
    assert record_of(f"jsonl:{path}?grading=exact")["questions"] == 101


def test_questions_without_an_answer_are_counted_and_left_out(tmp_path):
    path = write(tmp_path / "q.jsonl", [*sums(99), {"question": "who?", "answer": " "}])
    record = record_of(f"jsonl:{path}")
    assert (record["unanswered"], record["unparsable_gold"], record["questions"]) == (1, 0, 99)
    write(path, [{"question": "who?", "answer": ""}])
    with pytest.raises(DataError, match="1 of 1 gold answers"):
        rm.load_task(f"jsonl:{path}?grading=exact", n=1)


def test_published_answers_without_their_mark_are_missing_and_the_mark_is_named(tmp_path):
    path = write(tmp_path / "q.jsonl", sums(3))
    with pytest.raises(
        DataError, match=r"3 of 3 gold answers .* are missing: there is no '#### 42'"
    ) as caught:
        rm.load_task(f"gsm8k:{path}", n=1)
    assert "answer=COLUMN" in caught.value.do and "exact" not in caught.value.do
    assert len(rm.load_task(f"gsm8k:{path}?answer=answer&split=test", n=3)) == 3


def test_what_is_done_about_too_few_questions_can_be_done(tmp_path):
    path = write(tmp_path / "q.jsonl", sums(30))
    with pytest.raises(DataError) as caught:
        rm.load_task(f"jsonl:{path}", n=40)
    name = caught.value.do.rpartition(": ")[2]
    assert len(rm.load_task(name, n=30)) == 30
    with pytest.raises(DataError, match="50 problems") as caught:
        rm.load_task(name, n=50)
    assert "split=test puts all of them" in caught.value.do and "&split" not in caught.value.do


def test_a_table_of_another_form_is_called_no_json_lines(tmp_path):
    (tmp_path / "q.csv").write_text("question,answer\n1?,2\n")
    with pytest.raises(CorruptFileError) as caught:
        rm.load_task(f"jsonl:{tmp_path / 'q.csv'}", n=1)
    assert "neither" in caught.value.do


def test_duplicates_are_one_question_and_contradictions_none(tmp_path):
    rows = [
        *sums(40),
        {"question": "what  is 3 + 3?", "answer": "6"},  # white space and case make no other question
        {"question": "What is 4 + 4?", "answer": "9"},
    ]
    path = write(tmp_path / "q.jsonl", rows)
    record = record_of(f"jsonl:{path}?split=test")
    assert (record["rows"], record["questions"]) == (42, 39)
    assert (record["duplicates"], record["contradictory"]) == (1, 2)
    questions = [p.data["question"] for p in rm.load_task(f"jsonl:{path}?split=test", n=39)]
    assert len(set(questions)) == 39 and "What is 4 + 4?" not in questions


def test_more_than_there_are_says_how_many_there_are(tmp_path):
    path = write(tmp_path / "q.jsonl", sums(12))
    with pytest.raises(DataError, match="12 problems of split 'test'") as caught:
        rm.load_task(f"jsonl:{path}", n=12)
    assert "train" in caught.value.allowed and f"jsonl:{path}?split=test" in caught.value.do
    assert len(rm.load_task(f"jsonl:{path}?split=test", n=12)) == 12
    with pytest.raises(DataError, match="12 problems of split 'train'"):
        rm.load_task(f"jsonl:{path}?split=test", n=12, split="train")


def test_options_that_are_wrong(tmp_path):
    path = write(tmp_path / "q.jsonl", sums(12))
    for options, error, why in (
        ("gradnig=exact", UnknownNameError, "did you mean 'grading'"),
        ("grading=fuzzy", UnknownNameError, "unknown grading"),
        ("split=dev", UnknownNameError, "unknown split"),
        ("grading", ConfigError, "without a value"),
        ("grading=math&grading=exact", ConfigError, "twice"),
        ("deadline=0", ConfigError, "deadline=0"),
        ("deadline=soon", ConfigError, "deadline=soon"),
        ("deadline=inf", ConfigError, "deadline=inf"),
    ):
        with pytest.raises(error, match=why):
            tasks.get(f"jsonl:{path}?{options}")
    with pytest.raises(ConfigError, match="names no file"):
        tasks.get("jsonl")
    with pytest.raises(UnknownNameError, match=r"unknown task 'gsm9k'.*did you mean 'gsm8k'"):
        tasks.get("gsm9k")


def test_a_question_mark_may_be_part_of_a_files_name(tmp_path):
    path = write(tmp_path / "what?.jsonl", sums(12))
    assert record_of(f"jsonl:{path}")["questions"] == 12


def test_a_file_that_changes_is_read_again(tmp_path):
    path = write(tmp_path / "q.jsonl", sums(12))
    before = record_of(f"jsonl:{path}")
    write(path, sums(14))
    after = record_of(f"jsonl:{path}")
    assert (before["questions"], after["questions"]) == (12, 14) and before["sha256"] != after["sha256"]


QUESTIONS = st.text(min_size=1, max_size=20).filter(str.strip)


def bank_of(rows, split=None):
    source = QuestionSource("here", "", tuple(rows))
    columns = QuestionColumns()
    return make_bank.__wrapped__(source, columns, gold_of=str.strip, seconds=None, split=split)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(QUESTIONS, st.sampled_from(["", "train", "test"])), min_size=1, max_size=30))
def test_no_question_is_in_two_splits_whatever_parts_it_stands_in(posed):
    posed = [*posed, *((f" {question.upper()}", part) for question, part in posed)]
    rows = [Row(str(i), {"question": q, "answer": "1"}, part) for i, (q, part) in enumerate(posed)]
    bank = bank_of(rows)
    keys = [question_key(question.text) for question in bank.questions]
    assert len(set(keys)) == len(keys) == len({question.digest for question in bank.questions})
    assert set(keys) == {question_key(question) for question, _ in posed}
    assert bank.duplicates == len(rows) - len(keys)
    assert {q.digest: q.split for q in bank_of(rows[::-1]).questions} == {
        q.digest: q.split for q in bank.questions
    }
    assert sum(len(bank.of_split(split)) for split in SPLITS) == len(keys)


def test_published_parts_keep_to_their_splits():
    rows = [
        Row(str(i), {"question": f"q{i}", "answer": "1"}, "test" if i % 3 else "train") for i in range(300)
    ]
    split = {question.text: question.split for question in bank_of(rows).questions}
    for row in rows:
        allowed = ("test", "confirmation") if row.part == "test" else ("train", "tuning")
        assert split[row.fields["question"]] in allowed
    assert set(split.values()) == set(SPLITS)
