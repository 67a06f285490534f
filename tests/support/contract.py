"""What every framework's runner must keep, checked against the reference: specs, and checks that take a Runner."""

import json
import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from suite.inputs import initial
from suite.machine.environment import ROOT
from suite.runners.base import Array, Device, Precision, Program, Runner, State, Threads
from suite.runners.reference import runner as reference
from suite.spec.dataset import DatasetFacts
from suite.spec.resolved import Spec
from suite.spec.targets import Target

IMAGES = 21
SHAPE = (7, 6, 2)
FACTS = DatasetFacts(name="tiny", image_shape=SHAPE, classes=3, train=IMAGES, test=5, max_value=255, digest="sha256:0")
WORDS = 12
TOKENS = FACTS.model_copy(update={"image_shape": (8,), "classes": WORDS, "max_value": WORDS - 1})
THREADS = Threads(intra=2, inter=1)
SEED = 3
EQUAL = 1e-9
KINDS_FLOOR = 1e-3
"""Of the largest magnitude among the tensors compared: what a tensor of pure rounding noise is measured by."""

ADAM = {"name": "adam", "learning_rate": 0.01}
SGD = {"name": "sgd", "learning_rate": 0.1}
HEAD = [{"layer": "global_average_pool"}, {"layer": "dense", "units": 3}]
FLAT = [{"layer": "flatten"}, {"layer": "dense", "units": 3}]
TARGETS = {"softmax_cross_entropy": "labels", "detection": "boxes"}


def spec(model: list[dict[str, object]], facts: DatasetFacts = FACTS, **fields: object) -> Spec:
    """A small spec over images (7, 6, 2) of 3 classes; 21 images in batches of 8 leave a ragged batch of 5."""
    target = TARGETS.get(str(fields.get("loss", "softmax_cross_entropy")), "one_hot")
    recipe = {
        "name": "tiny", "dataset": "tiny", "model": model, "target": target, "optimizer": ADAM, "batch_size": 8,
        "epochs": 1, "data": facts.model_dump(mode="json"), **fields,
    }  # fmt: skip
    return Spec.model_validate_json(json.dumps(recipe))


def conv(kernel: object = 3, stride: object = 1, padding: object = "same", **fields: object) -> dict[str, object]:
    return {"layer": "conv2d", "filters": 4, "kernel": kernel, "stride": stride, "padding": padding, **fields}


def pool(kind: str, window: object, stride: object = None, padding: object = "same") -> dict[str, object]:
    return {"layer": kind, "window": window, "padding": padding, **({"stride": stride} if stride else {})}


# A bias before a batch norm has only rounding noise for a gradient, which Adam would scale up to a step.
PERCEPTRON = [
    {"layer": "flatten"},
    {"layer": "dense", "units": 5, "use_bias": False},
    {"layer": "batch_norm", "momentum": 0.7, "epsilon": 1e-3},
    {"layer": "relu"},
    {"layer": "dropout", "rate": 0.0},
    {"layer": "dense", "units": 4, "kernel_init": "he_normal"},
    {"layer": "tanh"},
    {"layer": "dense", "units": 4, "bias_init": "fan_in_uniform"},
    {"layer": "sigmoid"},
    {"layer": "dense", "units": 3},
]
CONVOLUTIONS = [
    conv(3, use_bias=False),
    {"layer": "batch_norm"},
    {"layer": "relu"},
    pool("max_pool", 2),
    conv([3, 2], [2, 1], bias_init="fan_in_uniform"),
    {"layer": "tanh"},
    pool("average_pool", 2),
    {"layer": "flatten"},
    {"layer": "dense", "units": 3},
]
RESIDUALS = [
    conv(3, padding="valid"),
    {
        "layer": "residual",
        "body": [conv(3, 2, use_bias=False), {"layer": "batch_norm"}, {"layer": "relu"}, conv(1)],
        "shortcut": [conv(1, 2, use_bias=False), {"layer": "batch_norm"}],
    },
    {"layer": "relu"},
    {"layer": "residual", "body": [{"layer": "relu"}, conv(2), {"layer": "sigmoid"}]},
    *HEAD,
]
AUTOENCODER = [conv(3), {"layer": "relu"}, {"layer": "conv2d", "filters": 2, "kernel": 3, "padding": "same"}]

