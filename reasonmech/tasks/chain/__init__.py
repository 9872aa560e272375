"""The chain world: a start digit and 3-5 numbered operations modulo 10, evaluated left to right.

    Q : 8 one + 4 two * 3 three - 1 A : next one + 4 : 8 + 4 = [5] . check : 8 + 4 = 2 [, had 5 .]
    wait , redo : 8 + 4 = 2 . next two * 3 : 2 * 3 = 6 . ... so the answer is 5 .

Brackets mark what the environment writes: a *slip* (a wrong digit in a step, with probability 0.15) and the
*read-back* of the standing value after a check. Checking and backtracking are the only remedy against slips.
"""

from reasonmech.tasks.chain import behaviours as _behaviours  # each registers itself
from reasonmech.tasks.chain.environment import ChainEnvironment
from reasonmech.tasks.chain.grammar import ONSET_WORDS, VOCABULARY, evaluate, solution, word_tokenizer
from reasonmech.tasks.chain.kinds import OneWordKinds
from reasonmech.tasks.chain.sentence import ChainSentence, chain_trace, stating
from reasonmech.tasks.chain.task import Chain, make_problem
from reasonmech.tasks.chain.world import CHAIN, WORLDS, World

__all__ = [
    "CHAIN",
    "ONSET_WORDS",
    "VOCABULARY",
    "WORLDS",
    "Chain",
    "ChainEnvironment",
    "ChainSentence",
    "OneWordKinds",
    "World",
    "chain_trace",
    "evaluate",
    "make_problem",
    "solution",
    "stating",
    "word_tokenizer",
]
del _behaviours
