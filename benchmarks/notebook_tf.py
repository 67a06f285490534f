"""An epoch as TensorFlow notebooks write it: Keras ``Sequential``, ``compile``, ``fit``.

The model is that of mnist-mlp-128; Keras's own defaults stand wherever a notebook leaves them.  The first epoch traces
and is not counted; the second is.  Needs the tf environment.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray


def epoch(images: NDArray[np.uint8], labels: NDArray[np.integer], batch: int = 32) -> float:
    """Seconds of the second epoch of ``fit`` over images (n, h, w) or (n, h, w, 1), values 0..255, in 10 classes."""
    import keras

    scaled = images / 255.0
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(scaled, labels, batch_size=batch, epochs=1, verbose=0)
    start = time.perf_counter()
    model.fit(scaled, labels, batch_size=batch, epochs=1, verbose=0)
    return time.perf_counter() - start


def main() -> None:
    """Measure on random images of MNIST's shape: the time does not depend on what they show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (arguments.images, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, arguments.images)
    print(f"Keras fit, batch {arguments.batch}: {epoch(images, labels, arguments.batch):.2f} s per epoch")


if __name__ == "__main__":
    main()