BRANCHES = {
    "layer": "residual",
    "body": [{"layer": "flatten"}, {"layer": "dense", "units": 4}],
    "shortcut": [conv(3), {"layer": "global_average_pool"}],
}
SHARED = {"layer": "residual", "body": [{"layer": "relu"}, conv(1)]}
FLAT_AUTOENCODER = [{"layer": "flatten"}, {"layer": "dense", "units": 84}]
JOINED = {
    "layer": "concat",
    "branches": [
        [{"layer": "flatten"}, {"layer": "dense", "units": 3}],
        [{"layer": "relu"}, {"layer": "global_average_pool"}],
    ],
}
DETECTOR = [conv(3, 2, 1), {"layer": "tanh"}, JOINED]
COUNTED = {"count_padding": True}
BIASED = {"layer": "batch_norm", "momentum": 0.7, "running_variance": "biased"}
OTHER_WAY = [
    conv(3, use_bias=False),
    BIASED,
    {"layer": "tanh"},
    pool("average_pool", 2, 2, "same") | COUNTED,
    {"layer": "flatten"},
    {"layer": "dense", "units": 4, "use_bias": False},
    BIASED,
    {"layer": "sigmoid"},
    {"layer": "dense", "units": 3},
]
"""What specs may ask for where frameworks differ: images and vectors under a biased running variance."""
FREEZABLE = [
    conv(3, 1, [1, 0], use_bias=False),
    {"layer": "batch_norm"},
    {"layer": "relu"},
    {
        "layer": "residual",
        "body": [{"layer": "conv2d", "filters": 4, "kernel": 1, "use_bias": False}, {"layer": "batch_norm"}],
    },
    {"layer": "relu"},
    conv(2, use_bias=False),
    {"layer": "batch_norm"},
    JOINED,
    {"layer": "dense", "units": 3},
]
FROZEN = ["conv2d_1", "residual_1", "batch_norm_2", "concat_1/1"]
LOOKUP = {"layer": "embedding", "vocabulary": WORDS, "units": 5}
SCORES = {"layer": "sampled_scores", "vocabulary": WORDS, "units": 5, "context": 4}
WORD_HEAD = [LOOKUP, {"layer": "tanh"}, {"layer": "dense", "units": WORDS}]
TWO_TABLES = [{"layer": "concat", "branches": [[LOOKUP], [LOOKUP, {"layer": "relu"}]]}, *WORD_HEAD[1:]]
STEPS = {"at": [1, 3], "factor": 0.1}
RMSPROP = {"name": "rmsprop", "learning_rate": 0.01, "rho": 0.8, "epsilon": 1e-6}
MOMENTUM = {**SGD, "momentum": 0.9}
INSIDE = {**RMSPROP, "epsilon": 1e-2, "epsilon_place": "inside_root"}
EARLY = {**ADAM, "epsilon": 1e-2, "epsilon_place": "before_correction"}

WINDOWS = [
    (1, 1, "valid"), (2, 1, "same"), (2, 2, "same"), (3, 2, "same"), (3, 3, "same"), ((3, 2), (1, 2), "same"),
    ((4, 3), (2, 1), "same"), (5, 1, "same"), (3, 2, "valid"), ((2, 3), (3, 2), "valid"), (1, 3, "same"),
    (3, 2, 1), (3, 1, 2), ((3, 2), (2, 1), (1, 0)), (1, 2, (0, 1)),
]  # fmt: skip
POOLS = [
    (2, None, "same"), (2, None, "valid"), (3, 2, "same"), (2, 1, "same"), ((2, 3), 1, "same"), (3, 1, "same"),
    ((2, 3), (1, 2), "same"), (2, 3, "same"), ((3, 1), (2, 1), "valid"), (4, 2, "same"), (3, 2, 1), ((2, 4), 1, (0, 2)),
    ((3, 2), 3, (1, 0)),
]  # fmt: skip


def words(model: list[dict[str, object]], negatives: int = 0, **fields: object) -> Spec:
    """A small spec over windows of 4 words, of a vocabulary of 12."""
    sampled = {"loss": "sigmoid_cross_entropy", "target": "first"} if negatives else {}
    task = {"kind": "embedding", "window": 2, "negatives": negatives}
    return spec(model, TOKENS, task=task, **sampled, **fields)


def detector(**fields: object) -> Spec:
    """A small spec that tells a class of 3 and a box, on canvases (7, 7, 2)."""
    return spec(DETECTOR, loss="detection", task={"kind": "detection", "canvas": 7, "box_weight": 1.5}, **fields)


