"""What TensorBoard shows of a run beside its curves: the settings, and charts of rates.

Tags are grouped: `train/` for the rows of training, `eval/` for the evaluations.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams_api

_RATES = ("rate_nats", "rate_aux_nats", "committed_rate_nats")
_FRONTIER = "information_frontier_nats"


def tag(name: str) -> str:
    """The tag of a column of metrics.jsonl, such as "eval/nelbo_bpd" or "train/lr"."""
    if name.startswith("eval_"):
        return f"eval/{name.removeprefix('eval_')}"
    return f"train/{name}"


def write_settings(hparams: Mapping[str, Any], unit: str) -> None:
    """Writes what the hparams and the custom scalars dashboards need.

    Args:
      hparams: dict, JSON-able; what is no number, bool or text is shown as text.
      unit: str, of a code length in names of metrics: "bpd" or "per_token".
    """
    # No `hparams_config`: what it says of one run would hold for all beside it.
    hparams_api.hparams({name: _simple(value) for name, value in hparams.items()})
    summary = custom_scalar.pb(layout(unit))
    tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=0)


def layout(unit: str) -> layout_pb2.Layout:
    """The charts that have many curves each; `unit` as of `write_settings`."""
    bounds = [f"{weights}nelbo_{unit}" for weights in ("eval_", "eval_ema_", "")]
    charts = {
        "rates and what they could carry, held-out (nats)": [
            f"eval_{name}" for name in (*_RATES, _FRONTIER)
        ],
        "rates, training (nats)": _RATES,
        f"negative ELBO ({unit})": bounds,
    }
    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title="delta-VAE",
                chart=[_chart(title, names) for title, names in charts.items()],
            )
        ]
    )


def _chart(title, names):
    tags = [f"^{tag(name)}$" for name in names]
    return layout_pb2.Chart(
        title=title, multiline=layout_pb2.MultilineChartContent(tag=tags)
    )


def _simple(value):
    return value if isinstance(value, bool | int | float | str) else str(value)
