"""Every nanosecond of a profiled call is given to one kind of work, once, whatever nests or runs side by side."""

import random
from itertools import pairwise

import pytest

from suite.results.attribution import Kind
from suite.runners.base import Event, Traced
from suite.trial.attribution import classified, divided, segments


def event(name: str, start: int, duration: int, lane: str = "main", **more: object) -> Event:
    return Event(name, start, duration, lane, **more)  # type: ignore[arg-type]


def kinds(*events: Event, ended: int = 100) -> dict[Kind, float]:
    found = divided(Traced(list(events), 0, ended))
    assert sum(found.kinds.values()) == pytest.approx(ended)
    return {kind: ns for kind, ns in found.kinds.items() if ns}


def test_an_operation_has_what_those_inside_it_leave():
    found = kinds(event("aten::linear", 0, 60), event("aten::copy_", 10, 20), event("aten::relu", 70, 10))
    assert found == {Kind.PRODUCT: 40, Kind.COPY: 20, Kind.ELEMENTWISE: 10, Kind.IDLE: 30}


def test_views_inside_an_operation_are_a_part_of_it_and_outside_they_are_their_own():
    assert kinds(event("aten::conv2d", 0, 50), event("aten::empty", 5, 10), event("aten::empty", 60, 10)) == {
        Kind.CONVOLUTION: 50, Kind.VIEW: 10, Kind.IDLE: 40,
    }  # fmt: skip


def test_a_view_hides_nothing_that_runs_inside_it():
    assert kinds(event("aten::reshape", 0, 50), event("aten::clone", 10, 30))[Kind.COPY] == 30


def test_threads_at_work_in_the_same_moment_share_it():
    found = kinds(event("MatMul", 0, 40), event("Conv2D", 20, 40, "other"))
    assert found == {Kind.PRODUCT: 30, Kind.CONVOLUTION: 30, Kind.IDLE: 40}


def test_what_runs_outside_of_the_call_does_not_count():
    assert kinds(event("MatMul", -50, 70), event("Relu", 90, 50), event("Conv2D", 200, 5)) == {
        Kind.PRODUCT: 20, Kind.ELEMENTWISE: 10, Kind.IDLE: 70,
    }  # fmt: skip


def test_on_a_gpu_its_streams_alone_count_and_the_rest_is_idle():
    found = kinds(event("aten::mm", 0, 100), event("sgemm_128x64", 30, 20, "stream 7", on_device=True))
    assert found == {Kind.PRODUCT: 20, Kind.IDLE: 80}


def test_a_call_in_which_nothing_was_seen_is_all_between_operations():
    assert kinds() == {Kind.IDLE: 100}


def test_operations_come_longest_first_with_their_calls():
    found = divided(Traced([event("mul", 0, 5), event("MatMul", 10, 40), event("mul", 60, 5)], 0, 100))
    assert [(o.name, o.calls, o.ns) for o in found.operations] == [("MatMul", 1, 40), ("mul", 2, 10)]
    assert found.started == 3


def test_whatever_nests_and_overlaps_adds_up():
    draw = random.Random(0)
    names = ["aten::mm", "aten::empty", "Conv2D", "unheard of", "aten::add"]
    for _ in range(200):
        events = []
        for lane in "abc"[: draw.randint(1, 3)]:
            bounds = sorted(draw.sample(range(-20, 130), 6))
            for start, end in ((0, 5), (1, 2), (3, 4)):
                events.append(event(draw.choice(names), bounds[start], bounds[end] - bounds[start], lane))
        kinds(*events)


