"""Files of ``torch.save`` without PyTorch: those it writes are read, and nothing in a hostile one is run."""

import os
import pickle
import re
import zipfile

import numpy as np
import pytest

from suite.errors import DataError
from suite.inputs import torch_pickle


class Runs:
    def __reduce__(self):
        return os.system, ("exit 3",)


def archive(path, content, *, data=b"\0" * 16, packing=zipfile.ZIP_STORED, **entries):
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("any/data.pkl", content)
        file.writestr("any/data/0", data)
        for name, value in entries.items():
            file.writestr(f"any/{name}", value)
    return path


def tensor(kind="FloatStorage", count=4, offset=0, shape=(2, 2), strides=(2, 1)):
    """What ``torch.save`` writes of ``{"x": tensor}``, opcode by opcode: protocol 0, numbers as text."""

    def numbers(values):
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    storage = b"(Vstorage\nctorch\n%s\nV0\nVcpu\nI%d\nt" % (kind.encode(), count)
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(%sQI%d\n%s%sI00\n)tR"
    return b"\x80\x02}Vx\n" + made % (storage, offset, numbers(shape), numbers(strides)) + b"s."


@pytest.mark.parametrize("content", [tensor(), tensor(strides=(1, 2)), tensor(shape=(3,), strides=(1,), offset=1)])
def test_a_tensor_is_read_by_shape_strides_and_offset(tmp_path, content):
    stored = np.arange(4, dtype="<f4")
    found = torch_pickle.read(archive(tmp_path / "x.pth", content, data=stored.tobytes()))["x"]
    expected = {tensor(): [[0, 1], [2, 3]], tensor(strides=(1, 2)): [[0, 2], [1, 3]]}.get(content, [1, 2, 3])
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    "content",
    [
        tensor(count=5),
        tensor(offset=1),
        tensor(shape=(1 << 40,), strides=(0,)),
        tensor(shape=(2, 2), strides=(1 << 40, 1)),
        tensor(shape=(2, 2), strides=(-1, 1)),
        tensor(shape=(2, 2), strides=(1,)),
        tensor(kind="BFloat16Storage"),
        tensor(kind="QInt8Storage"),
        pickle.dumps({"x": Runs()}),
        pickle.dumps([1]),
        b"\x80\x02}",
        b"",
    ],
)
def test_what_is_no_plain_tensor_is_refused_and_nothing_is_run(tmp_path, content, monkeypatch):
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was run"))
    with pytest.raises(DataError, match=r"x\.pth: holds no plain tensors"):
        torch_pickle.read(archive(tmp_path / "x.pth", content))


def test_a_packed_entry_is_refused_before_it_grows(tmp_path):
    with pytest.raises(DataError, match="packed or too large"):
        torch_pickle.read(archive(tmp_path / "x.pth", tensor(), packing=zipfile.ZIP_DEFLATED))


def test_numbers_in_the_other_byte_order_are_refused(tmp_path):
    with pytest.raises(DataError, match="big-endian"):
        torch_pickle.read(archive(tmp_path / "x.pth", tensor(), byteorder=b"big"))


def test_a_value_that_is_no_tensor_is_named(tmp_path):
    with pytest.raises(DataError, match="'epoch' is no tensor"):
        torch_pickle.read(archive(tmp_path / "x.pth", pickle.dumps({"epoch": 3}, protocol=2)))


@pytest.mark.torch
def test_what_torch_saves_is_what_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).double()
    base = torch.arange(24.0).reshape(2, 3, 4)
    saved = {
        **model.state_dict(),
        "channels_last": base.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "part": base[1, 1:, ::2],
        "same": base,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(3).half(),
        "whole": torch.arange(3),
        "truth": torch.tensor([True, False]),
        "none": torch.empty(0, 2),
    }
    torch.save(saved, tmp_path / "x.pth")
    found = torch_pickle.read(tmp_path / "x.pth")
    assert found.keys() == saved.keys()
    for name, value in saved.items():
        expected = value.detach().numpy()
        np.testing.assert_array_equal(found[name], expected, strict=True)


