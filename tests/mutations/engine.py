"""Bugs to plant in sites, axes and gates: each is a line that somebody could write."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reasonmech.hosts import hookpoint
from reasonmech.hosts.hookpoint import ALL, HiddenEdit, HookPoint
from reasonmech.hosts.sitemap import SiteMap
from reasonmech.interventions import Hooks, hooks, target
from reasonmech.interventions.axes import Subspace
from reasonmech.interventions.gates import two_pass
from reasonmech.interventions.partner_readings import PartnerReadings
from reasonmech.runtime.decoding.host_decoder import HostState
from reasonmech.runtime.decoding.partner import Partner
from reasonmech.shapes import NextLogits
from reasonmech.site import Site


def head_slice_one_off(m: pytest.MonkeyPatch) -> None:
    right = SiteMap.columns

    def shifted(self: SiteMap, site: Site) -> slice:
        right_point = right(self, site)
        return right_point if right_point == ALL else slice(right_point.start + 1, right_point.stop + 1)

    m.setattr(SiteMap, "columns", shifted)


def a_head_is_written_into_all_of_them(m: pytest.MonkeyPatch) -> None:
    def everywhere(x: Tensor, columns: slice, new: Tensor) -> Tensor:
        return new if columns == ALL else new.repeat(*[1] * (new.dim() - 1), x.shape[-1] // new.shape[-1])

    for module in (hookpoint, target):
        m.setattr(module, "put_columns", everywhere)


def the_middle_is_written_twice(m: pytest.MonkeyPatch) -> None:
    right = hookpoint.edit_sum

    def twice(added: Tensor, entered: Tensor, edit: HiddenEdit) -> Tensor | None:
        once = right(added, entered, edit)
        return None if once is None else right(once, entered, edit)

    m.setattr(hookpoint, "edit_sum", twice)


def the_middle_forgets_what_entered(m: pytest.MonkeyPatch) -> None:
    m.setattr(hookpoint, "edit_sum", lambda added, entered, edit: edit(added))


def the_middle_is_read_before_attention(m: pytest.MonkeyPatch) -> None:
    right = SiteMap.point

    def early(self: SiteMap, site: Site) -> HookPoint:
        return HookPoint(self.layers[site.layer], "input") if site.kind == "resid_mid" else right(self, site)

    m.setattr(SiteMap, "point", early)


def attention_is_counted_after_the_mlp(m: pytest.MonkeyPatch) -> None:
    order = {"resid_pre": 0, "mlp_out": 1, "z": 2, "attn_out": 3, "resid_mid": 4, "resid_post": 5}
    m.setattr(
        Site, "depth", property(lambda self: (self.layer - (self.kind == "resid_pre"), order[self.kind]))
    )


def a_subspace_writes_its_first_direction_only(m: pytest.MonkeyPatch) -> None:
    m.setattr(Subspace, "write", lambda self, delta: delta[:, :1] @ self.basis[:1].to(delta))


def clean_logits_are_edited_ones(m: pytest.MonkeyPatch) -> None:
    def edited(self: HostState, active: Hooks, readings: PartnerReadings) -> NextLogits:
        logits = torch.zeros(len(self._rows), 64)
        active.begin(
            self._step(self._n_read + 1, 1), replace(readings, host_logits=logits)
        )  # even logits open the gate
        logits = self._pass(1)
        self._forget_last()
        active.begin(self._step(self._n_read + 1, 1), replace(readings, host_logits=logits))
        logits = self._pass(1)
        active.end()
        return logits

    m.setattr(HostState, "_two_passes", edited)


def a_two_pass_gate_weighs_the_next_row(m: pytest.MonkeyPatch) -> None:
    right = two_pass.UncertainAbove.coords
    m.setattr(
        two_pass.UncertainAbove,
        "coords",
        lambda self, logits, partner_logits: right(self, logits, partner_logits).roll(1, 0),
    )


def the_end_of_the_prompt_chooses_nothing(m: pytest.MonkeyPatch) -> None:
    m.setattr(hooks, "mark_choosing", lambda step: step.positions >= step.prompt_length[:, None])


def the_partners_stream_is_one_column_late(m: pytest.MonkeyPatch) -> None:
    right = Partner.read

    def late(self: Partner) -> PartnerReadings:
        now = right(self)
        return replace(now, streams={site: stream.roll(1, dims=1) for site, stream in now.streams.items()})

    m.setattr(Partner, "read", late)


def other_rows_of_the_partner_stay(m: pytest.MonkeyPatch) -> None:
    m.setattr(Partner, "select", lambda self, rows: self._state.select(torch.arange(len(rows))))


def the_partner_reads_what_it_would_have_written(m: pytest.MonkeyPatch) -> None:
    right, proposed = Partner.read, dict[Partner, Tensor]()

    def read(self: Partner) -> PartnerReadings:
        readings = right(self)
        assert readings.partner_logits is not None
        proposed[self] = readings.partner_logits.argmax(-1)
        return readings

    m.setattr(Partner, "read", read)
    m.setattr(Partner, "advance", lambda self, tokens: self._state.advance(proposed[self]))
