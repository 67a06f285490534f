"""A typing error is offered its correction, a word of another framework never one, and the list is always there."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.spec.graph import KINDS
from suite.spec.spelling import LONGEST_LIST, Typo, distance, find, hint, listed, shown
from suite.spec.vocabulary.tables import VALUES, Place
from suite.spec.vocabulary.words import Gap, Synonym

LAYERS = sorted(KINDS)


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        ("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("", "abc", 3),
        ("dens", "dense", 1), ("densse", "dense", 1), ("dwnse", "dense", 1), ("dnese", "dense", 1),
        ("relu", "ruel", 2), ("ca", "abc", 3), ("kitten", "sitting", 3),
    ],
)  # fmt: skip
def test_the_distance_counts_slips_and_an_exchange_as_one(one, other, steps):
    assert distance(one, other) == distance(other, one) == steps


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_a_distance_is_between_the_difference_of_lengths_and_the_longer(one, other):
    assert abs(len(one) - len(other)) <= distance(one, other) <= max(len(one), len(other))
    assert (distance(one, other) == 0) == (one == other)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("dens", "dense"), ("desne", "dense"), ("con2d", "conv2d"), ("batch_nrom", "batch_norm"),
        ("max_pol", "max_pool"),
        ("drop_out", "dropout"), ("Dense", "dense"), ("nn.Dropout", "dropout"), ("tf.nn.softmax", "softmax"),
        ("flaten", "flatten"), ("BatchNorm", "batch_norm"), ("rleu", "relu"),
        ("gloabl_average_pool", "global_average_pool"),
    ],
)  # fmt: skip
def test_a_typing_error_is_seen(word, meant):
    assert find(word, LAYERS, (VALUES[Place.LAYER],)) == Typo(meant)


@pytest.mark.parametrize(
    "word",
    [
        "conv1d", "conv3d", "relu6", "elu", "gelu", "selu", "celu", "crelu", "prelu", "silu", "softmin", "layer_norm",
        "LayerNorm", "nn.GELU", "minpool", "max_pool3d", "tf.keras.layers.LSTM", "Conv1D",
    ],
)  # fmt: skip
def test_a_word_of_another_meaning_is_a_gap_and_no_typing_error(word):
    assert isinstance(find(word, LAYERS, (VALUES[Place.LAYER],)), Gap)


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("adamw", ("adam",)), ("nadam", ("adam",)), ("radam", ("adam",)), ("adan", ("adam",)), ("sgdw", ("sgd",)),
        ("kmnist", ("mnist",)), ("qmnist", ("mnist",)), ("l1", ("l2",)),
        ("mean_absolute_error", ("mean_squared_error",)),
        ("truncated_normal", ("lecun_normal",)), ("val_loss", ("validation_loss",)), ("beta_3", ("beta_1",)),
        ("cifar100", ("cifar10",)), ("mnist-mlp-256", ("mnist-mlp-128",)), ("zork", ("relu",)), ("", ("relu",)),
        ("x", ("y",)),
    ],
)  # fmt: skip
def test_a_real_term_or_a_stranger_is_no_typing_error_anywhere(word, known):
    assert find(word, known) is None


def test_a_name_that_the_suite_has_elsewhere_is_no_typing_error():
    assert find("heatx", ["heats"]) == Typo("heats")
    assert find("heatx", ["heats"], terms={"heatx"}) is None


@pytest.mark.parametrize(
    ("word", "known", "place", "meant"),
    [
        ("AdamOptimizer", ("adam", "sgd"), Place.OPTIMIZER, Synonym("adam")),
        ("dense_layer", ("dense",), Place.LAYER, Synonym("dense")),
        ("lstm_layer", ("dense",), Place.LAYER, VALUES[Place.LAYER]["lstm"]),
        ("focal_loss_loss", ("detection",), Place.LOSS, VALUES[Place.LOSS]["focal"]),
        ("layer", ("dense",), Place.LAYER, VALUES[Place.LAYER]["layer"]),
    ],
)
def test_what_others_put_behind_a_name_is_no_part_of_it(word, known, place, meant):
    assert find(word, known, (VALUES[place],)) == meant


def test_where_two_names_are_as_near_none_is_offered():
    assert find("abcd", ["abce", "abcf"]) is None


def test_a_synonym_whose_name_is_not_there_is_none():
    linear = find("linear", LAYERS, (VALUES[Place.LAYER],))
    assert isinstance(linear, Synonym)
    assert linear.meant == "dense"
    assert find("linear", ["relu", "tanh"], (VALUES[Place.LAYER],)) is None


def test_a_hint_is_sentences():
    assert hint("mnits", ["mnist"], Place.DATASET) == "Did you mean mnist? "
    assert hint("pytorch", ["torch"], Place.RUNNER) == "It is called torch here. "
    assert re.fullmatch(r"Nearest .*\. ", hint("flax", ["torch"], Place.RUNNER))
    assert hint("zork", ["torch"], Place.RUNNER) == ""


def test_a_list_is_cut_where_it_becomes_long():
    assert listed(["a", "b"]) == "There are: a, b."
    assert listed([], "It has") == "It has: ."
    told = listed([f"name-{i}" for i in range(1000)])
    assert len(told) < LONGEST_LIST + 40
    assert re.search(r", and 9\d\d more\.$", told)
    assert listed(["x" * 1000]).endswith("x.")


def test_a_long_word_is_shown_in_part():
    assert shown("relu") == "relu"
    assert shown("x" * 1000) == "x" * 37 + "..."
