"""Real text: sentences of reasoning traces by offset, published taxonomies by words, and a language model as judge."""

from reasonmech.text import gandhi as _gandhi  # each registers itself
from reasonmech.text import venhoff as _venhoff
from reasonmech.text.annotation import Annotation, by_words, compare
from reasonmech.text.cache import JudgeCache
from reasonmech.text.cut import CutRollout, TextSentence, cut
from reasonmech.text.judge import Judge, Judgement, judge_behaviours, judge_prompt, parse_answer
from reasonmech.text.offsets import token_offsets
from reasonmech.text.sentences import CharSpan, segment
from reasonmech.text.taxonomy import Category, Taxonomy, taxonomies

__all__ = [
    "segment",
    "CharSpan",
    "token_offsets",
    "cut",
    "CutRollout",
    "TextSentence",
    "taxonomies",
    "Taxonomy",
    "Category",
    "by_words",
    "Annotation",
    "compare",
    "judge_behaviours",
    "Judge",
    "Judgement",
    "JudgeCache",
    "judge_prompt",
    "parse_answer",
]
del _gandhi, _venhoff
