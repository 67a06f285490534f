"""The words of others: none means something in its place here, and each leads to something that there is."""

import re
from enum import Enum
from typing import Any, get_args

import pytest

from suite.data.registry import DATASETS
from suite.run.profile import Profile
from suite.runners import base
from suite.runners.base import Device, Threads
from suite.spec.graph import KINDS, Layer
from suite.spec.presets import Form, Mlp, Resnet
from suite.spec.recipe import Augmentation, Claim, EarlyStopping, Optimizer, Recipe, Schedule
from suite.spec.targets import Loss, Target
from suite.spec.tasks.anomaly import Anomaly
from suite.spec.tasks.detection import Detection
from suite.spec.tasks.embedding import WordEmbedding
from suite.spec.tasks.found import AnyTask
from suite.spec.tensors import Initialiser, Padding
from suite.spec.vocabulary import tables
from suite.spec.vocabulary.alike import INITIALISERS_ALIKE
from suite.spec.vocabulary.fields import FIELDS, fields_of
from suite.spec.vocabulary.tables import TERMS, VALUES, Place
from suite.spec.vocabulary.words import Gap, Synonym, Table, key, table
from suite.trial.options import INFERENCE_OPTIONS


def tags(union: Any, name: str) -> set[str]:
    return {word for one in get_args(get_args(union)[0]) for word in get_args(one.model_fields[name].annotation)}


def choices(annotation: Any) -> set[str]:
    return {one.value if isinstance(one, Enum) else one for one in get_args(annotation)}


KNOWN: dict[Place, set[str]] = {
    Place.LAYER: set(KINDS),
    Place.PADDING: set(Padding),
    Place.OPTIMIZER: tags(Optimizer, "name"),
    Place.LOSS: set(Loss),
    Place.INITIALISER: set(Initialiser),
    Place.SCHEDULE: set(),
    Place.TASK: tags(AnyTask, "kind"),
    Place.TARGET: set(Target),
    Place.MONITOR: choices(EarlyStopping.model_fields["monitor"].annotation),
    Place.METRIC: choices(Claim.model_fields["metric"].annotation),
    Place.DATASET: set(DATASETS),
    Place.RUNNER: set(base.tokens()),
    Place.MODE: {mode for token in base.tokens() for mode in base.modes(token)},
    Place.DEVICE: choices(Device),
    Place.INFERENCE_OPTION: set(INFERENCE_OPTIONS),
}
LAYER_MODELS = get_args(get_args(Layer)[0])
OPTIMIZER_MODELS = get_args(get_args(Optimizer)[0])
MODELS = {
    model.__name__: model
    for model in (
        *LAYER_MODELS, *OPTIMIZER_MODELS, Recipe, Profile, Schedule, EarlyStopping, Augmentation, Threads, Claim,
        Anomaly, Detection, WordEmbedding, Form, Mlp, Resnet,
    )
}  # fmt: skip
TEXTS = [
    (word, entry.nearest if isinstance(entry, Gap) else entry.but)
    for one in (*VALUES.values(), *FIELDS.values())
    for word, entry in one.items()
]


@pytest.mark.parametrize("place", Place)
def test_a_word_of_a_place_is_none_of_the_suites_there_and_a_synonym_leads_to_one(place):
    known = KNOWN[place]
    assert not {key(name) for name in known} & VALUES[place].keys()
    assert {entry.meant for entry in VALUES[place].values() if isinstance(entry, Synonym)} <= known


@pytest.mark.parametrize("name", MODELS)
def test_a_field_of_a_model_is_none_of_its_own_and_a_synonym_leads_to_one(name):
    model = MODELS[name]
    known = set(model.model_fields)
    kind = "layer" if model in LAYER_MODELS else "optimizer" if model in OPTIMIZER_MODELS else ""
    own, shared = fields_of(name, kind)
    assert not {key(field) for field in known} & own.keys()
    assert {entry.meant for entry in own.values() if isinstance(entry, Synonym)} <= known
    every = {field for one in (LAYER_MODELS if kind == "layer" else OPTIMIZER_MODELS) for field in one.model_fields}
    assert {entry.meant for entry in shared.values() if isinstance(entry, Synonym)} <= every


def test_every_table_of_fields_is_of_a_model():
    assert FIELDS.keys() - {"layer", "optimizer", "Norm"} <= MODELS.keys()


def test_a_text_is_sentences_and_never_asks():
    odd = [word for word, text in TEXTS if text and not re.fullmatch(r"[A-Za-z[`].*[.]", text)]
    assert odd == []
    assert [word for word, text in TEXTS if "?" in text or "  " in text or len(text) > 500] == []


@pytest.mark.parametrize("place", [place for place in Place if KNOWN[place]])
def test_what_is_called_nearest_is_there(place):
    """Of the words in `Nearest is X` at least one is known somewhere in the suite."""
    names = {*KINDS, *map(str, Loss), *map(str, Initialiser), *map(str, Target), *DATASETS, *INFERENCE_OPTIONS}
    names |= {name for one in KNOWN.values() for name in one} | {
        field for model in MODELS.values() for field in model.model_fields
    }
    for word, entry in VALUES[place].items():
        if isinstance(entry, Gap) and (said := re.search(r"Nearest (?:is|are) ([^.;:]*)", entry.nearest)):
            words = set(re.findall(r"[a-z0-9_-]+", said[1]))
            assert words & names or "memory formats" in said[1] or "modes" in said[1], word


