"""gandhi: four cognitive behaviours (Gandhi et al. 2025), and planning beside them, with words that mark
them."""

from __future__ import annotations

from reasonmech.taxonomies.text.taxonomy import Category, Taxonomy, taxonomies

# Meanings follow the paper's introduction. The paper counts with a language model, on Countdown; the patterns
# are ours.
VERIFICATION = Category(
    "verification",
    "The systematic checking of intermediate results.",
    (
        r"\b(?:let me|let's|i'll|we'll|i should|we should|to) (?:\w+ )?(?:verify|double[- "
        r"]check|check|confirm)\b",
        r"^(?:check(?:ing)?|verif(?:y|ying|ication))\b[:, ]",
        r"\b(?:this|that|it) (?:works|checks out|matches|is correct)\b",
        r"\b(?:which )?(?:is not|isn't|does not|doesn't) (?:equal|match)\b",
        r"\bplug(?:ging)? (?:it|this|that|these|them|back)\b.*\b(?:back|in|into)\b",
    ),
)
BACKTRACKING = Category(
    "backtracking",
    "The explicit revision of approaches when errors are detected.",
    (
        r"(?:^|[,;.!?—–-] ?)(?:but |oh,? |hmm,? |no,? |hold on,? )?wait\b(?! (?:for|until|till)\b)",
        r"\b(?:try|use|take|consider|start) (?:a different|another|something else|over|again|from scratch)\b",
        r"\b(?:this|that|the) (?:approach|way|path|method|attempt)? ?(?:won't|doesn't|didn't|does not) "
        r"work\b",
        r"\b(?:go(?:ing)? back|backtrack(?:ing)?|start(?:ing)? over|on second thought|scratch that)\b",
        r"\bi (?:must have )?(?:made|make) (?:a|an) (?:\w+ )?(?:mistake|error)\b",
    ),
)
SUBGOAL_SETTING = Category(
    "subgoal-setting",
    "A complex problem is broken down into manageable steps.",
    (
        r"\b(?:we|i) (?:first|then|next) (?:need|have|want) to\b",
        r"^(?:first|second|third|next|finally|lastly)(?:ly)?,? (?:we|i|let's|let "
        r"me|find|compute|determine)\b",
        r"\b(?:break|split|divide) (?:it|this|that|the problem|things) (?:down|up|into)\b",
        r"^\W*step \w+\b",
        r"\b(?:sub-?goal|sub-?problem|intermediate (?:goal|target|step))s?\b",
    ),
)
BACKWARD_CHAINING = Category(
    "backward-chaining",
    "In a goal-directed problem, the solution works backwards from a desired outcome.",
    (
        r"\b(?:work|working|reason|reasoning|go|going) backwards?\b",
        r"\b(?:start|starting|begin|beginning) (?:from|with) the "
        r"(?:target|goal|answer|result|conclusion|end)\b",
        r"\bto (?:reach|get(?: to)?|obtain|arrive at|make) (?:the target|the goal|\$?-?\d+\$?),? (?:of \d+, "
        r")?"
        r"(?:we|i)(?:'d| would)? (?:need|must|could use)\b",
        r"\bwhat (?:we|i) (?:want|need) to (?:show|prove|get|reach) is\b",
    ),
)
PLANNING = Category(
    "planning",
    "What will be done is laid out before it is done.",
    (
        r"\b(?:my|the|our|a) (?:plan|strategy) (?:is|will be|would be|here is)\b",
        r"\b(?:i|we) (?:plan|intend|am going|are going) to\b",
        r"\b(?:i'm|we're) going to\b",
        r"\b(?:here's|here is) (?:how|what) (?:i|we)(?:'ll| will| can)\b",
        r"\bi(?:'ll| will) (?:start|begin) (?:by|with)\b",
    ),
)

taxonomies.register("gandhi")(
    Taxonomy(
        name="gandhi",
        source="Gandhi, Chakravarthy, Singh, Lile and Goodman 2025, Cognitive Behaviors that Enable "
        "Self-Improving "
        "Reasoners, arXiv:2503.01307; planning, which is none of its four, is ours",
        categories=(VERIFICATION, BACKTRACKING, SUBGOAL_SETTING, BACKWARD_CHAINING, PLANNING),
    )
)
