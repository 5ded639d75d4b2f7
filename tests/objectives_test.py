"""Objectives."""

import keras
import numpy as np

from deltavae_tf import objectives


def test_elbo_is_the_sum():
    loss = objectives.ELBO()(np.array([3.0, 1.0]), np.array([2.0, 5.0]), 7)
    np.testing.assert_array_equal(loss, [5.0, 6.0])


def test_config_round_trip():
    config = keras.saving.serialize_keras_object(objectives.ELBO())
    assert isinstance(keras.saving.deserialize_keras_object(config), objectives.ELBO)
