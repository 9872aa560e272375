"""The experiment `smoke`, so small that tests can run it whole; its numbers mean nothing."""

from typing import Final

TINY: Final = (
    "task.n=24",
    "stages.rollouts.n=60",
    "stages.rollouts.samples=3",
    "stages.rollouts.study_samples=2",
    "stages.coders.configs={topk: [resid_post.2]}",
    "stages.coders.steps=60",
    "stages.coders.documents=60",
    "stages.locate.rows=800",
    "stages.locate.draws=50",
    "stages.compare.rows=600",
    "stages.compare.draws=50",
    "stages.groups.rollouts=20",
    "stages.kept.rollouts=20",
    "stages.ladder.rows=300",
    "stages.ladder.draws=50",
    "stages.study.rollouts=20",
    "stages.study.doses=[2.0]",
    "stages.selectivity.rollouts=10",
    "stages.arms.vectors.steps=20",
    "stages.arms.tuning=8",
)
