"""The catalogue holds what five sources published, as they state it, and every stage fits onto the one before."""

from __future__ import annotations

from functools import cache

import pytest

from suite.data import datasets
from suite.errors import DataError
from suite.run import session
from suite.run.profile import Profile
from suite.runners import base
from suite.spec import stages
from suite.spec.graph import Node, walk
from suite.spec.layers import BatchNorm, Conv2D
from suite.spec.loading import load
from suite.spec.recipe import Claim
from suite.spec.resolved import Spec
from suite.spec.tasks.embedding import WordEmbedding

FILES = sorted((session.BENCHMARKS / "specs").glob("*.yaml"))
OWN = {"digits-mlp", "digits-cnn", "digits-resnet", "mnist-cnn", "resnet50-224"}
"""Benchmarks that nobody published."""

BLOG = "Deep Learning - TensorFlow and PyTorch Implementation (blog post, 2018)"
POSTER = "TensorFlow vs PyTorch: Comparative Analysis of Algorithm Performance (student project poster, 2024)"
NOTEBOOK = "Project 1: Training a Simple Neural Network with GPU (course notebook)"
LABORATORY = "Deep learning laboratory assignments 1 to 6 (handwritten report)"
NOTES = "MNIST notes: Tensorflow vs Pytorch (study notes)"
SOURCES = {
    "mnist-autoencoder": BLOG,
    "mnist-encoder-classifier": BLOG,
    "mnist-encoder-finetuned": BLOG,
    "cifar-resnet50": POSTER,
    "cifar-resnet-small": POSTER,
    "mnist-mlp-128": NOTEBOOK,
    "mnist-sgd": LABORATORY,
    "cifar-cnn": LABORATORY,
    "anomaly-autoencoder": LABORATORY,
    "cbow": LABORATORY,
    "transfer-pretrain": LABORATORY,
    "transfer-classification": LABORATORY,
    "transfer-finetuned": LABORATORY,
    "transfer-detection": LABORATORY,
    "transfer-imagenet": LABORATORY,
    "mnist-mlp-grid": NOTES,
}

