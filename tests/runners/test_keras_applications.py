"""ResNet-50 against an implementation that no one here wrote: Keras' own, whose blocks stride in front (v1)."""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("suite.runners.tf.runner", reason="needs the tf environment")
keras = pytest.importorskip("keras", reason="needs the tf environment")

from suite.inputs import initial  # noqa: E402
from suite.runners.base import Runner, State, Weights  # noqa: E402
from suite.runners.reference import runner as reference  # noqa: E402
from suite.spec.dataset import DatasetFacts  # noqa: E402
from suite.spec.presets import Resnet  # noqa: E402
from suite.spec.resolved import Spec  # noqa: E402
from tests.support import contract  # noqa: E402 - it needs no framework, but is of use only with one  # noqa: E402

pytestmark = pytest.mark.tf
BLOCKS, CLASSES, SIZE = (3, 4, 6, 3), 10, 64
EPSILON = 1.001e-5
"""Of every batch norm in ``keras.applications``' ResNets."""


@pytest.fixture(scope="module", autouse=True)
def native() -> Iterator[tf.Runner]:
    """Made before Keras computes anything, for it sets the process's threads; Keras then computes in float64."""
    made = tf.Runner("cpu", contract.THREADS, 0)
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield made
    keras.config.set_floatx(before)


@pytest.fixture(scope="module", params=["tf", "reference"])
def runner(request: pytest.FixtureRequest, native: tf.Runner) -> Runner:
    return native if request.param == "tf" else reference.Runner("cpu", contract.THREADS, 0)


def resnet(**fields: Any) -> Spec:
    form = Resnet(
        blocks=BLOCKS, classes=CLASSES, stem="imagenet", stride="first", use_bias=True, momentum=0.99, epsilon=EPSILON
    )
    facts = DatasetFacts(
        name="photos", image_shape=(SIZE, SIZE, 3), classes=CLASSES, train=4, test=4, max_value=255, digest="sha256:0"
    )
    model = [layer.model_dump(mode="json") for layer in form.model_copy(update=fields).layers()]
    return contract.spec(model, data=facts.model_dump(mode="json"), dataset="photos", batch_size=2)


def theirs() -> Any:
    shape = (SIZE, SIZE, 3)
    return keras.applications.ResNet50(weights=None, input_shape=shape, classes=CLASSES, classifier_activation=None)


def canonical(path: str) -> str:
    """Keras' ``conv3_block2_1_conv/kernel`` is ``residual_5/body/conv2d_1/kernel``; a block's 0 is its shortcut."""
    layer, _, role = path.partition("/")
    if layer == "predictions":
        return f"dense_1/{role}"
    kind = "batch_norm" if layer.endswith("_bn") else "conv2d"
    if layer.startswith("conv1_"):
        return f"{kind}_1/{role}"
    found = re.fullmatch(r"conv([2-5])_block([0-9]+)_([0-3])_(?:conv|bn)", layer)
    assert found, path
    stage, block, place = map(int, found.groups())
    residual = [0, *accumulate(BLOCKS)][stage - 2] + block
    branch = f"body/{kind}_{place}" if place else f"shortcut/{kind}_1"
    return f"residual_{residual}/{branch}/{role}"


def shaken(spec: Spec) -> Weights:
    """Weights as drawn, with biases and running statistics that would tell if they took no part."""
    random = initial.stream(0, "shake")
    drawn = initial.weights(spec, 0)
    return {n: v if n.endswith("kernel") else v + random.uniform(-0.1, 0.1, v.shape) for n, v in drawn.items()}


def carried(weights: Weights) -> Any:
    model = theirs()
    for variable in model.variables:
        variable.assign(weights[canonical(variable.path)])
    return model


def images() -> np.ndarray:
    return initial.stream(0, "photos").random((2, SIZE, SIZE, 3))


def test_every_tensor_has_its_counterpart_of_the_same_shape() -> None:
    found = {canonical(variable.path): tuple(variable.shape) for variable in theirs().variables}
    assert found == {name: tensor.shape for name, tensor in resnet().tensors.items()}


def test_with_the_same_weights_outputs_are_keras_own(runner: Runner) -> None:
    spec = resnet()
    weights = shaken(spec)
    program = runner.build(spec, runner.modes[0], "float64")
    program.load(State(weights))
    expected = carried(weights)(images(), training=False).numpy()
    assert np.abs(program.infer(images()) - expected).max() <= contract.EQUAL * np.abs(expected).max()


def test_a_training_pass_is_keras_own(native: tf.Runner) -> None:
    """Loss, each gradient and each running mean; Keras keeps the biased variance, this suite the unbiased one."""
    spec, labels = resnet(), np.array([3, 7], np.int32)
    weights = shaken(spec)
    program = native.build(spec, "eager", "float64")
    program.load(State(weights))
    found = program.probe(images(), labels)
    model = carried(weights)
    with tf.tf.GradientTape() as tape:
        outputs = model(images(), training=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, outputs)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    contract.close({"loss": np.array(found.loss)}, {"loss": loss.numpy()}, "loss")
    expected = {canonical(v.path): g.numpy() for v, g in zip(variables, gradients, strict=True)}
    contract.close(found.gradients, expected, "gradient")
    means = {canonical(v.path): v.numpy() for v in model.variables if v.path.endswith("moving_mean")}
    contract.close({name: found.statistics[name] for name in means}, means, "statistic")


@pytest.mark.parametrize("other", [{"stride": "3x3"}, {"epsilon": 1e-5}])
def test_another_stride_or_epsilon_gives_other_outputs(native: tf.Runner, other: dict[str, Any]) -> None:
    """The weights fit all of them, so that nothing but the outputs tells."""
    weights = shaken(resnet())
    outputs = []
    for spec in (resnet(), resnet(**other)):
        program = native.build(spec, "eager", "float64")
        program.load(State(weights))
        outputs.append(program.infer(images()))
    assert np.abs(outputs[0] - outputs[1]).max() > 10 * contract.EQUAL * np.abs(outputs[0]).max()