def test_a_lane_has_no_moment_twice_even_where_events_do_not_nest():
    pieces = segments([event("a", 0, 30), event("b", 10, 40), event("c", 20, 5)], 0, 100)
    assert sum(piece.end - piece.start for piece in pieces) == 50
    assert all(before.end <= after.start for before, after in pairwise(pieces))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mkldnn_convolution", Kind.CONVOLUTION),
        ("aten::convolution_backward", Kind.CONVOLUTION),
        ("Conv2DBackpropFilter", Kind.CONVOLUTION),
        ("_FusedConv2D", Kind.CONVOLUTION),
        ("sm90_xmma_dgrad_implicit_gemm_f32f32", Kind.CONVOLUTION),
        ("aten::addmm", Kind.PRODUCT),
        ("_FusedMatMul", Kind.PRODUCT),
        ("MatMul.14", Kind.PRODUCT),
        ("ampere_sgemm_128x64_tn", Kind.PRODUCT),
        ("nvjet_tst_128x8_64x12_4x1_v_bz_TNT", Kind.PRODUCT),
        ("aten::_fused_adam_", Kind.OPTIMIZER),
        ("ResourceApplyMomentum", Kind.OPTIMIZER),
        ("ResourceApplyRMSProp", Kind.OPTIMIZER),
        ("aten::native_batch_norm_backward", Kind.NORMALISATION),
        ("FusedBatchNormGradV3", Kind.NORMALISATION),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>", Kind.NORMALISATION),
        ("MaxPoolGrad", Kind.POOLING),
        ("aten::max_pool2d_with_indices", Kind.POOLING),
        ("StatelessRandomUniformV2", Kind.RANDOM),
        ("aten::bernoulli_", Kind.RANDOM),
        ("aten::threshold_backward", Kind.ELEMENTWISE),
        ("SparseSoftmaxCrossEntropyWithLogits", Kind.ELEMENTWISE),
        ("SelectV2", Kind.ELEMENTWISE),
        ("BiasAddGrad", Kind.ELEMENTWISE),
        ("AddV2", Kind.ELEMENTWISE),
        ("log1p", Kind.ELEMENTWISE),
        ("void at::native::vectorized_elementwise_kernel<4>", Kind.ELEMENTWISE),
        ("triton_poi_fused_3", Kind.ELEMENTWISE),
        ("aten::index_select", Kind.COPY),
        ("GatherV2", Kind.COPY),
        ("aten::_to_copy", Kind.COPY),
        ("Transpose", Kind.COPY),
        ("Memcpy HtoD (Pageable -> Device)", Kind.COPY),
        ("nchwToNhwcKernel", Kind.COPY),
        ("Cast", Kind.COPY),
        ("aten::transpose", Kind.VIEW),
        ("aten::empty_strided", Kind.VIEW),
        ("Reshape", Kind.VIEW),
        ("aten::paddington", Kind.OTHER),
        ("MaximalMystery", Kind.OTHER),
        ("", Kind.OTHER),
    ],
)
def test_a_name_tells_the_kind_of_work(name, kind):
    assert classified(name) is kind


@pytest.mark.parametrize(
    ("holds", "kind"),
    [
        (("Relu", "Conv2D"), Kind.CONVOLUTION),
        (("GatherV2", "ResourceApplyAdam"), Kind.OPTIMIZER),
        (("_native_batch_norm_legit_functional_max_pool2d_with_indices_relu_0",), Kind.NORMALISATION),
        (("Mul", "Nothing known"), Kind.ELEMENTWISE),
        (("Nothing known", "Reshape"), Kind.OTHER),
        (("Reshape",), Kind.VIEW),
    ],
)
def test_a_fused_kernel_counts_as_the_heaviest_work_that_it_holds(holds, kind):
    assert classified("multiply_add_fusion.3", holds) is kind


def test_ranges_around_operations_have_what_is_between_them_and_no_more():
    found = divided(
        Traced(
            [
                event("outer", 0, 80, around=True), event("inner", 10, 40, around=True), event("MatMul", 20, 20),
                event("waits", 0, 30, "other", around=True),
            ],
            0, 100,
        )
    )  # fmt: skip
    assert found.kinds == {Kind.PRODUCT: 20, Kind.IDLE: 80}
    assert found.started == 1
    assert {each.name: each.ns for each in found.around} == {"outer": 5 + 30, "inner": 5 + 10, "waits": 5 + 5}
