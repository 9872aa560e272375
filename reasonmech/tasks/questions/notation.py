"""Notation: how an answer is written before it is compared, so that signs that look alike are alike."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from reasonmech.door import checked

_AROUND: Final = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_MINUS: Final = dict.fromkeys("−﹣－", "-")
_WIDE: Final = {chr(0xFF10 + digit): str(digit) for digit in range(10)}
_WIDE_SIGNS: Final = dict(zip("，．％（）＋／＝", ",.%()+/=", strict=True))
_NAMED: Final = {
    sign: rf"\{name} "
    for sign, name in zip("×·÷∞≤≥≠π", ("times", "cdot", "div", "infty", "le", "ge", "ne", "pi"), strict=True)
}
_SIGNS: Final = str.maketrans({**_MINUS, **_WIDE, **_WIDE_SIGNS, **_NAMED, "°": r"^\circ"})
_RAISED: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_POWER: Final = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_ROOT: Final = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[^\W\d_]))")
_GAP: Final = r"(?:,|\{,\}|\\,|\\!,|[ \u00a0\u2009\u202f])"
_THOUSANDS: Final = re.compile(rf"(?<![\w.,])[1-9]\d{{0,2}}(?:{_GAP}\d{{3}})+(?![\d\w])")
_SCIENTIFIC: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?!\w)")
_NUMBER: Final = re.compile(r"[-+]?\\?\$?(?:\d+(?:\.\d*)?|\.\d+)(?:\s?/\s?\d+)?\s?\\?%?")
_TEXT: Final = re.compile(r"\\(?:text|textbf|textit|mbox|mathrm|operatorname)\s*\{([^{}]*)\}")
_WORDS: Final = re.compile(r"[^\W\d_]+(?:[\s/'’.,-]+[^\W\d_]+)*[.!?]?")
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_SHORT_WORDS: Final = ("no", "ok")
_DATE: Final = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{4}"
)  # no difference of numbers
_SHORTEST: Final = 3  # letters of a word: of fewer it may be a product ("ab") or a number ("pi")
_LONGEST_WIDE: Final = 0x2E80  # from here on a single character may be a word


@checked
def plain_notation(text: str) -> str:
    r"""An answer as LaTeX in ASCII where Unicode has signs for it: "−5" is "-5", "½" is "\frac{1}{2}".

    Thousands are written without gaps ("1,000", "1 000", "1{,}000" are "1000"), 1e5 is 1\times 10^{5}; signs
    of a formula around the whole ($x$) and a full stop behind it go.
    """
    plain = unicodedata.normalize("NFC", text).translate(_SIGNS).strip()
    plain = plain[:-1].rstrip() if plain.endswith((".", "。")) else plain
    for opening, closing in _AROUND:
        inner = plain[len(opening) : -len(closing)]
        if plain == f"{opening}{inner}{closing}" and inner and "$" not in inner:
            plain = inner.strip()
            break
    plain = re.sub(r"^\\?\$\s*(?=[\d.])", "", plain)  # dollars
    plain = "".join(map(_without_vulgar_fraction, plain))
    plain = _POWER.sub(lambda m: f"^{{{m[0].translate(_RAISED)}}}", plain)
    plain = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] if m[1] is not None else m[2]}}}", plain)
    plain = _THOUSANDS.sub(lambda m: re.sub(r"\D", "", m[0]), plain)
    return _SCIENTIFIC.sub(r"\1\\times 10^{\2}", plain).strip()


@checked
def is_number(text: str) -> bool:
    """Whether it is one number: digits, a point, a sign, "1/2", "50%", "$5"."""
    return bool(_NUMBER.fullmatch(plain_notation(text)))


@checked
def plain_words(text: str) -> str:
    r"""Words without what stands around them: "\text{Even}." is "even"."""
    words = _TEXT.sub(r"\1", plain_notation(text))
    return " ".join(words.casefold().rstrip(".").split())


@checked
def is_words(text: str) -> bool:
    r"""Whether it is words and no formula: "Paris", "\text{even}", or a date. One letter, or two, may be a
    variable, but for "no"."""
    words = plain_words(text)
    if words in _SHORT_WORDS or _DATE.fullmatch(words):
        return True
    if not _WORDS.fullmatch(words):
        return False
    letters = _LETTERS.findall(words)
    return len(letters) > 1 or len(letters[0]) >= _SHORTEST or ord(letters[0][0]) >= _LONGEST_WIDE


def _without_vulgar_fraction(character: str) -> str:
    """ "½" as "\\frac{1}{2}"; anything else as it is."""
    parts = unicodedata.decomposition(character).split()
    if parts[:1] != ["<fraction>"] or "2044" not in parts:
        return character
    over, under = "".join(chr(int(part, 16)) for part in parts[1:]).split("\u2044")
    return rf"\frac{{{over}}}{{{under}}}" if under else character
