"""How a number grows with training and with the model: a power law and its error."""

import dataclasses

import numpy as np

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric, tables
from experiments.figures import results as results_lib

_FITTED = ("rate_aux_nats", "nelbo_aux_bpd")
# What the fit is asked about: Table 6, column 2, at the paper's 250,000 steps.
_FAR = {"set": "table6_l8_low", "steps": 250_000, "parameters": 11_315_049}


@dataclasses.dataclass(frozen=True)
class Fit:
    """ln y = a + b ln(steps) + c ln(parameters), by least squares.

    Attributes:
      name: str, the metric.
      coefficients: float64 `[3]`: a, b, c, of y in the metric's own unit.
      covariance: float64 `[3, 3]`, of these.
      deviation: float, of ln y about the fit.
    """

    name: str
    coefficients: np.ndarray
    covariance: np.ndarray
    deviation: float

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of a, b, c, `[3]`."""
        return np.sqrt(np.diag(self.covariance))

    def at(self, steps: float, parameters: float) -> tuple[float, float]:
        """y there, in the metric's own unit, and one deviation of a run's ln y."""
        x = np.array([1.0, np.log(steps), np.log(parameters)])
        variance = x @ self.covariance @ x + self.deviation**2
        return float(np.exp(x @ self.coefficients)), float(np.sqrt(variance))


def fit(name: str, steps: list, parameters: list, values: list) -> Fit:
    """The fit of a metric's numbers.

    Args:
      name: str, the metric.
      steps, parameters, values: `[N]`, positive, N > 3, of two lengths and sizes or
        more.

    Raises:
      UserError: there are too few, or one is not positive.
    """
    y = np.asarray(values, np.float64)
    x = np.stack([np.ones(len(y)), np.log(steps), np.log(parameters)], axis=1)
    if len(y) < 4 or np.linalg.matrix_rank(x) < 3 or not np.all(y > 0):
        raise UserError(
            f"A fit of {name} needs four positive numbers or more, of two lengths and "
            f"two sizes. Received: {len(y)} of steps {sorted(set(steps))} and "
            f"parameters {sorted(set(parameters))}"
        )
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ np.log(y)
    rest = np.log(y) - x @ coefficients
    variance = float(rest @ rest) / (len(y) - 3)
    return Fit(name, coefficients, variance * inverse, variance**0.5)


def fits(found: results_lib.Results) -> list[Fit]:
    """The fits of the runs with latents."""
    runs = [run for run in found.runs if run.hparams["prior"] != "none"]
    steps, parameters = [r.steps for r in runs], [r.parameters for r in runs]
    return [
        fit(name, steps, parameters, [r.numbers()[name] for r in runs])
        for name in _FITTED
    ]


def table(found: results_lib.Results) -> str:
    """The fits and what they say of a set of the paper, in Markdown."""
    rows = []
    for each in fits(found):
        shown = metric.find(each.name)
        value, deviation = each.at(_FAR["steps"], _FAR["parameters"])
        low, high = (shown.text(value * np.exp(s * deviation)) for s in (-1, 1))
        exponents = [
            f"{c:.3f} +- {e:.3f}"
            for c, e in zip(each.coefficients[1:], each.errors[1:], strict=True)
        ]
        rows.append(
            [
                f"{shown.label} ({shown.unit})",
                *exponents,
                f"{each.deviation:.3f}",
                f"{low} to {high}",
            ]
        )
    far = f"extrapolated to {_FAR['steps']:,} steps of `{_FAR['set']}`'s size"
    names = ["y", "power of steps", "power of parameters", "deviation of ln y", far]
    return tables.markdown(names, rows)
