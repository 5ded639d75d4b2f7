"""The linear probe: how well a linear classifier reads classes off the latents."""

from collections.abc import Callable

import numpy as np

_NUM_EPOCHS = 100
_LEARNING_RATE = 3e-3
_DECAY, _DECAY_EPOCHS = 0.3, 30
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def accuracy(
    train_loc: np.ndarray,
    train_label: np.ndarray,
    test_loc: np.ndarray,
    test_label: np.ndarray,
    num_classes: int,
    batch_size: int = 100,
    seed: int = 0,
) -> dict[str, float]:
    """Trains multinomial logistic regression on posterior means; tests it.

    Args:
      train_loc: `[N, ...]`, flattened for the classifier.
      train_label: int `[N]`.
      test_loc: `[M, ...]`.
      test_label: int `[M]`.
      num_classes: int.
      batch_size: int.
      seed: int, of the order.

    Returns:
      dict of floats in [0, 1]: `accuracy`, `train_accuracy`.

    Reference: delta-VAE, appendix F.
    """
    predict = fit(train_loc, train_label, num_classes, batch_size, seed)
    return {
        "accuracy": float(np.mean(predict(test_loc) == test_label)),
        "train_accuracy": float(np.mean(predict(train_loc) == train_label)),
    }


def fit(
    x: np.ndarray,
    label: np.ndarray,
    num_classes: int,
    batch_size: int = 100,
    seed: int = 0,
) -> Callable[[np.ndarray], np.ndarray]:
    """Multinomial logistic regression: x `[N, ...]` -> a function x -> class `[N]`.

    100 epochs of Adam at 3e-3, times .3 every 30 epochs. Ours, where the paper is
    silent: batches of 100, Adam's usual other numbers, means as they are (not
    standardized), zero start; and means of the training split to train on (the
    paper's text names the test set only). In NumPy: Keras's `fit` takes ten times as
    long for so small a model.

    Args: as `accuracy`.
    """
    train_x = _with_one(x)
    target = np.eye(num_classes, dtype=np.float32)[label]
    weights = np.zeros((train_x.shape[1], num_classes), np.float32)
    first, second, step = np.zeros_like(weights), np.zeros_like(weights), 0
    rng = np.random.default_rng(seed)
    for epoch in range(_NUM_EPOCHS):
        rate = _LEARNING_RATE * _DECAY ** (epoch // _DECAY_EPOCHS)
        order = rng.permutation(len(train_x))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            part = train_x[rows]
            gradient = part.T @ (_softmax(part @ weights) - target[rows]) / len(rows)
            step += 1
            first = _BETA_1 * first + (1 - _BETA_1) * gradient
            second = _BETA_2 * second + (1 - _BETA_2) * gradient**2
            deviation = np.sqrt(second / (1 - _BETA_2**step)) + _EPSILON
            weights -= rate * (first / (1 - _BETA_1**step)) / deviation
    return lambda x: np.argmax(_with_one(x) @ weights, axis=1)


def _with_one(x):
    """`[N, ...]` as float32 `[N, k + 1]`, with a column of ones for the bias."""
    x = np.asarray(x, np.float32).reshape(len(x), -1)
    return np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
