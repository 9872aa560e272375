"""The laws are worth something only if they fail when a law is broken: each mutant must be killed by a named
one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch

from reasonmech.errors import MismatchError, NoChangeError
from reasonmech.hosts.hookpoint import HookPoint
from reasonmech.hosts.host import Host
from reasonmech.interventions import fwd_hooks, hooks
from reasonmech.interventions.hooks import Hooks
from reasonmech.interventions.masks import Generated
from reasonmech.interventions.partner_readings import NOTHING, PartnerReadings
from reasonmech.interventions.target import Target
from reasonmech.runtime.decoding import batch as batch_module
from reasonmech.runtime.decoding import host_decoder
from reasonmech.runtime.decoding.decode import Choice
from reasonmech.runtime.decoding.host_decoder import HostState
from reasonmech.runtime.receipt import recorder
from reasonmech.runtime.receipt.recorder import ReceiptRecorder
from reasonmech.step import Step
from tests.equivalence import test_generate as generating
from tests.laws import test_formula as formula
from tests.laws import test_identities as identities
from tests.laws import test_receipts as receipts
from tests.laws import test_subspace as subspaces
from tests.laws import test_two_pass as two_pass
from tests.laws import test_where as where
from tests.laws import test_whole_runs as runs
from tests.mutations import engine
from tests.unit.hosts import test_sites as sites

Patch = Callable[[pytest.MonkeyPatch], None]


def off_by_one_site(m: pytest.MonkeyPatch) -> None:
    right = Host.hook_point
    m.setattr(Host, "hook_point", lambda self, site: right(self, site._replace(layer=min(site.layer + 1, 3))))


def hook_that_never_fires(m: pytest.MonkeyPatch) -> None:
    m.setattr(
        HookPoint, "attach", lambda self, edit: torch.nn.Identity().register_forward_hook(lambda *a: None)
    )


def applied_twice(m: pytest.MonkeyPatch) -> None:
    right = Hooks.apply

    def twice(self: Hooks, stop: object, x: torch.Tensor) -> torch.Tensor | None:
        once = right(self, stop, x)
        return None if once is None else right(self, stop, once)

    m.setattr(Hooks, "apply", twice)


def positions_count_padding(m: pytest.MonkeyPatch) -> None:
    m.setattr(
        Step, "positions", property(lambda self: torch.arange(self.ids.shape[1]).expand(self.ids.shape))
    )


def model_positions_count_padding(m: pytest.MonkeyPatch) -> None:
    right = HostState.__init__

    def shifted(self: HostState, *args: object) -> None:
        right(self, *args)
        self._positions = torch.arange(self._positions.shape[1]).expand(self._positions.shape).clone()

    m.setattr(HostState, "__init__", shifted)


def mask_of_the_first_pass_is_kept(m: pytest.MonkeyPatch) -> None:
    right = Hooks.begin

    def stale(self: Hooks, step: Step, readings: PartnerReadings = NOTHING) -> None:
        if step.new > 1:
            right(self, step, readings)
            return
        column = [None if target is None else target.mask[:, -1:] for target in self._targets]
        right(self, step, readings)
        self._targets = [None if old is None else Target.of(old, step) for old in column]

    m.setattr(Hooks, "begin", stale)


def mask_sees_only_the_new_tokens(m: pytest.MonkeyPatch) -> None:
    right = HostState._step

    def only_new(self: HostState, width: int, new: int) -> Step:
        step = right(self, width, new)
        return replace(step, ids=step.ids[:, -step.new :], mask=step.mask[:, -step.new :])

    m.setattr(HostState, "_step", only_new)


def generated_starts_one_late(m: pytest.MonkeyPatch) -> None:
    right = Generated.mask
    m.setattr(
        Generated, "mask", lambda self, step: right(self, replace(step, prompt_length=step.prompt_length + 1))
    )


def leaving_rows_keep_their_place(m: pytest.MonkeyPatch) -> None:
    right = HostState.select

    def forgetful(self: HostState, rows: torch.Tensor) -> None:
        lengths = self._prompt_length
        right(self, rows)
        self._prompt_length = lengths[: len(rows)]

    m.setattr(HostState, "select", forgetful)


def second_edit_reads_the_unedited_stream(m: pytest.MonkeyPatch) -> None:
    right = Hooks.apply

    def unedited(self: Hooks, stop: object, x: torch.Tensor) -> torch.Tensor | None:
        parts = [right(self, stop._replace(edits=(i,)), x) for i in stop.edits]
        return x + sum(part - x for part in parts if part is not None)

    m.setattr(Hooks, "apply", unedited)


def gate_reads_after_the_edits(m: pytest.MonkeyPatch) -> None:
    right = Hooks.apply

    def late(self: Hooks, stop: object, x: torch.Tensor) -> torch.Tensor | None:
        for i in stop.edits:
            edited = right(self, stop._replace(edits=(i,), gates=tuple(g for g in stop.gates if g == i)), x)
            x = x if edited is None else edited
        return x

    m.setattr(Hooks, "apply", late)


def reconstruction_error_is_dropped(m: pytest.MonkeyPatch) -> None:
    right = hooks.change
    m.setattr(
        hooks,
        "change",
        lambda intervention, x, weight, place: right(replace(intervention, error="drop"), x, weight, place),
    )


def silence_is_accepted(m: pytest.MonkeyPatch) -> None:
    m.setattr(fwd_hooks, "check_masked", lambda plan, n_masked, *, run: None)
    m.setattr(recorder, "check_changed", lambda plan, lines, *, run: None)


def silence_is_judged_per_batch(m: pytest.MonkeyPatch) -> None:
    right = ReceiptRecorder.count_masked

    def strict(self: ReceiptRecorder, i: int, n_tokens: int, n_masked: int) -> None:
        assert n_masked, "touched nothing in this batch"
        right(self, i, n_tokens, n_masked)

    m.setattr(ReceiptRecorder, "count_masked", strict)


def hooks_stay_after_a_run(m: pytest.MonkeyPatch) -> None:
    m.setattr(Hooks, "remove", lambda self: None)


def padding_is_steered_and_counted(m: pytest.MonkeyPatch) -> None:
    m.setattr(Step, "computed", lambda self, over_text: over_text[:, -self.new :])


def noise_follows_the_place_in_the_batch(m: pytest.MonkeyPatch) -> None:
    right = batch_module.choose

    def by_place(logits: torch.Tensor, *, keys: torch.Tensor, **others: Any) -> Choice:
        return right(logits, keys=torch.arange(len(keys)), **others)

    m.setattr(batch_module, "choose", by_place)


def labels_of_the_prompt_only(m: pytest.MonkeyPatch) -> None:
    right = host_decoder.LabelBuffer.extend

    def stuck(self: object, ids: torch.Tensor, mask: torch.Tensor, prompt_length: torch.Tensor) -> dict:
        right_mask = right(self, ids, mask, prompt_length)
        offset = mask.long().cumsum(-1) - 1
        return {name: marks & (offset < prompt_length[:, None]) for name, marks in right_mask.items()}

    m.setattr(host_decoder.LabelBuffer, "extend", stuck)


class Mutant(NamedTuple):
    patch: Patch
    law: Callable[[], None]
    named: str


MUTANTS = [
    Mutant(
        off_by_one_site,
        lambda: runs.test_a_plan_is_a_plain_torch_hook_at_the_named_place("llama", "resid_post.1"),
        "a plan is a torch hook at the named place",
    ),
    Mutant(
        applied_twice,
        lambda: runs.test_a_plan_is_a_plain_torch_hook_at_the_named_place("llama", "mlp_out.0"),
        "a plan is a torch hook at the named place",
    ),
    Mutant(
        hook_that_never_fires,
        lambda: runs.test_cached_and_batched_equals_uncached_single_rows("steer_everywhere"),
        "an edit changes something",
    ),
    Mutant(
        positions_count_padding,
        lambda: where.assert_causal(where.prompt(1)),
        "masks are blind to padding",
    ),
    Mutant(
        model_positions_count_padding,
        lambda: generating.test_greedy_batch_equals_hugging_face_row_by_row("gpt2"),
        "a batch equals its rows",
    ),
    Mutant(
        mask_of_the_first_pass_is_kept,
        lambda: runs.test_cached_and_batched_equals_uncached_single_rows("window"),
        "cached equals uncached",
    ),
    Mutant(
        mask_sees_only_the_new_tokens,
        lambda: runs.test_cached_and_batched_equals_uncached_single_rows("clamp_sentence_starts"),
        "cached equals uncached",
    ),
    Mutant(
        generated_starts_one_late,
        runs.test_generated_cannot_change_the_first_token_and_the_prompts_end_can,
        "generated() is every generated token",
    ),
    Mutant(
        leaving_rows_keep_their_place,
        runs.test_rows_that_leave_the_batch_do_not_disturb_the_masks_of_the_others,
        "rows that leave do not disturb the others",
    ),
    Mutant(
        second_edit_reads_the_unedited_stream,
        runs.test_a_list_applies_in_order_at_one_site_and_reads_the_edited_stream,
        "a list applies in order",
    ),
    Mutant(
        gate_reads_after_the_edits,
        runs.test_a_gate_reads_its_site_before_any_edit_of_the_plan,
        "a gate reads before any edit of the plan",
    ),
    Mutant(
        reconstruction_error_is_dropped,
        formula.test_features_are_read_together_and_written_jointly,
        "the reconstruction error is kept",
    ),
    Mutant(
        silence_is_accepted,
        receipts.test_a_mask_that_matched_nothing_in_the_whole_run_is_an_error_with_the_result,
        "nothing matched is an error",
    ),
    Mutant(
        silence_is_judged_per_batch,
        receipts.test_one_row_that_matches_is_enough_whatever_the_batch,
        "silence is judged over the whole run",
    ),
    Mutant(
        hooks_stay_after_a_run,
        identities.test_the_host_is_itself_after_a_run_and_after_an_exception,
        "the host is itself afterwards",
    ),
    Mutant(
        padding_is_steered_and_counted,
        receipts.test_a_gate_that_never_opened_is_an_error_unless_no_change_is_allowed,
        "the receipt counts real tokens",
    ),
    Mutant(
        noise_follows_the_place_in_the_batch,
        generating.test_samples_do_not_depend_on_the_batch,
        "samples do not depend on the batch",
    ),
    Mutant(
        labels_of_the_prompt_only,
        runs.test_labels_are_given_in_forward_and_made_causally_in_generation,
        "labels grow with the text",
    ),
    Mutant(
        engine.head_slice_one_off,
        lambda: sites.test_heads_side_by_side_through_the_projection_are_what_attention_adds("llama"),
        "heads side by side are z",
    ),
    Mutant(
        engine.a_head_is_written_into_all_of_them,
        sites.test_a_head_is_written_alone,
        "a head is written alone",
    ),
    Mutant(
        engine.the_middle_is_written_twice,
        lambda: sites.test_a_write_at_every_kind_is_read_there_and_reaches_the_logits("llama"),
        "a write is read where it was made",
    ),
    Mutant(
        engine.the_middle_forgets_what_entered,
        lambda: sites.test_the_middle_is_what_the_second_norm_reads("llama"),
        "the middle is what the second norm reads",
    ),
    Mutant(
        engine.the_middle_is_read_before_attention,
        lambda: sites.test_the_middle_is_what_the_second_norm_reads("gpt2"),
        "the middle is what the second norm reads",
    ),
    Mutant(
        engine.attention_is_counted_after_the_mlp,
        sites.test_the_order_of_a_block_is_the_order_of_its_sites,
        "sites are ordered as a block computes them",
    ),
    Mutant(
        engine.a_subspace_writes_its_first_direction_only,
        subspaces.test_patching_a_subspace_exchanges_what_is_in_it_and_nothing_else,
        "a subspace is exchanged whole",
    ),
    Mutant(
        engine.clean_logits_are_edited_ones,
        lambda: two_pass.test_cached_and_batched_equals_a_loop_that_recomputes_everything("uncertain"),
        "a two-pass gate reads clean logits",
    ),
    Mutant(
        engine.a_two_pass_gate_weighs_the_next_row,
        lambda: two_pass.test_cached_and_batched_equals_a_loop_that_recomputes_everything("uncertain"),
        "a gate weighs its own row",
    ),
    Mutant(
        engine.the_end_of_the_prompt_chooses_nothing,
        lambda: two_pass.test_cached_and_batched_equals_a_loop_that_recomputes_everything("uncertain"),
        "the last token of the prompt chooses one",
    ),
    Mutant(
        engine.the_partners_stream_is_one_column_late,
        lambda: two_pass.test_cached_and_batched_equals_a_loop_that_recomputes_everything("thinking"),
        "the partner is read at the same token",
    ),
    Mutant(
        engine.other_rows_of_the_partner_stay,
        lambda: two_pass.test_a_row_does_not_depend_on_its_batch_nor_on_rows_that_leave("both"),
        "the partner's rows are the host's",
    ),
    Mutant(
        engine.the_partner_reads_what_it_would_have_written,
        lambda: two_pass.test_cached_and_batched_equals_a_loop_that_recomputes_everything("disagree"),
        "the partner follows the text",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.patch.__name__)
def test_the_named_law_kills_the_mutant(mutant: Mutant) -> None:
    with pytest.MonkeyPatch.context() as broken:
        mutant.patch(broken)
        with pytest.raises((AssertionError, pytest.fail.Exception, NoChangeError, MismatchError)):
            mutant.law()
    mutant.law()  # of the library as it is; and the mutant has left nothing behind
