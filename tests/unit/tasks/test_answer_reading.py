"""Which answer is read off a text, and how it is written for comparison."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.tasks.questions.notation import is_number, is_words, plain_notation
from reasonmech.tasks.questions.reading import read_answer

READ = {
    r"So \boxed{5}.": "5",
    r"\boxed{\frac{1}{2}}": r"\frac{1}{2}",
    r"\boxed{3} and then \boxed{4}": "4",
    r"\boxed{\boxed{5}}": "5",
    r"\boxed{\{1, 2\}}": r"\{1, 2\}",
    r"\fbox{7}": "7",
    r"\boxed 8$": "8",
    r"<think>maybe \boxed{5}, no</think> The answer is 7.": "7",
    r"<think>\boxed{5}</think> 6": "6",
    r"<think>a</think>b<think>\boxed{1}</think>\boxed{2}": "2",
    "The answer is 5.": "5",
    "The answer is: 5": "5",
    "The answer is 5. The answer is 6.": "6",
    "**Answer:** 5": "5",
    "**Final Answer**: 5": "5",
    "The final answer is **5**.": "5",
    "the answer to the question is 5.5.": "5.5",
    "The answer is $\\frac{1}{2}$ because $x = 1$.": r"\frac{1}{2}",
    "The answer is:\n\n5\n": "5",
    "The answer is 5 apples.": "5 apples",
    "The answer is that John has 5 apples left.": "5",
    "The answer is -5": "-5",
    "The answer is 12, not 13.": "12",
    "The answer is 5 (see step 2).": "5",
    "The answer is 3 apples in 2 baskets.": "3",
    "The answer is 10 dollars and 50 cents": "10",
    "The answer is $1,200 because 3 of 8 are gone.": "$1,200",
    "The answer is 5 x 3 = 15 apples": "5 x 3 = 15 apples",
    "The answer is 12, 13": "12, 13",
    "The answer is 3 and 5.": "3 and 5",
    "The answer is 2 sqrt 3": "2 sqrt 3",
    "The answer is 2. The answer is the number of legs.": "2",
    "The answer is 2. This answer is correct.": "2",
    "The answer is x. The answer is C.": "C",
    "The answer is \\pi. That answer is exact.": r"\pi",
    "The answer is (1, 2).": "(1, 2)",
    "Die Antwort ist 5.": "5",
    "Antwort: 5": "5",
    "La réponse est 5.": "5",
    "La respuesta es 5.": "5",
    "答案是 5。": "5",
    "答案：5": "5",
    "<answer>5</answer>": "5",
    "<answer> 1 2\n3 4 </answer>": "1 2\n3 4",
    "2 + 2 = 4\n#### 42": "42",
    "#### 1,000\n": "1,000",
    "So it is 3 and then 4.": "4",
    "8-7": "7",
    "x=-7": "-7",
    "it is 1,000 dollars": "1,000",
    "so 12.50 in all.": "12.50",
    "that is 50%": "50%",
    "half, 1/2 of it": "1/2",
    "−7": "−7",
    "so $x = \\frac{1}{2}$.": r"\frac{1}{2}",
    "so \\(\\sqrt{2}\\)": r"\sqrt{2}",
    "so \\frac{1}{2}": r"\frac{1}{2}",
    "it costs $5 and $10": "10",
    "🙂 it is 5 🙂": "5",
    "5\nQuestion: What is 3 + 4?\nAnswer: 7": "5",
    # an answer that was begun and not finished, or left empty, is none
    r"So 5, \boxed{5": None,
    r"\boxed{4} or rather \boxed{5": None,
    r"5 \boxed{}": None,
    r"5 \boxed{ }": None,
    "<think>5</think>": None,
    "<answer></answer>": None,
    "": None,
    "  \n": None,
    "no idea": None,
    "####": None,
    "The answer is": None,
}


@pytest.mark.parametrize(("text", "answer"), READ.items())
def test_the_answer_that_is_read(text, answer):
    assert read_answer(text) == answer


def test_a_box_goes_before_a_phrase_and_that_before_a_mark():
    assert read_answer("#### 1\nThe answer is 2, \\boxed{3} 4") == "3"
    assert read_answer("#### 1\nThe answer is 2.\n4") == "2"
    assert read_answer("#### 1\nthen 4") == "1"


def test_without_a_mark_the_last_line_is_read_where_no_number_is_meant():
    assert read_answer("I think 3 times.\nParis\n", last="line") == "Paris"
    assert read_answer("The answer is Paris.", last="line") == "Paris"
    assert read_answer(" \n", last="line") is None


@settings(max_examples=200, deadline=None)
@given(st.text(), st.sampled_from(["number", "line"]))
def test_any_text_can_be_read(text, last):
    answer = read_answer(text, last=last)
    assert answer is None or (answer.strip() == answer and answer)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab \n\\${}<>#.5"), st.integers(0, 10**9))
def test_a_last_box_is_read_whatever_stands_before_it(text, number):
    assert read_answer(f"{text}\n\\boxed{{{number}}} and so on") == str(number)


PLAIN = {
    "−5": "-5",
    "1 000": "1000",
    "1\u202f000\u202f000": "1000000",
    r"1\,000": "1000",
    "1{,}000": "1000",
    "1,000": "1000",
    "(1,000)": "(1000)",
    "2,3": "2,3",
    "1e5": r"1\times 10^{5}",
    "1.5E-3": r"1.5\times 10^{-3}",
    "½": r"\frac{1}{2}",
    "2½": r"2\frac{1}{2}",
    "3√2": r"3\sqrt{2}",
    "√(x+1)": r"\sqrt{x+1}",
    "x²": "x^{2}",
    "3×4": r"3\times 4",
    "５": "5",
    "$5$": "5",
    "$5": "5",
    r"\$5.": "5",
    " 5 ": "5",
    r"\(5\)": "5",
}


@pytest.mark.parametrize(("text", "plain"), PLAIN.items())
def test_notation(text, plain):
    assert plain_notation(text) == plain


def test_what_is_a_number_and_what_is_words():
    assert all(map(is_number, ("5", "-5", "1,000", "0.5", ".5", "1/2", "50%", "$5", "1 000")))
    assert not any(map(is_number, ("", "x", "1,00", "5 cm", "--5", "1..2", "five", r"\frac{1}{2}")))
    assert all(map(is_words, ("no", "2024-01-05", "5/12/2024")))
    assert all(
        map(
            is_words,
            (
                "Paris",
                r"\text{Evelyn}",
                "see solution",
                "巴黎市",
                "n/a",
                "not a number",
            ),
        )
    )
    assert not any(map(is_words, ("x", "C", r"\text{(C)}", "5 cm", "x+y", r"\pi", "pi", "", "5", "ab")))
