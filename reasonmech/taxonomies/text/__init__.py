"""Real text: sentences by offset, published taxonomies by words, and a language model as judge."""

from reasonmech.taxonomies.text import gandhi as _gandhi  # each registers itself
from reasonmech.taxonomies.text import venhoff as _venhoff
from reasonmech.taxonomies.text.annotation import Annotation, by_words, compare
from reasonmech.taxonomies.text.by_name import CategoryByWords
from reasonmech.taxonomies.text.cache import JudgeCache
from reasonmech.taxonomies.text.cut import TextSentence, cut, cut_by_pieces, text_trace, written_pieces
from reasonmech.taxonomies.text.first_token_kinds import FirstTokenKinds
from reasonmech.taxonomies.text.judge import Judge, JudgedText, judge_behaviours, judge_prompt, parse_answer
from reasonmech.taxonomies.text.offsets import token_offsets
from reasonmech.taxonomies.text.segmentation import CharSpan, segment
from reasonmech.taxonomies.text.taxonomy import Category, Taxonomy, taxonomies

__all__ = [
    "segment",
    "CharSpan",
    "token_offsets",
    "cut",
    "cut_by_pieces",
    "written_pieces",
    "TextSentence",
    "text_trace",
    "taxonomies",
    "Taxonomy",
    "Category",
    "by_words",
    "FirstTokenKinds",
    "CategoryByWords",
    "Annotation",
    "compare",
    "judge_behaviours",
    "Judge",
    "JudgedText",
    "JudgeCache",
    "judge_prompt",
    "parse_answer",
]
del _gandhi, _venhoff
