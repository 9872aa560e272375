"""Metadata of a saved coder: what a cfg.json says of its model and its making, each value of its type."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from reasonmech.coders.hookname import site_of_hook
from reasonmech.coders.recipe import CURVE, RECORD, ROWS, SENTENCES, SINKS
from reasonmech.digest import PARTS
from reasonmech.errors import CorruptFileError
from reasonmech.json_text import check_shape

_NONE: Final = type(None)
_SHAPE: Final = {
    "model_name?": (str, _NONE),
    "model_class_name?": (str, _NONE),
    "hook_name?": (str, _NONE),
    "hook_head_index?": (int, _NONE),
    "sae_lens_version?": (str, _NONE),
    f"{RECORD}?": {
        "model_hash?": (str, _NONE),
        "model_identity?": (dict.fromkeys(PARTS, str), _NONE),
        f"{CURVE}?": dict,
        f"{SINKS}?": dict,
    },
}


def check_metadata(metadata: Mapping[str, Any], *, reserved: Collection[str], file: str) -> None:
    """Hold the values that decide which model and site a coder belongs to to their types.

    Args:
        reserved: names that a key may not have: SAELens sets each key as an attribute.

    Raises:
        CorruptFileError: a value is of another type, or a key is reserved; both are named.
    """
    try:
        for key in metadata:
            if key in reserved:
                raise ValueError(f"{key}, which is no name of a value")
        check_shape(metadata, _SHAPE)
        record = metadata.get(RECORD, {})
        if ROWS in record and record[ROWS] != SENTENCES:
            raise ValueError(f"{RECORD}.{ROWS} = {record[ROWS]!r:.40}")
        _check_site(metadata, record)
    except ValueError as error:
        raise CorruptFileError(
            f"the metadata in {file} say {error}",
            allowed="what SAELens and this library write there",
            do="copy it again",
        ) from error


def _check_site(metadata: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """What we write of the site is written twice."""
    hook, site = metadata.get("hook_name"), record.get("site")
    if hook is None or site is None:
        return
    if str(site_of_hook(hook, head=metadata.get("hook_head_index"))) != site:
        raise ValueError(f"hook_name = {hook!r}, and {RECORD}.site = {site!r:.40}")
