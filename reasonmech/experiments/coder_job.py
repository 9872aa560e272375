"""CoderJob: a coder of a host from texts, made in a working folder of which a kill loses little."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from reasonmech.coders import CoderConfig, SparseCoder, load_coder, train_coders
from reasonmech.disk import explain_failed_writes, explain_full_disk
from reasonmech.files import check_new, write_text
from reasonmech.hosts import Host
from reasonmech.output_path import check_own
from reasonmech.resumable import MODEL_WORDS, begin, only_writer, read_plan
from reasonmech.rollout import Rollout
from reasonmech.runtime import Activations, Keep, capture
from reasonmech.site import Site

TEXTS_FILE: Final = "texts.json"


class TrainingTexts(NamedTuple):
    """What a host reads while its coder learns, and what is to be known of it: JSON values, or None."""

    items: Sequence[Rollout | str]
    record: Mapping[str, Any] | None = None


class CoderJob(NamedTuple):
    """A coder that is to lie in `out`, of a host at a site.

    Work in progress lies in `<out>.work`, which is removed at the end. Killed and called again with the same
    arguments, `train` goes on: texts that were written and shards that were captured are not made again, the
    training goes on at its last checkpoint.
    """

    host: Host
    config: CoderConfig
    site: Site
    out: Path
    keep: Keep

    def train(
        self, plan: Mapping[str, object], texts: Callable[[Path], TrainingTexts], *, progress: bool
    ) -> SparseCoder:
        """Write the texts, read them, train, and move the coder to `out`.

        Args:
            plan: what a call that goes on must have in common with the one that was killed.
            texts: makes them; files that it writes into the working folder are there again after a kill.

        Raises:
            OutputError: `out` exists, cannot be written, or `<out>.work` holds the work of another call.
        """
        work = self.out.with_name(self.out.name + ".work")
        check_own(work)
        with explain_failed_writes(work):
            work.mkdir(exist_ok=True)
        if read_plan(work) is None:
            begin(work, plan, kind="training")
        with only_writer(work), explain_full_disk(work):
            begin(work, plan, kind="training", words=MODEL_WORDS)
            read = texts(work)
            trained = self._trained(read.items, work=work, progress=progress)
            if read.record is not None:
                write_text(trained / TEXTS_FILE, json.dumps(read.record, indent=1) + "\n")
            trained.rename(check_new(self.out))
            shutil.rmtree(work)
        return load_coder(self.out, host=self.host)

    def _trained(self, items: Sequence[Rollout | str], *, work: Path, progress: bool) -> Path:
        """Where the trained coder is."""
        store, coders = work / "store", work / "coders"
        if not store.exists():
            capture(self.host, items, [self.site], out=store, keep=self.keep, progress=progress)
        acts = Activations.load(store, host=self.host)
        if not coders.exists():
            named = {"coder": self.config}
            device = self.host.device
            train_coders(acts, named, sites=[self.site], out=coders, device=device, progress=progress)
        return coders / "coder" / str(self.site)
