"""Shipped configurations and weights are where the package looks for them."""

from __future__ import annotations

from reasonmech.paths import config_dir


def test_the_shipped_configs_are_found() -> None:
    assert (config_dir() / "pairs" / "tiny-when.yaml").is_file()
    assert (config_dir() / "coders" / "topk.yaml").is_file()