# Case, batch size, epochs, optimizer, tricks, epoch it stopped at, seconds, then loss and accuracy in training, in
# validation and in the test: copied from the source, not from the spec.
TABLE = """
mlp-512-512-01  128   50 adam    l2         - 102.5025 0.0402 0.9969 0.1146 0.9787 0.1158 0.9779
mlp-512-512-02  128   50 adam    dropout    -  90.5766 0.0078 0.9977 0.1143 0.9836 0.1027 0.9843
mlp-512-512-03  128   50 adam    stop5     10  16.2595 0.0136 0.9954 0.0968 0.9792 0.0676 0.9802
mlp-512-512-04  128   50 adam    l2+norm    - 120.8866 0.0569 0.9947 0.1341 0.9784 0.1400 0.9760
mlp-512-512-05  256   50 adam    l2         -  63.3463 0.0408 0.9952 0.1162 0.9783 0.1170 0.9765
mlp-512-512-06  256   50 adam    dropout    -  60.0653 0.0058 0.9981 0.1018 0.9839 0.0938 0.9846
mlp-512-512-07  256   50 adam    stop5     10  12.7555 0.0078 0.9975 0.0843 0.9801 0.0654 0.9788
mlp-512-512-08  256   50 adam    l2+norm    -  82.3498 0.0537 0.9952 0.1498 0.9796 0.1318 0.9804
mlp-512-512-09  128   50 sgd     l2         -  99.6524 0.3260 0.9407 0.3159 0.9447 0.3217 0.9410
mlp-512-512-10  128   50 sgd     l2         -  99.1113 0.1941 0.9778 0.2171 0.9707 0.2123 0.9699
mlp-512-512-11  128   50 rmsprop l2         - 139.5406 0.0350 0.9953 0.1117 0.9806 0.1137 0.9786
mlp-512-512-12  128  100 adam    stop10    13  22.0097 0.0105 0.9966 0.0924 0.9801 0.0673 0.9792
mlp-512-512-13  128  100 adam    l2+stop10 31  64.5154 0.0422 0.9968 0.1217 0.9780 0.1136 0.9792
mlp-512-512-14  128 1000 adam    l2+stop20 25  52.0969 0.0516 0.9943 0.1146 0.9792 0.1127 0.9791
mlp-512-01      128   50 adam    l2         -  63.4713 0.0336 0.9982 0.0975 0.9803 0.0898 0.9804
mlp-512-02      128   50 adam    dropout    -  69.5263 0.0051 0.9980 0.1170 0.9813 0.1022 0.9823
mlp-512-03      128   50 adam    stop5     13  16.0439 0.0056 0.9990 0.0957 0.9766 0.0649 0.9804
mlp-512-04      128   50 adam    l2+norm    -  82.9812 0.0484 0.9937 0.1470 0.9752 0.1415 0.9739
mlp-512-05      256   50 adam    l2         -  48.8852 0.0293 0.9986 0.0844 0.9823 0.0805 0.9818
mlp-512-06      256   50 adam    dropout    -  45.6244 0.0019 0.9996 0.0840 0.9847 0.0778 0.9845
mlp-512-07      256   50 adam    stop5     16  15.5892 0.0044 0.9997 0.0712 0.9814 0.0622 0.9816
mlp-512-08      256   50 adam    l2+norm    -  63.1776 0.0320 0.9975 0.1356 0.9766 0.1333 0.9745
mlp-512-09      128   50 sgd     l2         -  70.0431 0.3329 0.9264 0.3140 0.9321 0.3193 0.9306
mlp-512-10      128   50 sgd     l2         -  64.6992 0.2039 0.9608 0.2084 0.9614 0.2090 0.9558
mlp-512-11      128   50 rmsprop l2         -  94.0755 0.0356 0.9952 0.1060 0.9769 0.1029 0.9775
mlp-512-12      128  100 adam    stop10    17  22.7226 0.0056 0.9985 0.0876 0.9804 0.0605 0.9808
mlp-512-13      128  100 adam    l2+stop10 46  64.6662 0.0326 0.9982 0.1044 0.9800 0.0853 0.9824
mlp-512-14      128 1000 adam    l2+stop20 70  97.5948 0.0317 0.9975 0.1084 0.9764 0.0881 0.9834
"""
GRID = {line.split()[0]: line.split()[1:] for line in TABLE.strip().splitlines()}
ELSEWHERE = {
    "mnist-mlp-128/tensorflow-recipe": [("test_accuracy", 0.9735, None, "tf"), ("seconds_per_epoch", 4, 10, "tf")],
    "mnist-mlp-128/pytorch-recipe": [("test_accuracy", 0.9711, None, "torch")],
    "mnist-encoder-classifier": [("test_accuracy", 0.9796, None, "")],
    "mnist-encoder-finetuned": [("test_accuracy", 0.9901, None, "")],
    "cifar-resnet50/cifar10": [("latency_per_image_reduction", 0.082, None, "")],
    "cifar-resnet-small": [("latency_per_image_reduction", 0.082, None, "")],
}
"""Every other claim: metric, value, upper end of a range, framework."""


@cache
def catalogue() -> dict[str, Spec]:
    return {spec.id: spec for path in FILES for spec in load(path, datasets.describe)}


def grid() -> dict[str, Spec]:
    return {spec.case or "": spec for spec in catalogue().values() if spec.name == "mnist-mlp-grid"}


def profile(name: str) -> tuple[Profile, set[str]]:
    """A profile, and the ids of its benchmarks; none of their data is wanted."""
    found = session.profile(name)
    files = {spec.name: {s.id for s in catalogue().values() if s.name == spec.name} for spec in catalogue().values()}
    return found, {name for wanted in found.benchmarks for name in files.get(wanted, {wanted})}


def told(claims: tuple[Claim, ...]) -> list[tuple[str, float, float | None, str]]:
    return [(claim.metric, claim.value, claim.to, claim.framework) for claim in claims]


def test_every_benchmark_but_our_own_has_one_of_the_five_sources() -> None:
    assert {spec.name for spec in catalogue().values()} == {*SOURCES, *OWN}
    for spec in catalogue().values():
        assert (spec.source.title if spec.source else None) == SOURCES.get(spec.name), spec.id
    assert len(set(SOURCES.values())) == 5


def test_the_grid_has_the_28_cases_of_its_source() -> None:
    assert [case for case in grid() if not case.endswith(("-best", "-keras"))] == list(GRID)
    assert len(GRID) == 28


