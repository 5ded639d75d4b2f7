r"""How what latents carry grows with the size of the model and the length of training.

  python -m experiments.figures.scaling \
      --results=experiments/results/sweep_fashion_14_scaling.json \
      --figure=docs/figures/scaling.png

Three panels against training steps, a line for each number of parameters: the auxiliary
rate, the gain, and bits/dim of the delta-VAE (solid) and of the decoder alone (dashed).
Prints the fit of each delta-VAE number, y = exp(a) steps^b parameters^c, by least
squares of logarithms, with standard errors. --results is as for
`experiments.figures.rate_distortion`.
"""

from deltavae_tf.evaluation import metric
from experiments import flags
from experiments.figures import power_law, scatter, style

_AUX, _BPD, _GAIN = "rate_aux_nats", "nelbo_aux_bpd", "gain"


def main(_):
    """Draws the panels and prints the fits."""
    found = scatter.read(any_length=True)
    print(power_law.table(found))
    fig, axes = style.figure(3, width=12.0, height=5.2)
    for color, decoder in enumerate(_widths(found)):
        for axis, name in zip(axes, (_AUX, _GAIN, _BPD), strict=True):
            _draw(axis, found, decoder, name, f"C{color}")
    for axis, name in zip(axes, (_AUX, _GAIN, _BPD), strict=True):
        example = scatter.EXAMPLE[found.runs[0].kind]
        axis.set(xscale="log", xlabel="steps", ylabel=metric.find(name).axis(example))
        ticks = sorted({run.steps for run in found.runs})
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.minorticks_off()
    axes[2].plot([], [], "--", color="gray", label="decoder alone")
    axes[2].legend(fontsize=9)
    axes[0].legend(fontsize=9)
    first = found.runs[0]
    fig.suptitle(f"{first.measured_on()}; seed {first.seed}")
    style.save(fig, scatter.FIGURE.value)


def _widths(found):
    return sorted({run.hparams["decoder_width"] for run in found.runs})


def _draw(axis, found, width, name, color):
    """The lines of one width: with latents solid, the decoder alone dashed."""
    shown = metric.find(name)
    for alone, line in ((False, "-o"), (True, "--")):
        runs = [
            run
            for run in found.runs
            if run.hparams["decoder_width"] == width
            and (run.hparams["prior"] == "none") == alone
            and name in run.numbers()
        ]
        if not runs or (alone and name != _BPD):
            continue
        runs.sort(key=lambda run: run.steps)
        count = f"{runs[0].parameters / 1e3:,.0f} thousand parameters"
        axis.plot(
            [run.steps for run in runs],
            [shown.shown(run.numbers()[name]) for run in runs],
            line,
            color=color,
            label=None if alone or axis.get_subplotspec().colspan.start else count,
        )


if __name__ == "__main__":
    flags.run(main)
