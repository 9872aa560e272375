"""Stage `coders`: sparse coders of the base model, trained on what it reads, and how well they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

import pandas as pd
from pydantic import Field, model_validator

from reasonmech.coders import SparseCoder, load_coder, load_coder_config, train_coder
from reasonmech.experiments.ledger import Ledger
from reasonmech.experiments.stages.base import RUN_FILES, Stage, StageContext, stages
from reasonmech.experiments.stages.corpora import check_corpus, draw_corpus
from reasonmech.experiments.stages.rollouts import read_by_base
from reasonmech.experiments.tables import Condition
from reasonmech.hosts import Host, ModelPair
from reasonmech.paths import check_name
from reasonmech.rollout import Rollouts
from reasonmech.runtime import Activations, capture, check_fit, joined

# rollouts of either model that the fit is checked on; the coder was trained on none of them
FIT_ROLLOUTS: Final = 50


def coder_paths(context: StageContext) -> list[Path]:
    """Directories of the trained coders, in the order of training."""
    return sorted((context.of("coders") / RUN_FILES / "coders").glob("*/*"))


def read_coders(context: StageContext) -> dict[str, SparseCoder]:
    """Coder by name ("topk/resid_post.2"), checked against the base."""
    return {f"{p.parent.name}/{p.name}": load_coder(p, host=context.pair.base) for p in coder_paths(context)}


def all_sites(host: Host) -> tuple[str, ...]:
    """The residual stream after every layer."""
    return tuple(f"resid_post.{layer}" for layer in range(host.n_layers))


@stages.register("coders")
class TrainCoders(Stage):
    """Train coders of the base's layers on corpus text, its own rollouts and thinking rollouts."""

    needs = ("rollouts",)

    kind: Literal["coders"] = "coders"
    configs: dict[str, tuple[str, ...]] = Field(
        {"topk": (), "batchtopk": ()},
        min_length=1,
        description="coder YAML or shipped name -> sites; empty: every layer",
    )
    steps: int | None = Field(None, gt=0, description="training steps in place of the config's")
    corpus: str = Field(
        "none",
        description="registered corpus that the base reads as well; own: what it was trained on, as its "
        "recipe or its task says",
    )
    documents: int = Field(1000, ge=0, description="how many of its documents")

    @model_validator(mode="after")
    def _named_apart(self) -> Self:
        """Each config's coders get a folder, called like its file."""
        stems = [Path(source).stem for source in self.configs]
        for i, stem in enumerate(stems):
            check_name(stem, what="coder config", taken=stems[:i])
        return self

    def files(self) -> Mapping[str, object]:
        return {source: load_coder_config(source).model_dump(mode="json") for source in self.configs}

    def run(self, context: StageContext) -> None:
        host = context.pair.base
        chosen = {source: sites or all_sites(host) for source, sites in self.configs.items()}
        every_site = tuple({site for sites in chosen.values() for site in sites})
        activations = self._activations(context, host, every_site)
        parts = [read_by_base(context, name)[:FIT_ROLLOUTS] for name in ("study_base", "study_thinking")]
        held_out = Rollouts([rollout for part in parts for rollout in part])
        tables, conditions, ledger = [], [], Ledger()
        for source, sites in chosen.items():
            config = load_coder_config(source)
            if self.steps is not None:
                config = config.model_copy(update={"steps": self.steps})
            if "seed" not in config.model_fields_set:
                config = config.model_copy(update={"seed": context.seed})
            for site in sites:
                name = f"{Path(source).stem}/{site}"
                with ledger.attempt("coder", name):
                    coder = train_coder(activations, config, site=site, host=host, progress=context.progress)
                    target = context.open_run_folder() / "coders" / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    coder.save(target)
                with ledger.attempt("fit", f"fit of coder {name}"):
                    if (cause := ledger.cause("coder", name)) is not None:
                        raise cause.of_item(f"coder {name}").as_error()
                    condition = Condition(
                        f"coder {name}", "base", tags={"study": "fit", "coder": name, "site": site}
                    )
                    tables.append(self._fit(condition, host, coder, held_out))
                    conditions.append(condition)
        context.write_conditions(conditions)
        context.write_results(tables)
        context.write_ledger(ledger)

    def check_pair(self, pair: ModelPair, task: str) -> None:
        check_corpus(self.corpus, pair.name, task)
        for sites in self.configs.values():
            for site in sites:
                pair.base.check_site(site)

    def _activations(self, context: StageContext, host: Host, sites: tuple[str, ...]) -> Activations:
        """Activations of everything that the base reads."""
        pair, task = context.pair.name, context.problems.task
        texts = draw_corpus(self.corpus, pair, task, n=self.documents, seed=context.seed)
        parts = [capture(host, texts, sites, progress=context.progress)] if texts else []
        for source in ("base", "thinking"):
            parts.append(capture(host, read_by_base(context, source), sites, progress=context.progress))
        return joined(parts)

    def _fit(self, condition: Condition, host: Host, coder: SparseCoder, text: Rollouts) -> pd.DataFrame:
        fit = check_fit(host, coder, text, progress=False)
        numbers = {
            "explained_variance": (fit.explained_variance, "share"),
            "l0": (fit.l0, "features"),
            "ce_recovered": (fit.ce_recovered, "share"),
            "dead_share": (fit.dead_share, "share"),
        }
        if fit.n_left_out:  # attention sinks, which the pairs of this package do not have
            numbers["left_out_variance"] = (fit.left_out_variance, "share")
        return pd.concat(
            [condition.rows(metric, [value], unit=unit) for metric, (value, unit) in numbers.items()]
        )