def test_two_spellings_share_a_key():
    assert {key(word) for word in ("BatchNorm2d", "batch_norm_2d", "torch.nn.BatchNorm2d", "batch-norm-2D")} == {
        "batchnorm2d"
    }
    assert key("mnist-1.5") == "mnist15"


def test_a_word_stands_once_in_a_table():
    with pytest.raises(ValueError, match="AdamW stands twice"):
        table({"adamw": Gap("x."), "AdamW": Gap("y.")})


def test_the_tables_are_frozen():
    for one in (*VALUES.values(), *FIELDS.values()):
        with pytest.raises(TypeError):
            one["x"] = Gap("y.")  # type: ignore[index]
    assert tables.Place.LAYER == "layer"


def test_words_alike_are_words_of_the_suite():
    assert INITIALISERS_ALIKE.keys() <= set(Initialiser)


def unknown(names: list[str], own: set[str], known: Table) -> list[str]:
    mine = {key(name) for name in own}
    return [name for name in names if key(name) not in mine and key(name) not in known]


def public(module: Any, skip: str) -> list[str]:
    """The classes of a framework's module, but for those that are no layer, optimizer or the like."""
    found = (name for name in dir(module) if name[0].isupper() and isinstance(getattr(module, name), type))
    return [name for name in found if not re.search(skip, name)]


@pytest.mark.torch
def test_all_that_pytorch_has_is_a_word_of_the_suite_or_of_the_vocabulary():
    import torch

    every = public(torch.nn, "Parameter|Buffer|Container|Dict|List|Options|DataParallel|^Module$")
    losses = [name for name in every if "Loss" in name]
    layers = [name for name in every if name not in losses]
    assert unknown(layers, KNOWN[Place.LAYER], VALUES[Place.LAYER]) == []
    assert unknown(losses, KNOWN[Place.LOSS], VALUES[Place.LOSS]) == []
    optimizers = public(torch.optim, "^Optimizer$")
    assert unknown(optimizers, KNOWN[Place.OPTIMIZER], VALUES[Place.OPTIMIZER]) == []
    schedules = public(
        torch.optim.lr_scheduler, "^(LRScheduler|Optimizer|Tensor|Counter|TypedDict|Any|Callable.*|Supports.*)$"
    )
    assert unknown(schedules, set(), VALUES[Place.SCHEDULE]) == []
    starts = [name.rstrip("_") for name in dir(torch.nn.init) if name.endswith("_") and name[0] != "_"]
    assert unknown(starts, KNOWN[Place.INITIALISER], VALUES[Place.INITIALISER]) == []


@pytest.mark.tf
def test_all_that_keras_has_is_a_word_of_the_suite_or_of_the_vocabulary():
    import keras

    layers = public(keras.layers, "^Layer$")
    assert unknown(layers, KNOWN[Place.LAYER], VALUES[Place.LAYER]) == []
    functions = [
        name for name in dir(keras.activations) if name[0] != "_" and name not in ("get", "serialize", "deserialize")
    ]
    assert unknown(functions, KNOWN[Place.LAYER], VALUES[Place.LAYER]) == []
    assert unknown(public(keras.losses, "^Loss$"), KNOWN[Place.LOSS], VALUES[Place.LOSS]) == []
    optimizers = public(keras.optimizers, "Optimizer")
    assert unknown(optimizers, KNOWN[Place.OPTIMIZER], VALUES[Place.OPTIMIZER]) == []
    starts = public(keras.initializers, "Initializer$")
    assert unknown(starts, KNOWN[Place.INITIALISER], VALUES[Place.INITIALISER]) == []
    schedules = public(keras.optimizers.schedules, "^LearningRateSchedule$")
    assert unknown(schedules, set(), VALUES[Place.SCHEDULE]) == []


def test_the_names_of_optax_and_onnx_are_known_too():
    optax = """
        adabelief adadelta adafactor adagrad adam adamw adamax adamaxw adan amsgrad fromage lamb lars lbfgs lion nadam
        nadamw noisy_sgd novograd optimistic_gradient_descent polyak_sgd radam rmsprop rprop sgd sign_sgd sm3 yogi
    """
    onnx = """
        Conv ConvTranspose Gemm MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization
        LayerNormalization InstanceNormalization GroupNormalization LRN Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid
        HardSigmoid HardSwish Mish Softmax LogSoftmax Softplus Softsign Tanh Flatten Reshape Transpose Concat Add
        Dropout LSTM GRU RNN Pad Resize
    """
    assert unknown(optax.split(), KNOWN[Place.OPTIMIZER], VALUES[Place.OPTIMIZER]) == []
    assert unknown(onnx.split(), KNOWN[Place.LAYER], VALUES[Place.LAYER]) == []
    assert {"adamw", "layernorm", "weightdecay"} <= TERMS
