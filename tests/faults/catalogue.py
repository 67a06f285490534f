# ruff: noqa: E501
"""Faults that can be planted in any runner: in its spec, or in what crosses its boundary."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from suite.runners.base import Precision, Runner
from suite.spec.layers import Activation, AveragePool, BatchNorm, Conv2D, Dropout, MaxPool
from suite.spec.semantics import under
from suite.spec.tensors import Padding
from tests.faults.plant import Planted, layers, optimizer
from tests.faults.spoilt import (
    AxesSwapped,
    BatchesWeighAlike,
    BiasLost,
    BoxesByCorners,
    BoxLabelsOffByOne,
    ChannelsMixed,
    ContextLast,
    DecaysTables,
    Doubled,
    FlattenOrder,
    Flipped,
    FlushedSlots,
    FrozenDrifts,
    FrozenGradients,
    GradientMissing,
    Half,
    KeepsStaged,
    LabelsOffByOne,
    LastBatchLost,
    LoadTransposed,
    NanAfterAnEpoch,
    NanInOne,
    NextWord,
    OffRange,
    OneGradientOff,
    OneWeightOff,
    OrderIgnored,
    OrderOfNextBatch,
    OtherRange,
    PredictionOfLoading,
    PredictionShort,
    PredictionShuffled,
    QueryRounded,
    RaggedDropped,
    RemembersByAddress,
    RemembersByContent,
    RemembersLoss,
    RemembersPrediction,
    RemembersQueries,
    RemembersTraining,
    SlotScaled,
    SlotsForgotten,
    StatisticsStill,
    StepAhead,
    StepMiscounted,
    StepStuck,
    TrainsOther,
    Transposed,
    TrueWordLast,
    WeightsOfLoading,
)

RELATIVE = tuple(10.0**-n for n in range(1, 11))


@dataclass(frozen=True)
class Fault:
    """What is planted where, and what the gate has to say: a pattern over ``section: tensor``.

    A numeric fault comes in several magnitudes, gravest first; those down to ``must`` have to be caught and named.
    Magnitudes are relative, or bits of mantissa that are left.
    """

    name: str
    spec: str
    expected: str
    plant: Callable[[Runner, float], Runner]
    ladder: tuple[float, ...] = (1.0,)
    must: float = 0.0
    precision: Precision = "float32"

    @property
    def unit(self) -> str:
        """What the magnitudes count."""
        return "bits" if self.ladder[0] > 1 and self.ladder[0] < self.ladder[-1] else ""

    def must_catch(self, magnitude: float) -> bool:
        """Whether the gate has to see it."""
        return magnitude <= self.must if self.unit else magnitude >= self.must


class FirstOnly:
    """A change for the first layer of a kind alone."""

    def __init__(self, kind, change):
        self._kind, self._change, self._done = kind, change, False

    def __call__(self, layer):
        if self._done or not self._kind(layer):
            return layer
        self._done = True
        return self._change(layer)


def _first(kind, change):
    return lambda runner, m: Planted(runner, spec=lambda spec: layers(spec, FirstOnly(kind, lambda x: change(x, m))))


def _program(cls, **attributes):
    def plant(runner, m):
        return Planted(runner, program=type(cls.__name__, (cls,), {**attributes, "m": m}))

    return plant


class OtherPrecision(Planted):
    """Computes in another precision than it is asked for, but for the float64 in which it is proven."""

    def __init__(self, inner, other):
        super().__init__(inner)
        self._other = other

    def build(self, spec, mode, precision):
        return super().build(spec, mode, precision if precision == "float64" else self._other)


def other_precision(other):
    """Asked for another precision than the one that is timed."""
    return lambda runner, _m: OtherPrecision(runner, other)


def _training_alone(change):
    """The probe and the queries are right, only training follows another spec."""

    def plant(runner, m):
        def program(inner, spec, precision):
            return TrainsOther(inner, spec, precision, runner.build(change(spec, m), planted.mode, precision))

        planted = Planted(runner, program=program)
        return planted

    return plant


def _drops(layer):
    return isinstance(layer, Dropout) and layer.rate > 0


def _is(kind):
    return lambda layer: isinstance(layer, kind)


def _relu(layer):
    return isinstance(layer, Activation) and layer.layer == "relu"


def _optimizer(**changes):
    def change(spec, m):
        return optimizer(spec, **{k: f(getattr(spec.optimizer, k), m) for k, f in changes.items()})

    return lambda runner, m: Planted(runner, spec=lambda spec: change(spec, m))


def _l2(change):
    return lambda runner, m: Planted(runner, spec=lambda spec: spec.replace(l2=change(spec.l2, m)))


def _task(**changes):
    def change(spec, m):
        new = {k: f(getattr(spec.task, k), m) for k, f in changes.items() if hasattr(spec.task, k)}
        return spec.replace(task=spec.task.model_copy(update=new))

    return lambda runner, m: Planted(runner, spec=lambda spec: change(spec, m))


def _schedule(**changes):
    def change(spec, m):
        if not spec.schedule:
            return spec
        new = {k: f(getattr(spec.schedule, k), m) for k, f in changes.items()}
        return spec.replace(schedule=spec.schedule.model_copy(update=new))

    return lambda runner, m: Planted(runner, spec=lambda spec: change(spec, m))


def _thaws(ending):
    """Everything whose name begins so is not frozen."""

    def change(spec, _m):
        return spec.replace(frozen=tuple(name for name in spec.frozen if not name.startswith(ending)))

    return change


def _unbiased(spec, _m):
    return under(spec, ("unbiased_running_variance",))


def _shorter_epoch(spec, _m):
    """The ragged batch is not counted among an epoch's steps."""
    whole = spec.data.train // spec.batch_size * spec.batch_size
    return spec.replace(data=spec.data.model_copy(update={"train": whole})) if spec.schedule else spec