SPECS: list[tuple[str, Spec]] = [
    ("perceptron", spec(PERCEPTRON)),
    ("convolutions", spec(CONVOLUTIONS)),
    ("residuals", spec(RESIDUALS)),
    ("l2", spec(CONVOLUTIONS, l2=0.01)),
    ("l2-sgd", spec(PERCEPTRON, l2=0.01, optimizer=MOMENTUM)),
    ("sgd", spec(PERCEPTRON, optimizer=SGD)),
    ("momentum", spec(CONVOLUTIONS, optimizer=MOMENTUM)),
    ("nesterov", spec(CONVOLUTIONS, optimizer={**MOMENTUM, "nesterov": True})),
    ("rmsprop", spec(CONVOLUTIONS, optimizer=RMSPROP)),
    ("adam", spec(PERCEPTRON, optimizer={**ADAM, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3})),
    ("sigmoid-loss", spec(PERCEPTRON, loss="sigmoid_cross_entropy")),
    ("squared-loss", spec([*PERCEPTRON, {"layer": "softmax"}], loss="mean_squared_error")),
    ("autoencoder", spec(AUTOENCODER, loss="mean_squared_error", target="input")),
    ("autoencoder-flat", spec(FLAT_AUTOENCODER, loss="sigmoid_cross_entropy", target="input")),
    ("norm-first", spec([{"layer": "batch_norm"}, {"layer": "relu"}, *FLAT])),
    ("softmax-of-channels", spec([conv(1), {"layer": "softmax"}, *FLAT])),
    ("relu-of-shared", spec([conv(1), SHARED, *FLAT])),
    ("flat-in-branches", spec([BRANCHES, {"layer": "dense", "units": 3}])),
    ("words", words(WORD_HEAD)),
    ("words-l2-sgd", words(WORD_HEAD, l2=0.01, optimizer=MOMENTUM)),
    ("words-rmsprop", words(TWO_TABLES, optimizer=RMSPROP)),
    ("words-frozen", words(TWO_TABLES, frozen=["concat_1/1"])),
    ("sampled", words([SCORES], 3)),
    ("sampled-sgd", words([SCORES], 3, optimizer=SGD)),
    ("boxes", detector()),
    ("boxes-l2-frozen", detector(l2=0.01, frozen=["conv2d_1"], optimizer=MOMENTUM)),
    ("branches", spec([*FREEZABLE])),
    ("frozen", spec(FREEZABLE, frozen=FROZEN)),
    ("frozen-l2-steps", spec(FREEZABLE, frozen=FROZEN, l2=0.01, schedule=STEPS)),
    ("steps-sgd", spec(FLAT, optimizer=SGD, schedule=STEPS)),
    ("steps-momentum", spec(FLAT, optimizer=MOMENTUM, schedule=STEPS)),
    ("steps-nesterov", spec(FLAT, optimizer={**MOMENTUM, "nesterov": True}, schedule=STEPS)),
    ("steps-rmsprop", spec(FLAT, optimizer=RMSPROP, schedule=STEPS)),
    *((f"conv-{k}-{s}-{p}", spec([conv(k, s, p), {"layer": "relu"}, *FLAT])) for k, s, p in WINDOWS),
    ("other-way", spec(OTHER_WAY, optimizer=INSIDE)),
    ("other-way-adam-l2-steps", spec(OTHER_WAY, optimizer=EARLY, l2=0.01, schedule=STEPS)),
    ("other-way-frozen", spec(OTHER_WAY, optimizer=INSIDE, l2=0.01, frozen=["conv2d_1", "batch_norm_1"])),
    ("words-inside", words(TWO_TABLES, optimizer=INSIDE)),
    *(
        (f"average_pool-{w}-{s}-{p}-counted", spec([conv(1), pool("average_pool", w, s, p) | COUNTED, *FLAT]))
        for w, s, p in POOLS
    ),
    *(
        (f"{kind}-{w}-{s}-{p}", spec([conv(1), pool(kind, w, s, p), *FLAT]))
        for kind in ("max_pool", "average_pool")
        for w, s, p in POOLS
    ),
]
"""(id, spec) for every layer, loss and optimizer, and every way that padding falls."""

NAMES = (
    *("perceptron", "residuals", "l2", "rmsprop", "average_pool-2-1-same", "sampled", "boxes", "frozen-l2-steps"),
    *("other-way", "other-way-adam-l2-steps", "average_pool-2-1-same-counted"),
)
FEW = [(n, one) for n, one in SPECS if n in NAMES]
"""For modes in which every graph is compiled for many seconds."""


def ids(specs: list[tuple[str, Spec]]) -> list[str]:
    return [name for name, _ in specs]


