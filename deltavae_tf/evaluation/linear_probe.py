"""The linear probe: how well a linear classifier reads classes off the latents."""

import keras
import numpy as np

_NUM_EPOCHS = 100
_LEARNING_RATE = 3e-3
_DECAY, _DECAY_EPOCHS = 0.3, 30


def accuracy(
    train_loc, train_label, test_loc, test_label, num_classes, batch_size=100, seed=0
):
    """Trains multinomial logistic regression on posterior means; tests it.

    100 epochs of Adam at 3e-3, times .3 every 30 epochs. Ours, where the paper is
    silent: batches of 100, means as they are (not standardized), zero start; and means
    of the training split to train on (the paper's text names the test set only).

    Args:
      train_loc: `[N, ...]`, flattened for the classifier.
      train_label: int `[N]`.
      test_loc: `[M, ...]`.
      test_label: int `[M]`.
      num_classes: int.
      batch_size: int.
      seed: int, of the order. Sets Keras's global seed.

    Returns:
      dict of floats in [0, 1]: `accuracy`, `train_accuracy`.

    Reference: delta-VAE, appendix F.
    """
    train_x, test_x = (
        np.asarray(x, np.float32).reshape(len(x), -1) for x in (train_loc, test_loc)
    )
    keras.utils.set_random_seed(seed)
    probe = keras.Sequential(
        [keras.layers.Dense(num_classes, kernel_initializer="zeros")]
    )
    steps = -(-len(train_x) // batch_size)
    boundaries = [e * steps for e in range(_DECAY_EPOCHS, _NUM_EPOCHS, _DECAY_EPOCHS)]
    rates = [_LEARNING_RATE * _DECAY**i for i in range(len(boundaries) + 1)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    probe.compile(
        keras.optimizers.Adam(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    probe.fit(train_x, train_label, batch_size, epochs=_NUM_EPOCHS, verbose=0)
    train, test = (
        probe.evaluate(x, y, batch_size=1000, verbose=0, return_dict=True)["accuracy"]
        for x, y in ((train_x, train_label), (test_x, test_label))
    )
    return {"accuracy": float(test), "train_accuracy": float(train)}
