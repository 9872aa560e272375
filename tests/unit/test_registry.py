"""A registry: one value per kind, and for a kind that is not there the ones that look like it."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import reasonmech as rm
from reasonmech import registry
from reasonmech.errors import ArgumentError, DuplicateNameError, UnknownNameError
from reasonmech.metrics import metrics
from reasonmech.registry import Registry
from reasonmech.site import Site

REGISTRIES = (
    "tasks.base:tasks",
    "metrics:metrics",
    "hybrid:gates",
    "hybrid:selectors",
    "hybrid:executors",
    "hybrid:arms",
    "organisms.recipes:recipes",
    "locate:scores",
    "locate.directions:methods",
    "hosts:architectures",
    "experiments.stages:corpora",
    "experiments.stages:stages",
    "interventions:axes",
    "interventions:edits",
    "interventions:masks",
    "interventions:gates",
    "behaviours:behaviours",
    "taxonomies.text:taxonomies",
)


def registry_of(name: str) -> Registry[object]:
    module, attribute = name.split(":")
    return vars(import_module(f"reasonmech.{module}"))[attribute]


def animals() -> Registry[str]:
    registry: Registry[str] = Registry("animal")
    registry.register("horse")("neighs")
    registry.register("sheep")("bleats")
    return registry


@pytest.mark.parametrize("name", REGISTRIES)
def test_an_unknown_kind_names_the_closest_ones_first_and_lists_all(name: str) -> None:
    registry = registry_of(name)
    longest = max((kind for kind in registry.kinds() if " " not in kind), key=len)
    mistyped = longest[:-2] + longest[-1] + longest[-2] + "e"
    with pytest.raises(UnknownNameError) as caught:
        registry.get(mistyped)
    assert caught.value.happened.startswith(f"unknown {registry.noun} {mistyped!r}: did you mean {longest!r}")
    assert caught.value.allowed == ", ".join(registry.forms())


@pytest.mark.parametrize(
    ("look_up", "meant"),
    [
        (lambda: rm.load_task("chian", n=1), "'chain'"),
        (lambda: rm.load_pair("tiny-wen"), "'tiny-when'"),
        (lambda: Site.parse("resid_pots.1"), "'resid_post.LAYER'"),
        (lambda: rm.run("dmeo"), "'demo'"),
        (lambda: rm.coders.load_coder_config("topl"), "'topk'"),
    ],
)
def test_an_unknown_task_pair_site_or_configuration_names_what_was_meant(look_up: object, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean {meant}"):
        look_up()  # type: ignore[operator]


def test_a_kind_that_looks_like_nothing_only_lists_what_there_is() -> None:
    with pytest.raises(UnknownNameError) as caught:
        animals().get("bicycle")
    assert caught.value.happened == "unknown animal 'bicycle'" and caught.value.allowed == "horse, sheep"


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(DuplicateNameError, match="animal 'horse' is registered already, by 'neighs'"):
        animals().register("horse")("whinnies")


def test_a_registered_class_stays_the_class() -> None:
    kinds: Registry[type] = Registry("kind")

    @kinds.register("plain")
    class Plain: ...

    assert isinstance(Plain, type) and kinds.get("plain") is Plain


def test_a_decorator_without_its_kind_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r'(?s)kind is the class Cow.*Do: @register\("my_animal"\)'):

        @animals().register  # type: ignore[arg-type]
        class Cow: ...


@pytest.mark.parametrize("kind", [None, 3, ["horse"]])
def test_a_kind_that_is_no_string_is_refused(kind: object) -> None:
    with pytest.raises(ArgumentError, match="animal kind is"):
        animals().get(kind)  # type: ignore[arg-type]


def test_a_registry_shows_its_noun_and_size() -> None:
    assert repr(animals()) == "Registry('animal', 2 kinds)"


def test_a_plug_in_that_fails_leaves_no_kind_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_of_it.py").write_text(
        "from reasonmech.metrics import metrics\n"
        "@metrics.register('half_of_it')\nclass Half: kind = 'half_of_it'\n"
        "import nothing_of_that_name\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("half", "half_of_it", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    monkeypatch.setattr(registry, "_scans", {})
    monkeypatch.setattr(registry, "_loaded_plugins", set(registry._OURS))
    monkeypatch.setattr(registry, "_failed_plugins", {})
    before = list(metrics._entries)
    with pytest.warns(UserWarning, match="'half_of_it' cannot be imported, and what it adds is not"):
        kinds = metrics.kinds()
    assert "half_of_it" not in kinds and list(metrics._entries) == before
    with pytest.raises(UnknownNameError, match="which failed: ModuleNotFoundError"):
        metrics.get("half_of_it")
    metrics.register("half_of_it")(object)  # the name is free
    metrics.forget(frozenset({"half_of_it"}))


def test_packages_are_looked_through_again_only_after_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = []
    monkeypatch.setattr(registry, "entry_points", lambda group: scans.append(group) or [])
    monkeypatch.setattr(registry, "_scans", {})
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(3):
        metrics.kinds()
    assert len(scans) == 1
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    os.utime(tmp_path, ns=(1, 1))  # whatever the clock's grain
    metrics.kinds()
    assert len(scans) == 2
