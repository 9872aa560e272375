"""venhoff: six categories of sentences in reasoning chains (Venhoff et al. 2025), with words that mark
them."""

from __future__ import annotations

from reasonmech.taxonomies.text.taxonomy import Category, Taxonomy, taxonomies

# Meanings are quoted from the prompt with which the paper has a language model annotate. The patterns are
# ours.
INITIALIZING = Category(
    "initializing",
    "The model is rephrasing the given task and states initial thoughts.",
    (
        r"^(?:okay|ok|alright|all right|right)\b[,.!]?(?: so\b,?)? (?:i|we|let's|let me|the|here|this)\b",
        r"\b(?:the|this) (?:problem|question|task) (?:asks?|is asking|says|states|wants|gives|is about)\b",
        r"\b(?:i'm|i am|we're|we are) (?:given|asked|told)\b",
        r"\b(?:i|we) (?:need|have) to (?:find|figure out|determine|compute|calculate|solve|prove|show)\b",
        r"^(?:so,? |first,? )?(?:let me|let's) (?:understand|restate|parse|read (?:the|this)|see what)\b",
    ),
)
DEDUCTION = Category(
    "deduction",
    "The model is performing a deduction step based on its current approach and assumptions.",
    (
        r"^(?:so|then)\b,?(?! (?:i|we) (?:need|have) to)(?! (?:let "
        r"me|let's|maybe|perhaps|what|how|why|is|does)\b)",
        r"\b(?:therefore|thus|hence|consequently|it follows that)\b",
        r"\bwhich (?:means|implies|gives|gets us|simplifies to)\b",
        r"\b(?:this|that|it) (?:means|implies|gives|simplifies to|reduces to|yields)\b",
        r"^(?:since|because) [^?]*,",
    ),
)
ADDING_KNOWLEDGE = Category(
    "adding-knowledge",
    "The model is enriching the current approach with recalled facts.",
    (
        r"\b(?:i|we) (?:remember|recall|know) (?!what|if|whether|how)",
        r"\b(?:recall|remember|note) that\b",
        r"\b(?:by|from|using) (?:the )?(?:definition|(?:[\w']+ "
        r")?(?:formula|law|theorem|identity|inequality|lemma))\b",
        r"\bthe (?:formula|definition) (?:for|of)\b[^?]*\b(?:is|says|states)\b",
        r"\b(?:is|are) (?:defined as|known as|(?:a )?well[- ]known)\b",
    ),
)
EXAMPLE_TESTING = Category(
    "example-testing",
    "The model generates examples to test its current approach.",
    (
        r"\bfor (?:example|instance)\b",
        r"\b(?:let's|let me|we can|i can|i'll|we'll) (?:try|test|plug in|substitute|take) "
        r"(?!a different|another|again|to\b|something|using)",
        r"\b(?:test|check|try) (?:this|it|that|the \w+) (?:with|on|for) (?:a |an |some |small |\$?[a-z] ?=)",
        r"\b(?:suppose|say|let|if) \$?[a-z]\$? ?(?:=|is|equals|be) ?\$?-?\d",
    ),
)
UNCERTAINTY_ESTIMATION = Category(
    "uncertainty-estimation",
    "The model is stating its own uncertainty.",
    (
        r"\b(?:i'm|i am|we're|we are) (?:not (?:\w+ "
        r")?(?:sure|certain|confident)|unsure|uncertain|confused)\b",
        r"\bi (?:think|guess|suppose|believe|might|may)\b",
        r"\b(?:maybe|perhaps|possibly|probably)\b",
        r"^h+m+\b",
        r"\b(?:is|does) (?:that|this|it) (?:right|correct|make sense)\b",
    ),
)
BACKTRACKING = Category(
    "backtracking",
    "The model decides to change its approach.",
    (
        r"(?:^|[,;.!?—–-] ?)(?:but |oh,? |hmm,? |no,? |hold on,? )?wait\b(?! (?:for|until|till)\b)",
        r"\b(?:try|use|take|consider|start) (?:a different|another|something else|over|again|from scratch)\b",
        r"\b(?:alternatively|on second thought|scratch that|going back|go back|backtrack)\b",
        r"\b(?:that|this|it)(?:'s| is| was| seems| looks) (?:wrong|incorrect|not (?:right|correct))\b",
        r"\b(?:that|this|it) (?:isn't|wasn't|can't be|cannot be|doesn't|won't|didn't) "
        r"(?:right|correct|work)\b",
        r"\bi (?:must have )?(?:made|make) (?:a|an) (?:\w+ )?(?:mistake|error)\b",
    ),
)

taxonomies.register("venhoff")(
    Taxonomy(
        name="venhoff",
        source="Venhoff, Arcuschin, Torr, Conmy and Nanda 2025, Understanding Reasoning in Thinking "
        "Language Models "
        "via Steering Vectors, arXiv:2506.18167",
        categories=(
            INITIALIZING,
            DEDUCTION,
            ADDING_KNOWLEDGE,
            EXAMPLE_TESTING,
            UNCERTAINTY_ESTIMATION,
            BACKTRACKING,
        ),
    )
)