@cache
def data(of: Spec, precision: Precision = "float64") -> tuple[Array, Array]:
    """Random images, or words of which the first is there twice, and targets of the spec's kinds."""
    random = initial.stream(SEED, "contract")
    pixels = random.integers(0, of.data.max_value + 1, (IMAGES, *of.input_shape), dtype=np.uint8)
    labels = random.integers(0, of.data.classes, IMAGES)
    if of.input_dtype == "tokens":
        images = pixels.astype(np.int32)
        images[:, 1] = images[:, 0]
    else:
        images = initial.images(of, pixels, np.dtype(precision))
    match of.target:
        case Target.BOXES:
            return images, np.column_stack([labels, random.random((IMAGES, 4))]).astype(precision)
        case Target.FIRST:
            return images, np.eye(1, of.graph[-1].output[0]).repeat(IMAGES, axis=0).astype(precision)
        case _:
            return images, initial.targets(of, labels, images)


def start(of: Spec) -> State:
    """Weights as drawn, shaken so that no bias, gamma or running statistic is at a value that hides a fault."""
    random = initial.stream(SEED, "shake")
    weights = initial.weights(of, SEED)
    return State({name: value + random.uniform(0.05, 0.25, value.shape) for name, value in weights.items()})


def programs(runner: Runner, of: Spec, mode: str) -> tuple[Program, Program]:
    """The runner's program and the reference's in float64, from the same state, with the same data staged."""
    made = runner.build(of, mode, "float64"), reference.Runner("cpu", THREADS, SEED).build(of, "numpy", "float64")
    for program in made:
        program.stage("train", *data(of))
        program.load(start(of))
    return made


def close(found: dict[str, Array], expected: dict[str, Array], what: str) -> None:
    """Every tensor within 1e-9 of its largest value, or of a thousandth of the largest among all of them."""
    assert found.keys() == expected.keys(), what
    largest = max((np.abs(value).max() for value in expected.values()), default=0)
    for name, value in expected.items():
        assert found[name].shape == value.shape, f"{what} {name}"
        scale = max(np.abs(value).max(), KINDS_FLOOR * largest)
        assert np.abs(found[name] - value).max() <= EQUAL * scale, f"{what} {name}"


def check_probe(runner: Runner, of: Spec, mode: str) -> None:
    """Outputs, loss, gradients and statistics equal the reference's; the probe changes nothing."""
    program, defined = programs(runner, of, mode)
    images, targets = data(of)
    before = program.state()
    found, expected = program.probe(images[:8], targets[:8]), defined.probe(images[:8], targets[:8])
    close({"outputs": found.training_outputs}, {"outputs": expected.training_outputs}, "training")
    close({"outputs": found.outputs}, {"outputs": expected.outputs}, "evaluation")
    close({"loss": np.array(found.loss)}, {"loss": np.array(expected.loss)}, "loss")
    close(found.gradients, expected.gradients, "gradient")
    assert found.gradients.keys() == of.trainable.keys()
    close(found.statistics, expected.statistics, "statistic")
    close(program.state().weights, before.weights, "unchanged")
    again = program.probe(images[:8], targets[:8])
    close(again.gradients, expected.gradients, "gradient again")


def check_steps(runner: Runner, of: Spec, mode: str, steps: int = 10) -> None:
    """Single steps, each from the reference's weights and slots, end where the reference's step ends.

    What is frozen stays as it was, to the bit.
    """
    program, defined = programs(runner, of, mode)
    for i in range(steps):
        program.load(defined.state())
        batch = np.arange(i, i + 8, dtype=np.int32)
        loss, expected = program.train(batch), defined.train(batch)
        close({"loss": np.array(loss)}, {"loss": np.array(expected)}, f"step {i} loss")
        found, wanted = program.state(), defined.state()
        assert found.step == wanted.step == i + 1
        still = of.frozen_names
        assert all(np.array_equal(found.weights[name], start(of).weights[name]) for name in still)
        close(found.weights, wanted.weights, f"step {i} weight")
        assert found.slots.keys() == wanted.slots.keys()
        for slot in wanted.slots:
            close(found.slots[slot], wanted.slots[slot], f"step {i} {slot}")


def check_epoch(runner: Runner, of: Spec, mode: str) -> None:
    """An epoch with a ragged last batch, in an order of its own: mean loss and weights as the reference has them."""
    program, defined = programs(runner, of, mode)
    order = initial.order(SEED, 0, IMAGES)
    loss, expected = program.train(order), defined.train(order)
    close({"loss": np.array(loss)}, {"loss": np.array(expected)}, "epoch loss")
    found, wanted = program.state().weights, defined.state().weights
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():  # free-running steps amplify rounding
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-7, err_msg=name)


