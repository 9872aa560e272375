"""What a caller can get wrong at the door of a run is one text taken as one, or an error in three parts."""

import pytest
import torch

from reasonmech.errors import ArgumentError, DataError
from reasonmech.hosts.host import Host
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_rows import LabelledTexts, as_texts
from reasonmech.testing import tiny_host

HOST: Host = tiny_host("llama")
TEXT = "w1 w2 . w3"
DECODE = Decode(max_new_tokens=3)


def test_forward_takes_one_text_one_list_of_ids_and_one_rollout_as_one_text() -> None:
    ids = HOST.encode(TEXT)
    [rollout] = generate(HOST, [TEXT], decode=DECODE, progress=False)
    for one, several in ((TEXT, [TEXT]), (ids, [ids]), (tuple(ids), [ids]), (rollout, [rollout])):
        [logits] = forward(HOST, one).logits
        assert torch.equal(logits, forward(HOST, several).logits[0])
    assert as_texts([]) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (torch.tensor([[1, 2]]), r"texts is a Tensor of shape \(1, 2\)"),
        ([torch.tensor([1, 2])], r"texts\[0\] is a Tensor of shape \(2,\)"),
        (3, "texts is the integer 3"),
        ([TEXT, None], r"texts\[1\] is None"),
        (HOST, "texts is a Host"),
    ],
)
def test_forward_refuses_what_is_no_text(texts: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        forward(HOST, texts)
    assert caught.value.allowed and caught.value.do


def test_labels_of_another_number_of_texts_are_refused_when_they_are_made() -> None:
    with pytest.raises(DataError, match="2 sets of 'here' positions for 1 texts"):
        LabelledTexts([TEXT], {"here": [{0}, {1}]})
    with pytest.raises(ArgumentError, match="labels is a list of 1"):
        LabelledTexts([TEXT], [{0}])
    assert repr(LabelledTexts(TEXT, {"here": [{0}]})) == "LabelledTexts(1 texts, labels here)"
