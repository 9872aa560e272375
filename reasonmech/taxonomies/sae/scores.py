"""score_taxonomy: how complete, consistent and independent the categories of sentences are, without a
judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from torch import Tensor

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.ranges import Positive, Seed
from reasonmech.stats import DRAWS, SHARE, bootstrap_weights, mean_interval
from reasonmech.taxonomies.sae.sentences import Halves, SentenceSource
from reasonmech.taxonomies.sae.taxonomy import NONE, SentenceTaxonomy

if TYPE_CHECKING:
    import pandas as pd

WORD: Final = r"\S+"
LEVEL: Final = (0.025, 0.975)


@checked
def score_taxonomy(
    taxonomy: SentenceTaxonomy,
    acts: SentenceSource,
    *,
    sentences: Halves,
    draws: Positive = DRAWS,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Score a taxonomy on held-out problems, with intervals by problem.

    The paper (arXiv 2510.07364, section 2.2) has a language model say all three; `judge_taxonomy` does that.
    Here:

    - completeness: mean of 1 - ||z - z'||^2 over sentences, the share of a sentence (of norm 1) that its
    latents say.
    - assigned: share of sentences with any active latent.
    - consistency: macro F1 of naive Bayes on the words of a sentence, learnt on the training half, telling
    its
      category: can a description in words find the members? Categories that no held-out sentence has are left
          out.
    - consistency_shuffled: the same where the categories of the training half were shuffled: its null.
    - independence: 1 - mean |cos| of the decoder rows, over pairs of latents. It is of the weights: no
    interval.

    Args:
        acts: activations of the rollouts of both halves.
        sentences: what the taxonomy was trained on, and other problems.

    Returns:
        One row per metric: latents, metric, value, low, high (NaN where there is no interval), unit, by,
            n_sentences,
        n_problems.

    Raises:
        DataError: fewer than two categories occur on either side. MismatchError: activations of another
            model.
    """
    import pandas as pd

    train, held_out = sentences
    means = taxonomy.means(acts, held_out)
    z = taxonomy.rows(means)
    unexplained = (z - taxonomy.coder.decode(taxonomy.codes(means))).pow(2).sum(-1)
    categories = taxonomy.categories(means).numpy()
    known = taxonomy.categories(taxonomy.means(acts, train)).numpy()
    shuffled = np.random.default_rng(seed).permutation(known)
    predictions = {
        "consistency": predict_from_words(train.text, known, held_out.text),
        "consistency_shuffled": predict_from_words(train.text, shuffled, held_out.text),
    }
    rows = [
        (
            "completeness",
            *mean_interval((1 - unexplained).numpy(), held_out.problem, bounds=None, draws=draws, seed=seed)[
                :3
            ],
            "share",
        ),
        (
            "assigned",
            *mean_interval(
                (categories != NONE).astype(float), held_out.problem, bounds=SHARE, draws=draws, seed=seed
            )[:3],
            "share",
        ),
        *(
            (name, *macro_f1(categories, predicted, held_out.problem, draws=draws, seed=seed), "F1")
            for name, predicted in predictions.items()
        ),
        (
            "independence",
            independence(taxonomy.coder.rows(range(taxonomy.n))),
            np.nan,
            np.nan,
            "1 - |cosine|",
        ),
    ]
    frame = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "unit"])
    frame.insert(0, "latents", taxonomy.n)
    return frame.assign(by="words", n_sentences=len(held_out), n_problems=len(np.unique(held_out.problem)))


def predict_from_words(known_text: tuple[str, ...], known: np.ndarray, text: tuple[str, ...]) -> np.ndarray:
    """Categories that multinomial naive Bayes on words gives to other sentences: [sentence].

    Raises:
        DataError: fewer than two categories to learn.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    has_category = known != NONE
    if len(np.unique(known[has_category])) < 2:
        raise DataError(
            "fewer than two categories occur", do="train longer, on more sentences, or with more latents"
        )
    counter = CountVectorizer(token_pattern=WORD)
    counts = counter.fit_transform([text for text, has in zip(known_text, has_category, strict=True) if has])
    return MultinomialNB().fit(counts, known[has_category]).predict(counter.transform(text))


def macro_f1(
    true: np.ndarray, predicted: np.ndarray, problems: np.ndarray, *, draws: int, seed: int
) -> tuple[float, float, float]:
    """Mean F1 over the categories that occur, with its 95 % bootstrap interval by problem.

    Sentences without a category count for none; a category that was predicted for them is wrong.

    Raises:
        DataError: fewer than two categories occur.
    """
    names = np.unique(true[true != NONE])
    if len(names) < 2:
        raise DataError("fewer than two categories occur in held-out sentences", do="hold more problems out")
    _, code = np.unique(problems, return_inverse=True)
    is_true, is_predicted = true[:, None] == names, predicted[:, None] == names
    per_row = np.stack([is_true & is_predicted, is_true ^ is_predicted], axis=-1).reshape(len(true), -1)
    counts = np.zeros((code.max() + 1, per_row.shape[1]))
    np.add.at(counts, code, per_row)

    def f1(sums: np.ndarray) -> np.ndarray:
        hit, wrong = np.moveaxis(sums.reshape(len(sums), -1, 2), -1, 0)
        with np.errstate(invalid="ignore"):  # a draw may hold no sentence of a category
            return np.nanmean(2 * hit / (2 * hit + wrong), axis=1)

    resampled = np.concatenate(
        [f1(weights @ counts) for weights in bootstrap_weights(len(counts), draws, seed)]
    )
    low, high = np.quantile(resampled, LEVEL)
    return float(f1(counts.sum(0, keepdims=True))[0]), float(low), float(high)


def independence(rows: Tensor) -> float:
    """1 - mean |cosine| over pairs of rows."""
    unit = rows / rows.norm(dim=-1, keepdim=True)
    cosines = (unit @ unit.T).abs()
    n = len(rows)
    return 1 - ((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1))).item()