def _complement(value, _m):
    return 1 - value


def _relative(value, m):
    return value * (1 + m)


def _update(**fields):
    return lambda layer, m: layer.model_copy(update={k: f(getattr(layer, k), m) for k, f in fields.items()})


STEP_1 = r"float64 step 1, "
ALONE = rf"{STEP_1}weights: \S+|optimizer alone, float64, \w+ slots, weights: dense_1/\w+"
# fmt: off
FAULTS = (  # a fault a line, to be read as a table
    Fault("label off by one", "mlp", r"float64 loss: loss", _program(LabelsOffByOne)),
    Fault("NCHW read as NHWC", "cnn", r"float64 training outputs: conv2d_1", _program(ChannelsMixed)),
    Fault("inputs in [-1, 1] instead of [0, 1]", "mlp", r"float64 training outputs: flatten_1", _program(OtherRange)),
    Fault("input scale", "mlp", r"float64 training outputs: flatten_1", _program(OffRange), RELATIVE, 1e-8),
    Fault("kernel transposed", "mlp", r"float64 training outputs: dense_1/kernel", _program(Transposed)),
    Fault("kernel transposed on the way in", "mlp", r"float64 held weights: dense_1/kernel", _program(LoadTransposed)),
    Fault("convolution instead of correlation", "cnn", r"float64 training outputs: conv2d_1/kernel", _program(Flipped)),
    Fault("kernel's axes in and out swapped", "cnn", r"float64 training outputs: conv2d_2/kernel", _program(AxesSwapped)),
    Fault("flattened in NCHW order", "cnn", r"float64 training outputs: dense_1/kernel", _program(FlattenOrder)),
    Fault("bias takes no part", "mlp", r"float64 training outputs: dense_2/bias", _program(BiasLost)),
    Fault("one weight off", "mlp", r"float64 held weights: dense_1/kernel", _program(OneWeightOff), RELATIVE, 1e-8),
    Fault("relu skipped", "mlp", r"float64 training outputs: relu_1", _first(_relu, lambda *_: None)),
    Fault("tanh instead of relu", "cnn", r"float64 training outputs: relu_1", _first(_relu, lambda *_: Activation(layer="tanh"))),
    Fault("tanh skipped in a network with branches", "residual", r"float64 training outputs: tanh_1", _first(lambda layer: layer.layer == "tanh", lambda *_: None)),
    Fault("relu in a branch skipped", "residual", r"float64 training outputs: residual_1/body/relu_1", _first(_relu, lambda *_: None)),
    Fault("average instead of max pooling", "cnn", r"float64 training outputs: max_pool_1", _first(_is(MaxPool), lambda x, _: AveragePool(layer="average_pool", **x.model_dump(exclude={"layer"})))),
    Fault("max instead of average pooling", "cnn", r"float64 training outputs: average_pool_1", _first(_is(AveragePool), lambda x, _: MaxPool(layer="max_pool", **x.model_dump(exclude={"layer", "count_padding"})))),
    Fault("batch norm's epsilon", "cnn", r"float64 training outputs: batch_norm_1", _first(_is(BatchNorm), _update(epsilon=_relative)), (99.0, *RELATIVE), 1e-3),
    Fault("batch norm's momentum as its complement", "cnn", r"float64 statistics: batch_norm_1/moving_mean", _first(_is(BatchNorm), _update(momentum=_complement))),
    Fault("batch norm's momentum", "cnn", r"float64 statistics: batch_norm_1/moving_\w+", _first(_is(BatchNorm), _update(momentum=lambda v, m: v * (1 - m))), RELATIVE, 1e-8),
    Fault("statistics stand still in training", "cnn", STEP_1 + r"statistics: .*", _program(StatisticsStill)),
    Fault("learning rate", "mlp", STEP_1 + r"weights: dense_1/kernel", _optimizer(learning_rate=_relative), RELATIVE, 1e-5),
    Fault("beta 1 as its complement", "mlp", STEP_1 + r"slot m: dense_1/kernel", _optimizer(beta_1=_complement)),
    Fault("beta 2", "mlp", STEP_1 + r"slot v: dense_1/kernel", _optimizer(beta_2=lambda v, m: v * (1 - m)), RELATIVE, 1e-8),
    Fault("beta 2 through float32", "mlp", STEP_1 + r"slot v: dense_1/kernel", _optimizer(beta_2=lambda v, _: float(np.float32(v)))),
    Fault("Adam's epsilon", "mlp", STEP_1 + r"weights: \S+", _optimizer(epsilon=_relative), (99.0, *RELATIVE), 1e-2),
    Fault("RMSprop's rho", "residual", STEP_1 + r"slot square: conv2d_1/kernel", _optimizer(rho=lambda v, m: v * (1 - m)), RELATIVE, 1e-8),
    Fault("momentum as its complement", "cnn", r"float64 step (1, weights|2, slot velocity): conv2d_1/kernel", _optimizer(momentum=_complement)),
    Fault("Nesterov's momentum lost", "cnn", STEP_1 + r"weights: conv2d_1/kernel", _optimizer(nesterov=lambda *_: False)),
    Fault("weight decay without its 2", "mlp", r"float64 gradients: dense_3/kernel", _l2(lambda l2, _: l2 / 2)),
    Fault("weight decay", "mlp", r"float64 gradients: dense_\d/kernel", _l2(_relative), RELATIVE, 1e-5),
    Fault("weight decay left out of training", "mlp", STEP_1 + r"slot m: dense_1/kernel", _training_alone(lambda spec, _: spec.replace(l2=0.0))),
    Fault("Adam's epsilon before bias correction", "mlp", STEP_1 + r"weights: \S+", _optimizer(epsilon_place=lambda *_: "before_correction")),
    Fault("Adam's epsilon after bias correction, not before", "early", STEP_1 + r"weights: \S+", _optimizer(epsilon_place=lambda *_: "after_correction")),
    Fault("Adam's epsilon before bias correction, off", "early", ALONE, _optimizer(epsilon=_relative), (99.0, *RELATIVE), 1e-8),
    Fault("RMSprop's epsilon inside the root", "residual", STEP_1 + r"weights: \S+", _optimizer(epsilon_place=lambda *_: "inside_root")),
    Fault("RMSprop's epsilon outside the root, not inside", "inside", STEP_1 + r"weights: \S+", _optimizer(epsilon_place=lambda *_: "outside_root")),
    Fault("RMSprop's epsilon inside the root, off", "inside", ALONE, _optimizer(epsilon=_relative), (99.0, *RELATIVE), 1e-8),
    Fault("running variance biased", "cnn", r"float64 statistics: batch_norm_1/moving_variance", _first(_is(BatchNorm), _update(running_variance=lambda *_: "biased"))),
    Fault("running variance unbiased, not biased", "inside", r"float64 statistics: batch_norm_1/moving_variance", _first(_is(BatchNorm), _update(running_variance=lambda *_: "unbiased"))),
    Fault("running variance of vectors unbiased, not biased", "early", r"float64 statistics: batch_norm_1/moving_variance", _first(_is(BatchNorm), _update(running_variance=lambda *_: "unbiased"))),
    Fault("running variance unbiased, not biased, in training alone", "inside", STEP_1 + r"statistics: batch_norm_1/moving_variance", _training_alone(_unbiased)),
    Fault("padding counts in a mean", "cnn", r"float64 training outputs: average_pool_1", _first(_is(AveragePool), _update(count_padding=lambda *_: True))),
    Fault("padding does not count in a mean where it should", "inside", r"float64 training outputs: average_pool_1", _first(_is(AveragePool), _update(count_padding=lambda *_: False))),
    Fault("slots forgotten on the way in", "cnn", r"float64 step 2, slot velocity: conv2d_1/kernel", _program(SlotsForgotten)),
    Fault("slot scaled", "mlp", STEP_1 + r"slot v: dense_1/kernel", _program(SlotScaled), RELATIVE, 1e-8),
    Fault("bias correction one step ahead", "mlp", STEP_1 + r"weights: dense_1/kernel", _program(StepAhead)),
    Fault("bias correction always at step 1", "mlp", r"float64 step 2, weights: dense_1/kernel", _program(StepStuck)),
    Fault("steps miscounted", "mlp", STEP_1 + r"count: step", _program(StepMiscounted)),
    Fault("ragged batch dropped", "cnn", r"float32 epoch, .*", _program(RaggedDropped)),
    Fault("order ignored", "mlp", STEP_1 + r"loss: loss", _program(OrderIgnored)),
    Fault("order off by one", "mlp", STEP_1 + r"loss: loss", _program(OrderOfNextBatch)),
    Fault("ragged batch weighs like a full one", "mlp", r"float32 epoch, loss: loss", _program(BatchesWeighAlike)),
    Fault("loss of the last batch", "mlp", r"float32 epoch, loss: loss", _program(LastBatchLost)),
    Fault("softmax behind the model", "mlp", r"float64 training outputs: outputs", _program(Doubled)),
    Fault("queries in half precision", "mlp", r"float32 query of .*: outputs", _program(QueryRounded)),
    Fault("prediction in another order", "mlp", r"float32 prediction: outputs", _program(PredictionShuffled)),
    Fault("prediction leaves out the ragged end", "mlp", r"float32 prediction: outputs", _program(PredictionShort)),
    Fault("NaN in one element", "mlp", r"float64 gradients: dense_1/bias", _program(NanInOne)),
    Fault("one element of a gradient off", "mlp", r"float64 gradients: dense_2/kernel", _program(OneGradientOff), RELATIVE, 1e-8),
    Fault("a gradient missing", "mlp", r"float64 gradients: dense_2/bias", _program(GradientMissing)),
    Fault("NaN after an epoch in single precision", "mlp", r"float32 epoch, weights: dense_1/kernel", _program(NanAfterAnEpoch)),
    Fault("small slots flushed to zero", "mlp", r"float32 epoch, slot \w+: \S+", _program(FlushedSlots), RELATIVE[:6], 1e-3),
    Fault("bits of the inputs", "mlp", r"float32 training outputs: flatten_1", _program(Half), (7, 10, 12, 14, 16, 18, 20), 16),
    Fault("explicit padding taken for SAME", "padded", r"float64 training outputs: conv2d_1", _first(_is(Conv2D), _update(padding=lambda *_: Padding.SAME))),
    Fault("row of a word off by one", "words", r"float64 training outputs: embedding_1/embedding", _program(NextWord)),
    Fault("context and candidates swapped", "sampled", r"float64 training outputs: sampled_scores_1", _program(ContextLast)),
    Fault("true word last among the candidates", "sampled", r"float64 loss: loss", _program(TrueWordLast)),
    Fault("weight decay on tables of words", "words", r"float64 gradients: embedding_1/embedding", _program(DecaysTables)),
    Fault("class beside a box off by one", "boxes", r"float64 loss: loss", _program(BoxLabelsOffByOne)),
    Fault("boxes by their corners", "boxes", r"float64 loss: loss", _program(BoxesByCorners)),
    Fault("weight of boxes missing", "boxes", r"float64 loss: loss", _task(box_weight=lambda *_: 1.0)),
    Fault("weight of boxes", "boxes", r"float64 loss: loss", _task(box_weight=_relative), RELATIVE, 1e-8),
    Fault("frozen layer trained", "frozen", STEP_1 + r"slot m: conv2d_1/kernel", _training_alone(_thaws("conv2d"))),
    Fault("frozen batch norm by the batch's statistics", "frozen", r"float64 training outputs: (residual_1/body/)?batch_norm_\d", lambda runner, m: Planted(runner, spec=lambda spec: _thaws("batch_norm")(spec, m))),
    Fault("frozen batch norm's statistics move", "frozen", STEP_1 + r"frozen: \S*batch_norm_\d/moving_mean", _program(FrozenDrifts, ending="moving_mean"), RELATIVE, 1e-8),
    Fault("weight decay on frozen kernels", "frozen", STEP_1 + r"frozen: conv2d_1/kernel", _program(FrozenDrifts, ending="kernel"), RELATIVE, 1e-8),
    Fault("gradient of a frozen tensor", "frozen", r"float64 gradients: conv2d_1/kernel", _program(FrozenGradients)),
    Fault("learning rate changes a step early", "scheduled", r"float64 step 5, weights: dense_1/kernel", _program(StepAhead)),
    Fault("learning rate never changes", "scheduled", r"float64 step 6, weights: dense_1/kernel", _program(StepStuck)),
    Fault("factor of the learning rate taken twice", "scheduled", r"float64 step 6, weights: dense_1/kernel", _schedule(factor=lambda f, _: f**2)),
    Fault("factor of the learning rate", "scheduled", r"float64 step 6, weights: dense_1/kernel", _schedule(factor=_relative), RELATIVE, 1e-5),
    Fault("only the first change of the learning rate", "scheduled", r"float64 step 8, weights: dense_1/kernel", _schedule(at=lambda at, _: at[:1])),
    Fault("learning rate by epochs of another length", "scheduled", r"float64 step 5, weights: dense_1/kernel", lambda runner, m: Planted(runner, spec=lambda spec: _shorter_epoch(spec, m))),
    Fault("learning rate unchanged in single precision", "scheduled", r"float32 epoch, .*", lambda runner, m: Planted(runner, program=lambda inner, spec, precision: StepStuck(inner, spec, precision) if precision == "float32" else inner)),
    Fault("training remembered", "mlp", r"float32 another epoch, .*", _program(RemembersTraining)),
    Fault("loss remembered", "cnn", STEP_1.replace("1", "2") + r"loss: loss", _program(RemembersLoss)),
    Fault("images of training kept", "mlp", r"float32 another epoch, .*", _program(KeepsStaged)),
    Fault("queries remembered", "mlp", r"float32 another query of 1: outputs", _program(RemembersQueries)),
    Fault("queries remembered by where images lie", "cnn", r"float32 another query of 1: outputs", _program(RemembersByAddress)),
    Fault("queries remembered by what images hold", "mlp", r"float32 query of 1 by other weights: outputs", _program(RemembersByContent)),
    Fault("queries remembered until weights are loaded", "words", r"float32 another query of 1: outputs", _program(RemembersQueries, by_weights=True)),
    Fault("prediction remembered", "mlp", r"float32 another prediction: outputs", _program(RemembersPrediction)),
    Fault("prediction remembered until weights are loaded", "boxes", r"float32 another prediction: outputs", _program(RemembersPrediction, by_weights=True)),
    Fault("queries by the weights that were loaded", "cnn", r"float32 query of 1 after training: outputs", _program(WeightsOfLoading)),
    Fault("prediction by the weights that were loaded", "usual", r"float32 prediction after training: outputs", _program(PredictionOfLoading)),
    Fault("Adam's epsilon where a relu is always on", "usual", ALONE, _optimizer(epsilon=_relative), (99.0, *RELATIVE), 1e-8),
    Fault("Adam's beta 1 where a relu is always on", "usual", STEP_1 + r"slot m: conv2d_1/kernel", _optimizer(beta_1=lambda v, m: v * (1 - m)), RELATIVE, 1e-8),
    Fault("Adam's beta 2 where a relu is always on", "usual", STEP_1 + r"slot v: conv2d_1/kernel", _optimizer(beta_2=lambda v, m: v * (1 - m)), RELATIVE, 1e-8),
    Fault("learning rate where a relu is always on", "usual", ALONE, _optimizer(learning_rate=_relative), RELATIVE, 1e-8),
    Fault("RMSprop's epsilon where a relu is always on", "usual rmsprop", ALONE, _optimizer(epsilon=_relative), (99.0, *RELATIVE), 1e-8),
    Fault("RMSprop's rho where a relu is always on", "usual rmsprop", STEP_1 + r"slot square: conv2d_1/kernel", _optimizer(rho=lambda v, m: v * (1 - m)), RELATIVE, 1e-8),
    Fault("weight decay left out where a relu is always on", "usual rmsprop", STEP_1 + r"slot square: conv2d_1/kernel", _training_alone(lambda spec, _: spec.replace(l2=0.0))),
    Fault("weight decay where a relu is always on", "usual rmsprop", r"float64 gradients: \S+/kernel", _l2(_relative), RELATIVE, 1e-5),
    Fault("one element of a gradient off where a relu is always on", "usual", r"float64 gradients: dense_1/kernel", _program(OneGradientOff, tensor="dense_1/kernel"), RELATIVE, 1e-8),
    Fault("small slots flushed to zero where a relu is always on", "usual", r"float32 epoch, slot \w+: \S+", _program(FlushedSlots), RELATIVE[:6], 1e-3),
    Fault("float32 where bfloat16 is asked", "mlp", r"bfloat16 gradients: as coarse as asked", other_precision("float32"), precision="bfloat16"),
    Fault("bfloat16 where float32 is asked", "cnn", r"float32 .*", other_precision("bfloat16")),
    Fault("rate of dropout as what is kept", "mlp", r"dropout 0.25: keep rate", _first(_drops, _update(rate=_complement))),
    Fault("rate of dropout", "mlp", r"dropout 0.25: (keep rate|scale)", _first(_drops, _update(rate=_relative)), RELATIVE[:4], 1e-3),
)
# fmt: on
