"""TensorBoard's events, read by TensorBoard: settings, groups, one chart of rates."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from deltavae_tf.training import run_folder, tensorboard, tensorflow_engine

HPARAMS = {"width": 16, "alpha": 0.5, "eval_steps": None, "prior": "ar1", "tpu": True}


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """What TensorBoard reads of a run with one row, a picture and a text."""
    path = tmp_path_factory.mktemp("runs") / "run"
    engine = tensorflow_engine.Engine()
    with run_folder.RunFolder(str(path)) as folder:
        folder.claim("digits", HPARAMS)
        with engine.summaries(folder, "bpd"):
            engine.image("samples", np.zeros((4, 4, 3), np.uint8), 3)
            engine.text("texts", "a **b**", 3)
            row = {"step": 3, "nelbo_bpd": 2.0, "eval_ema_rate_nats": 5.0}
            engine.scalars({**row, "eval_rate_nats": 4.0})
    found = event_accumulator.EventAccumulator(str(path))
    return found.Reload()


def test_tags_are_grouped(events):
    tags = set(events.Tags()["tensors"])
    scalars = {"train/nelbo_bpd", "eval/ema_rate_nats", "eval/rate_nats"}
    assert scalars | {"samples", "texts"} <= tags
    (event,) = events.Tensors("eval/rate_nats")
    assert (event.step, float(tf.make_ndarray(event.tensor_proto))) == (3, 4.0)


def test_settings_are_hyper_parameters_of_the_plugin(events):
    content = events.PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(
        content["_hparams_/session_start_info"]
    ).session_start_info.hparams
    assert start["width"].number_value == 16 and start["tpu"].bool_value
    assert start["prior"].string_value == "ar1"
    assert start["eval_steps"].string_value == "None"


def test_rates_delta_and_frontier_share_a_chart(events):
    (event,) = events.Tensors("custom_scalars__config__")
    content = tf.make_ndarray(event.tensor_proto).item()
    (category,) = layout_pb2.Layout.FromString(content).category
    assert list(category.chart[0].multiline.tag) == [
        "^eval/rate_nats$",
        "^eval/rate_aux_nats$",
        "^eval/committed_rate_nats$",
        "^eval/information_frontier_nats$",
    ]
    assert "^train/nelbo_per_token$" in str(tensorboard.layout("per_token"))


def test_who_does_not_write_has_no_events(tmp_path):
    folder = run_folder.RunFolder(str(tmp_path / "run"), writes=False)
    engine = tensorflow_engine.Engine()
    with engine.summaries(folder, "bpd"):
        engine.scalars({"step": 1, "nelbo_bpd": 2.0})
    assert not (tmp_path / "run").exists()