def beside(case: str, ending: str) -> tuple[Spec, Spec]:
    """A case of the grid and the one with the other choice, which claims nothing; each names the other."""
    one, other = grid()[case], grid()[f"{case}-{ending}"]
    assert other.claims == ()
    assert [[a.alternative for a in spec.assumptions if a.alternative] for spec in (one, other)] == [
        [other.case], [one.case],
    ]  # fmt: skip
    prose = {name: getattr(other, name) for name in ("case", "title", "claims", "assumptions")}
    return one.replace(**prose), other


def test_each_choice_that_the_source_leaves_open_and_that_may_decide_has_the_other_beside() -> None:
    stopping = [case for case in GRID if grid()[case].early_stopping]
    normed = [case for case in GRID if "norm" in GRID[case][3]]
    assert len(normed) == 4
    others = [case for case in grid() if case not in GRID]
    assert sorted(others) == sorted([*(f"{c}-best" for c in stopping), *(f"{c}-keras" for c in normed)])
    for case in stopping:
        last, best = beside(case, "best")
        assert last.early_stopping
        assert best.early_stopping
        assert (last.early_stopping.restore_best, best.early_stopping.restore_best) == (False, True)
        assert last.replace(early_stopping=best.early_stopping) == best
    for case in normed:
        one, other = beside(case, "keras")
        assert settings(one) == {(0.9, 1e-5)}
        assert settings(other) == {(0.99, 1e-3)}
        assert one.replace(model=other.model) == other
        assert [layer.layer for layer in one.model] == [layer.layer for layer in other.model]


def settings(spec: Spec) -> set[tuple[float, float]]:
    """Momentum and epsilon of every batch normalization."""
    return {(layer.momentum, layer.epsilon) for layer in spec.model if isinstance(layer, BatchNorm)}


@pytest.mark.parametrize("case", GRID)
def test_a_case_of_the_grid_is_trained_as_its_source_says(case: str) -> None:
    spec = grid()[case]
    batch, epochs, optimizer, tricks = GRID[case][:4]
    layers = case.count("512")
    kinds = [layer.layer for layer in spec.model]
    kernels = [tensor.shape for name, tensor in spec.tensors.items() if name.endswith("/kernel")]
    assert kernels == [(784, 512), *[(512, 512)] * (layers - 1), (512, 10)]
    assert (spec.batch_size, spec.epochs, spec.optimizer.name) == (int(batch), int(epochs), optimizer)
    assert bool(spec.l2) is ("l2" in tricks)
    assert kinds.count("dropout") == (layers if "dropout" in tricks else 0)
    assert kinds.count("batch_norm") == (layers if "norm" in tricks else 0)
    assert kinds.count("relu") == layers
    assert {layer.rate for layer in spec.model if layer.layer == "dropout"} <= {0.2}
    patience = f"stop{spec.early_stopping.patience}" if spec.early_stopping else ""
    assert patience == next((trick for trick in tricks.split("+") if trick.startswith("stop")), "")


@pytest.mark.parametrize("case", GRID)
def test_a_case_of_the_grid_claims_what_its_source_states(case: str) -> None:
    stopped, *figures = GRID[case][4:]
    metrics = [f"{split}_{what}" for split in ("train", "validation", "test") for what in ("loss", "accuracy")]
    wanted = dict(zip(["train_seconds", *metrics], map(float, figures), strict=True))
    wanted |= {} if stopped == "-" else {"stopped_at_epoch": float(stopped)}
    claims = grid()[case].claims
    assert {claim.metric: claim.value for claim in claims} == wanted
    assert len(claims) == len(wanted)
    assert not any(claim.to or claim.framework or claim.untestable for claim in claims)


@pytest.mark.parametrize("pair", ["mlp-512-512", "mlp-512"])
def test_the_two_readings_of_gradient_descent_name_each_other_as_the_alternative(pair: str) -> None:
    plain, stochastic = grid()[f"{pair}-09"], grid()[f"{pair}-10"]
    assert plain.replace(**{name: getattr(stochastic, name) for name in ("case", "title", "optimizer", "claims",
                                                                      "assumptions")}) == stochastic  # fmt: skip
    assert [a.alternative for a in plain.assumptions if a.alternative] == [stochastic.case]
    assert [a.alternative for a in stochastic.assumptions if a.alternative] == [plain.case]
    assert plain.optimizer.learning_rate < stochastic.optimizer.learning_rate


