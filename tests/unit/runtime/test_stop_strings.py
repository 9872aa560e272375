"""Stop strings: a row ends with the token that completes a text, on every tokenizer layout."""

import pytest

from reasonmech.errors import ArgumentError
from reasonmech.hosts.spelling import spelling_of
from reasonmech.runtime import Decode, generate
from tests.layouts import LAYOUTS, layout_host

PROMPTS = ("Okay.", "So it is 4. But wait")
LAYOUTS_RUN = [name for name in LAYOUTS if name != "words"]


@pytest.fixture(scope="module", params=LAYOUTS_RUN)
def layout_name(request: pytest.FixtureRequest) -> str:
    return request.param


def spelt(layout_name: str, ids: tuple[int, ...]) -> list[bytes]:
    spelling = spelling_of(layout_host(layout_name).tokenizer)
    return [spelling.piece(token).text for token in ids]


def decode(n: int, **settings: object) -> Decode:
    return Decode(max_new_tokens=n, temperature=1.5, seed=1, **settings)  # pyright: ignore[reportArgumentType]


def test_a_text_over_the_border_of_two_tokens_ends_the_row_with_the_second(layout_name: str) -> None:
    host = layout_host(layout_name)
    free = generate(host, PROMPTS, decode=decode(40), progress=False)
    tried = 0
    for row, prompt in zip(free, PROMPTS, strict=True):
        pieces = spelt(layout_name, row.ids)
        for i in range(len(pieces) - 1):
            left, right = pieces[i][-1:], pieces[i + 1][:1]
            if not (left and right and left < b"\x80" and right < b"\x80"):
                continue
            text = (left + right).decode()
            [cut] = generate(host, [prompt], decode=decode(40, stop_strings=(text,)), progress=False)
            # rows are told apart by their prompt, so the row alone draws what it drew beside the other
            written, end = b"", 0
            while text.encode() not in written:
                written += pieces[end]
                end += 1
            assert cut.ids == row.ids[:end] and cut.stop == "token", text
            tried += 1
            break
    assert tried, "no border between tokens was tried"


def test_rows_end_by_themselves_and_rows_without_the_text_go_on(layout_name: str) -> None:
    host = layout_host(layout_name)
    free = generate(host, PROMPTS, decode=decode(24), progress=False)
    first = b"".join(spelt(layout_name, free[0].ids))
    other = b"".join(spelt(layout_name, free[1].ids))
    text = next(
        (first[i : i + 3].decode("ascii") for i in range(len(first)) if _is_only_in(first, other, i)), None
    )
    if text is None:
        pytest.skip("the two rows share every three characters")
    cut = generate(host, PROMPTS, decode=decode(24, stop_strings=(text,)), progress=False)
    assert cut[0].stop == "token" and text.encode() in b"".join(spelt(layout_name, cut[0].ids))
    assert cut[1].ids == free[1].ids and cut[1].stop == free[1].stop


def _is_only_in(first: bytes, other: bytes, i: int) -> bool:
    part = first[i : i + 3]
    return len(part) == 3 and part.isascii() and part not in other


def test_a_text_that_began_in_the_prompt_does_not_count() -> None:
    host = layout_host("gemma")
    [free] = generate(host, ["So it is 4. But wait"], decode=decode(12), progress=False)
    begin = "wait" + b"".join(spelt("gemma", free.ids[:1])).decode(errors="ignore")
    [row] = generate(host, ["So it is 4. But wait"], decode=decode(12, stop_strings=(begin,)), progress=False)
    assert row.ids == free.ids


def test_an_empty_text_and_one_string_are_refused() -> None:
    with pytest.raises(ArgumentError):
        Decode(stop_strings=("",))
    with pytest.raises(ArgumentError):
        Decode(stop_strings="</think>")  # pyright: ignore[reportArgumentType]


def test_an_unused_setting_is_in_no_record() -> None:
    assert "stop_strings" not in Decode().model_dump(mode="json")
    assert Decode(stop_strings=("a",)).model_dump(mode="json")["stop_strings"] == ["a"]