def check_prediction(runner: Runner, of: Spec, mode: str) -> None:
    """Batch by batch, in one query, in a query of odd strides and in the probe the outputs are the same."""
    program, defined = programs(runner, of, mode)
    images, targets = data(of)
    expected = defined.infer(images)
    for size in (8, 1000):  # with a ragged last batch, and larger than the split
        close({"outputs": program.predict("train", size)}, {"outputs": expected}, f"predict by {size}")
    close({"outputs": program.infer(images)}, {"outputs": expected}, "infer")
    close({"outputs": program.infer(images[::-1])}, {"outputs": expected[::-1]}, "reversed")
    across = (0, 3, 1, 2) if images.ndim == 4 else (1, 0)
    turned = np.ascontiguousarray(images.transpose(across)).transpose(np.argsort(across))
    turned.flags.writeable = False
    close({"outputs": program.infer(turned)}, {"outputs": expected}, "read-only channels first")
    close({"outputs": program.probe(images, targets).outputs}, {"outputs": expected}, "probe")
    assert program.infer(images).shape == (IMAGES, *of.graph[-1].output)


def check_state(runner: Runner, of: Spec, mode: str) -> None:
    """What is loaded is what the state says, to the bit, slots and step included; a state is a copy."""
    program, _ = programs(runner, of, mode)
    order = initial.order(SEED, 0, IMAGES)
    program.train(order)
    kept = program.state()
    loss = program.train(order)
    after = program.state()
    program.load(kept)
    back = program.state()
    assert back.step == kept.step == 3
    for found, expected in ((back.weights, kept.weights), *((back.slots[s], kept.slots[s]) for s in kept.slots)):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
    assert program.train(order) == loss
    close(program.state().weights, after.weights, "after the same epoch")
    assert any(np.any(after.weights[name] != kept.weights[name]) for name in kept.weights)


def check_dropout(runner: Runner, mode: str, rate: float = 0.3) -> None:
    """Kept with probability ``1 - rate``, scaled by its inverse, different each time, the same after ``load``."""
    wide = spec(
        [{"layer": "flatten"}, {"layer": "dense", "units": 1000, "kernel_init": "zeros", "bias_init": "ones"},
         {"layer": "dropout", "rate": rate}, {"layer": "dense", "units": 3}],
        optimizer=SGD,
    )  # fmt: skip
    program = runner.build(wide, mode, "float64")
    images, targets = data(wide)
    weights = initial.weights(wide, SEED)
    weights["dense_2/kernel"] = np.full((1000, 3), 1 / 1000)
    program.stage("train", images, targets)
    program.load(State(weights))
    rows = program.probe(images, targets).training_outputs[:, 0]
    assert len(np.unique(rows)) > IMAGES // 2
    kept = rows * (1 - rate) * 1000
    np.testing.assert_allclose(kept, kept.round(), atol=1e-6)
    error = np.sqrt(rate * (1 - rate) / (1000 * IMAGES))
    assert abs(kept.mean() / 1000 - (1 - rate)) < 5 * error
    np.testing.assert_allclose(program.infer(images), 1.0)
    order = np.arange(IMAGES, dtype=np.int32)
    first, second = program.train(order), program.train(order)
    program.load(State(weights))
    assert program.train(order) == first != second


DETERMINISTIC = """
import sys
from suite.errors import Unsupported
from suite.inputs import initial
from suite.runners.base import find
from tests.support import contract
token, device, mode = sys.argv[1:]
of = dict(contract.SPECS)["convolutions"]
runner = find(token)(device, contract.THREADS, contract.SEED, deterministic=True)
try:
    program = runner.build(of, mode, "float32")
except Unsupported as error:
    sys.exit(print("unsupported:", error))
program.stage("train", *contract.data(of, "float32"))
program.load(contract.start(of))
for epoch in range(3):
    program.train(initial.order(contract.SEED, epoch, contract.IMAGES))
print(runner.settings()["deterministic"], initial.fingerprint(program.state().weights))
"""


def check_determinism(token: str, device: Device, mode: str) -> None:
    """Two processes that ask for determinism say that it is on, and end three epochs with the same bits.

    Skips where a runner says that it has no deterministic way.
    """
    command = [sys.executable, "-c", DETERMINISTIC, token, device, mode]
    variables = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # as every trial of such a run has it
    ended = [
        subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False) for _ in range(2)
    ]
    for done in ended:
        assert done.returncode == 0, done.stderr[-4000:]
    told = [done.stdout for done in ended]
    if told[0].startswith("unsupported:"):
        pytest.skip(told[0])
    assert told[0].startswith("on sha256:")
    assert told[0] == told[1]
