"""Whatever bytes a file holds, it is taken as weights or refused by its name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.errors import DataError
from suite.inputs import torchvision
from tests.inputs.test_model_file import STATE


@settings(deadline=None, max_examples=200)
@given(
    head=st.sampled_from([b"", b"PK\3\4", b"\x80\x02", (9).to_bytes(8, "little") + b"{", b"\x89HDF", STATE[:60]]),
    rest=st.binary(max_size=80),
    name=st.sampled_from(["x.pth", "x.safetensors", "x.onnx", "x"]),
)
def test_any_bytes_are_taken_or_refused(
    head: bytes, rest: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(head + rest)
    with pytest.raises(DataError) as caught:
        torchvision.opened(path)
    assert caught.value.where == str(path)
