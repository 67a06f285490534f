"""Passes over memory in TensorFlow: negations in a loop of a graph.

TensorFlow has no operation that copies into an array that is there already: on a processor each copy would wait until
the system has cleared the pages of a new one.  A negation whose input nobody else wants is computed in its place: it
reads and writes every value once, as a copy does, in one array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from suite.runners.base import Device
from suite.runners.tf.core import Tensor, tf


def passes(device: Device, kind: Literal["float32", "bfloat16"], values: int) -> Callable[[int], None]:
    """A call of so many passes, each of which reads ``values`` values and writes as many; it ends behind the barrier.

    The first pass of a call makes the array that the others work in.
    """
    place = "/GPU:0" if device == "cuda" else "/CPU:0"

    def negated(array: Tensor, times: Tensor) -> Tensor:
        def body(i: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
            return i + 1, tf.negative(held)

        _, held = tf.while_loop(lambda i, _: i < times, body, (tf.constant(0), array), parallel_iterations=1)
        return held[:1]  # all of it would have to cross to the host

    with tf.device(place):
        array = tf.ones([values], getattr(tf, kind))
    call = tf.function(negated, autograph=False)

    def over(times: int) -> None:
        with tf.device(place):
            call(array, tf.constant(times)).numpy()

    return over