def test_every_other_claim_is_as_its_source_states_it_and_there_is_none_besides() -> None:
    rest = {spec.id: told(spec.claims) for spec in catalogue().values() if spec.claims and spec.case not in GRID}
    assert rest == ELSEWHERE


def test_a_reduction_by_a_tuning_that_is_not_named_cannot_be_tested() -> None:
    untestable = {spec.id for spec in catalogue().values() for claim in spec.claims if claim.untestable}
    assert untestable == {"cifar-resnet50/cifar10", "cifar-resnet-small"}


def test_every_choice_that_a_source_leaves_open_is_marked() -> None:
    for spec in catalogue().values():
        if spec.name not in OWN:
            assert "seeds" in {assumption.about for assumption in spec.assumptions}, spec.id
            assert len(spec.assumptions) == len({assumption.about for assumption in spec.assumptions})


def test_no_case_is_computed_twice() -> None:
    assert len({spec.digest for spec in catalogue().values()}) == len(catalogue())


STAGES = {
    "mnist-encoder-classifier": ("mnist-autoencoder", 45),
    "mnist-encoder-finetuned": ("mnist-encoder-classifier", 20),
    "transfer-classification": ("transfer-pretrain", 2),
    "transfer-finetuned": ("transfer-classification", 2),
    "transfer-detection": ("transfer-pretrain", 3),
}


def test_stages_start_from_one_another_and_their_shapes_fit() -> None:
    found = {spec.id: (stages.parent(spec), spec.epochs) for spec in catalogue().values() if stages.parent(spec)}
    assert found == STAGES
    for child, (parent, _) in STAGES.items():
        theirs = catalogue()[parent].tensors
        names = catalogue()[child].inherited_names
        assert names
        assert {n: catalogue()[child].tensors[n].shape for n in names} == {n: theirs[n].shape for n in names}
    stages.generations(tuple(catalogue().values()))  # or it raises


def test_a_frozen_base_leaves_the_head_and_fine_tuning_less_of_it() -> None:
    def trained(name: str) -> set[str]:
        return {tensor.split("/")[0] for tensor in catalogue()[name].trainable}

    assert trained("mnist-encoder-classifier") == {"dense_3", "dense_4"}
    assert trained("mnist-encoder-finetuned") == {"dense_1", "dense_2", "dense_3", "dense_4"}
    assert trained("transfer-classification") == {"dense_1", "dense_2"}
    assert trained("transfer-finetuned") == {"conv2d_3", "batch_norm_3", "dense_1", "dense_2"}
    assert trained("transfer-detection") == {"concat_1"}
    assert trained("transfer-imagenet") == {"dense_1"}
    slow, fast = (catalogue()[f"transfer-{name}"].optimizer for name in ("finetuned", "classification"))
    assert slow.learning_rate < fast.learning_rate


def test_all_of_resnet_50_but_its_head_comes_from_imagenet() -> None:
    spec = catalogue()["transfer-imagenet"]
    assert stages.imported(spec) == "imagenet-resnet50"
    assert spec.tensors.keys() - spec.inherited_names == {"dense_1/kernel", "dense_1/bias"} == spec.trainable.keys()


def test_both_resnet_50s_have_the_parameters_of_torchvisions_but_for_stem_and_head() -> None:
    """torchvision's has 25,557,032: 2,049,000 of them in its head, 9,408 in its first convolution."""
    body = 25_557_032 - 2_049_000 - 9_408
    for case, classes in (("cifar10", 10), ("cifar10-v1", 10), ("cifar100", 100)):
        assert catalogue()[f"cifar-resnet50/{case}"].parameters == body + 3 * 3 * 3 * 64 + 2049 * classes


def test_resnet_50_at_224_pixels_is_torchvisions_and_learns_nothing() -> None:
    spec = catalogue()["resnet50-224"]
    assert spec.parameters == 25_557_032
    assert (spec.input_shape, spec.graph[-1].output, spec.speed_alone) == ((224, 224, 3), (1000,), True)
    halving = {node.name.rpartition("/")[2] for node in walk(spec.graph) if _halves(node) and "/body/" in node.name}
    assert halving == {"conv2d_2"}, "v1.5 halves the image in the 3x3 convolution"