@pytest.mark.torch
def test_a_file_of_pytorch_before_its_zips_says_how_to_save_it_again(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"x": torch.ones(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="is no zip") as error:
        torch_pickle.read(tmp_path / "x.pth")
    assert "torch.save(torch.load(" in error.value.way_out


def nested(**parts):
    """A pickle of a dictionary of pickled parts, each ``name: (content of a tensor's pickle)``."""
    body = b"".join(b"V%s\n" % name.encode() + part[2:-1] + b"s" for name, part in parts.items())
    return b"\x80\x02}" + body + b"."


def test_a_checkpoints_state_is_taken_out_of_it(tmp_path):
    number = b"\x80\x02I3\n."
    found, notes = torch_pickle.opened(
        archive(tmp_path / "x.pth", nested(epoch=number, state_dict=tensor(), optimizer=number))
    )
    assert list(found) == ["x"]
    assert notes == ("state_dict was taken out of the checkpoint; left aside: epoch, optimizer.",)
    assert torch_pickle.opened(archive(tmp_path / "y.pth", tensor()))[1] == ()
    assert list(torch_pickle.read(archive(tmp_path / "z.pth", nested(odd_name=tensor(), epoch=number)))) == ["x"]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"model": tensor(), "model_ema": tensor()}, "is a checkpoint of several states: model, model_ema"),
        ({"one": tensor(), "two": tensor()}, "is a checkpoint of several states: one, two"),
        ({"state": b"\x80\x02}.", "param_groups": b"\x80\x02]."}, "is the state of an optimizer"),
        ({"epoch": b"\x80\x02I3\n."}, "'epoch' is no tensor"),
    ],
)
def test_a_checkpoint_without_one_plain_state_is_refused_with_what_it_holds(tmp_path, parts, told):
    with pytest.raises(DataError, match=told) as error:
        torch_pickle.read(archive(tmp_path / "x.pth", nested(**parts)))
    assert "torch.save(" in error.value.way_out


@pytest.mark.parametrize(
    ("name", "told", "way_out"),
    [
        (b"torch\nBFloat16Storage", "those of type bfloat16 are not taken", r"x\.float\(\)"),
        (b"torch\nQInt8Storage", "quantised ones", "before it was quantised"),
        (b"torch._utils\n_rebuild_qtensor", "quantised ones", "before it was quantised"),
        (b"torch._utils\n_rebuild_sparse_tensor", "sparse ones", r"to_dense\(\)"),
        (b"torch.storage\nUntypedStorage", "the type of some is not taken", r"x\.float\(\)"),
        (b"torch.nn.modules.linear\nLinear", "a whole model, or more than weights", r"state_dict\(\)"),
        (b"argparse\nNamespace", "it holds argparse.Namespace, which is never run", "'state_dict'"),
        (b"posix\nsystem", "it holds posix.system, which is never run", "trust the file first"),
    ],
)
def test_what_stands_in_the_way_is_named_with_the_way_to_plain_tensors(tmp_path, name, told, way_out):
    with pytest.raises(DataError, match=told) as error:
        torch_pickle.read(archive(tmp_path / "x.pth", b"\x80\x02c%s\n." % name))
    assert re.search(way_out, error.value.way_out)
    assert error.value.where == str(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("content", "told"), [(tensor()[:2] + tensor()[6:-2] + b".", "it is one tensor"), (b"\x80\x02].", "it is a list")]
)
def test_what_is_no_state_by_names_is_told(tmp_path, content, told):
    with pytest.raises(DataError, match=f"{told}, and no dictionary of tensors by name"):
        torch_pickle.read(archive(tmp_path / "x.pth", content))


@pytest.mark.torch
def test_a_whole_model_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"a whole model, .* it holds torch\.nn\.modules\.linear\.Linear"):
        torch_pickle.read(tmp_path / "x.pth")


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds_and_checkpoints_are_told_as_pytorch_writes_them(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    eye = torch.eye(2)
    refused = {
        "bfloat16": {"x": eye.bfloat16()},
        "the type of some is not taken": {"x": eye.to(torch.float8_e4m3fn)},
        "complexfloat": {"x": eye.to(torch.complex64)},
        "sparse": {"x": eye.to_sparse()},
        "sparse ones": {"x": eye.to_sparse_csr()},
        "quantised": {"x": torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8)},
        "state of an optimizer": optimizer.state_dict(),
        "one tensor": eye,
    }
    for told, saved in refused.items():
        torch.save(saved, tmp_path / "x.pth")
        with pytest.raises(DataError, match=told):
            torch_pickle.read(tmp_path / "x.pth")
    torch.save({"epoch": 3, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "x.pth")
    found, notes = torch_pickle.opened(tmp_path / "x.pth")
    assert found.keys() == model.state_dict().keys()
    assert notes == ("state_dict was taken out of the checkpoint; left aside: epoch, optimizer.",)
