"""What `experiments/results/*.json` say, in one form for all tables."""

import dataclasses
import json
import os

from experiments import build
from experiments import hparams as registry


@dataclasses.dataclass(frozen=True)
class Measured:
    """One trained model's numbers on one split, in bits per dimension."""

    source: str  # The file's name.
    name: str  # Of the run in a sweep, or of the experiment.
    hparams: dict
    data: str
    note: str
    num_examples: int
    steps: int
    hardware: str
    parameters: int | None
    nelbo: float
    nelbo_aux: float
    stderr: float
    rate: float
    rate_aux: float
    probe: float | None
    weights: str

    def is_set(self, name):
        """Whether it was trained as the hparams set `name` says, for any length."""
        wanted = registry.hparams(name)
        free = wanted.may_change_on_resume()
        return all(
            self.hparams.get(key) == value
            for key, value in wanted.to_dict().items()
            if key not in free
        )

    def circumstances(self):
        """Data, size, steps and hardware, as a line of text."""
        size = f"{self.parameters / 1e6:.2f} M parameters, " if self.parameters else ""
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.data}, {self.num_examples:,} images{note}; {size}"
            f"{self.steps:,} steps of {self.hparams['batch_size']}; {self.hardware}; "
            f"{self.weights} weights"
        )


def read_all(folder):
    """Every `Measured` of images in the folder's JSON files; and what was left out.

    Returns:
      List of `Measured`; list of str, files left out and why.
    """
    names = sorted(n for n in os.listdir(folder) if n.endswith(".json"))
    if not names:
        raise ValueError(f"{folder} has no results: no .json file")
    found, left_out = [], []
    for name in names:
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                content = json.load(file)
        except ValueError as error:
            left_out.append(f"{name}: no JSON ({error})")
            continue
        if isinstance(content, dict) and {"sweep", "runs", "failed"} <= content.keys():
            found += _of_sweep(name, content)
            left_out += [f"{name}, {k}: {why}" for k, why in content["failed"].items()]
        elif isinstance(content, dict) and _is_image_record(content):
            found.append(_of_record(name, content))
        else:
            left_out.append(f"{name}: not a result of images")
    return found, left_out


def _is_image_record(content):
    problem = content.get("hparams", {}).get("problem")
    return "evaluation" in content and problem in list(build.PROBLEMS)


def _of_record(name, content):
    evaluation = content["evaluation"]
    prefix = "ema_" if "ema_nelbo_bpd" in evaluation else ""
    value = {k: evaluation[prefix + k] for k in _RECORDED}
    return Measured(
        source=name,
        name=os.path.splitext(name)[0],
        hparams=content["hparams"],
        data=evaluation["data"],
        note=evaluation["note"],
        num_examples=evaluation["num_examples"],
        steps=evaluation["step"],
        hardware=content["hardware"],
        parameters=None,
        nelbo=value["nelbo_bpd"],
        nelbo_aux=value["nelbo_aux_bpd"],
        stderr=value["nelbo_bpd_stderr"],
        rate=value["rate_bpd"],
        rate_aux=value["rate_aux_bpd"],
        probe=None,
        weights="averaged" if prefix else "raw",
    )


_RECORDED = ("nelbo_bpd", "nelbo_aux_bpd", "nelbo_bpd_stderr", "rate_bpd")
_RECORDED += ("rate_aux_bpd",)


def _of_sweep(name, content):
    for run in content["runs"]:
        test = run["test"]
        dims = build.problem(run["hparams"]["problem"]).num_dims
        yield Measured(
            source=name,
            name=run["name"],
            hparams=run["hparams"],
            data=test["data"],
            note=run["data_note"],
            num_examples=test["num_examples"],
            steps=run["steps"],
            hardware=content["hardware"],
            parameters=run["parameters"],
            nelbo=test["nelbo_bpd"],
            nelbo_aux=test["nelbo_aux_bpd"],
            stderr=test["nelbo_bpd_stderr"],
            rate=test["rate_bits"] / dims,
            rate_aux=test["rate_aux_bits"] / dims,
            probe=run["latents"].get("probe_accuracy"),
            weights="averaged" if run["weights"] == "average" else "raw",
        )