def _halves(node: Node) -> bool:
    return isinstance(node.layer, Conv2D) and node.layer.stride == (2, 2)


@pytest.mark.parametrize("name", ["kjv", "tales"])
def test_the_words_that_are_asked_about_are_in_the_vocabulary(name: str) -> None:
    try:
        arrays = datasets.load(name) if name != "tales" or datasets.fetch(name) else None
    except DataError as error:
        pytest.skip(error.what)
    asked = [spec.task for spec in catalogue().values() if spec.dataset == name]
    assert len(asked) == 2
    for task in asked:
        assert isinstance(task, WordEmbedding)
        assert {*task.neighbours, *(word for question in task.analogies for word in question)} <= {*arrays.words[1:]}


def parts(specs: set[str]) -> set[str]:
    """Every kind of layer, loss, target, optimizer and trick there is in some specs."""
    found = set()
    for spec in (catalogue()[name] for name in specs):
        found |= {node.layer.layer for node in walk(spec.graph)} | {spec.loss, spec.target}
        found |= {f"{spec.optimizer.name}{' with momentum' if getattr(spec.optimizer, 'momentum', 0) else ''}"}
        found |= {name for name in ("l2", "schedule", "frozen") if getattr(spec, name)}
        norms = (node for node in walk(spec.graph) if node.layer.layer == "batch_norm")
        found |= {"frozen batch norm" for node in norms if spec.is_frozen(node)}
    return found


def test_the_selection_for_ci_proves_each_kind_of_layer_loss_and_optimizer() -> None:
    selected, specs = profile("identity-ci")
    assert selected.rounds == 0
    assert parts(specs) == parts(set(catalogue()))


@pytest.mark.parametrize("name", ["identity", "catalogue-gpu"])
def test_the_whole_catalogue_is_in(name: str) -> None:
    assert profile(name)[1] == set(catalogue())


def test_a_look_at_the_catalogue_leaves_out_what_only_a_gpu_can_train() -> None:
    look, specs = profile("catalogue")
    assert set(catalogue()) - specs == {spec for spec in catalogue() if "resnet50" in spec}
    assert (look.rounds, look.epochs) == (1, 1)


def test_proofs_are_asked_for_in_every_mode() -> None:
    on_a_gpu = {"graphs", "compile_graphs", "max_autotune"}  # which a processor has not
    modes = {token: set(base.modes(token)) - on_a_gpu for token in ("torch", "tf")}
    fewer = {token: several - {"quickstart"} for token, several in modes.items()}
    for name, wanted in (("identity", modes), ("identity-ci", fewer), ("styles", fewer), ("gains", modes)):
        assert {runner: set(found) for runner, found in profile(name)[0].runners.items()} == wanted


def test_a_quickstart_stands_for_nobody_unless_it_is_asked_for() -> None:
    """It is no runner's first mode, which is its default, and neither default profile names it."""
    assert all(base.modes(token)[0] != "quickstart" for token in base.tokens())
    for name in ("quick", "standard"):
        assert all("quickstart" not in modes for modes in profile(name)[0].runners.values())


def test_the_studies_are_run_to_their_end_from_five_seeds() -> None:
    studies, specs = profile("studies")
    assert (studies.rounds, len(set(studies.seeds)), studies.epochs) == (5, 5, None)
    cases = [grid()[spec.partition("/")[2]] for spec in specs if spec.startswith("mnist-mlp-grid/")]
    assert len(set(cases) & {grid()[case] for case in GRID}) == 4
    assert {spec.early_stopping.restore_best for spec in cases if spec.early_stopping} == {False, True}
    assert any("batch_norm" in {layer.layer for layer in spec.model} for spec in cases)
    names = {spec.partition("/")[0] for spec in specs}
    assert {"mnist-mlp-128", "anomaly-autoencoder", "cbow", "transfer-classification", "transfer-finetuned"} <= names
    assert {stages.parent(catalogue()[spec]) for spec in specs} - {None} <= specs


def test_the_profile_quick_takes_the_short_text_and_fetches_no_long_one() -> None:
    assert {spec for spec in profile("quick")[1] if spec.startswith("cbow")} == {"cbow/tales"}
