r"""The demo: what posterior collapse is, and that a delta-VAE does not.

  make demo

Trains three small models on scikit-learn's digits, side by side: a delta-VAE, the same
model with an N(0, I) prior, and its decoder alone. Prints a table and writes
demo/digits.png. About five minutes on two cores.
"""

import os

import numpy as np
from absl import logging

from deltavae_tf import units
from deltavae_tf.sampling import images
from experiments import flags, runs
from experiments import hparams as registry

_MODELS = {
    "delta-VAE": "digits",
    "plain VAE": "digits_standard_normal",
    "decoder alone": "digits_no_latents",
}
_COLUMNS = 16

_EXPLANATION = """
How to read it. The rate is what an image's latents tell the decoder, in bits per image.
  - plain VAE: its rate falls to 0. The decoder, which sees all earlier pixels, learned
    to do without latents: that is posterior collapse.
  - delta-VAE: its rate cannot fall below the committed rate, whatever the decoder.
  - auxiliary rate: what the same latents cost under a prior that was fitted to them
    afterwards; the rest of the AR(1) rate is the price of the commitment.
  - bits/dim: code length per pixel, lower is better; (aux) uses the auxiliary prior.
{path}: originals, reconstructions through the latents, samples.
"""


def main(_):
    """Trains the three models, or resumes them, and shows what came out."""
    logging.set_verbosity(logging.WARNING)
    folder = flags.FLAGS.output_dir or "demo"
    rows = []
    for number, (name, hparams_set) in enumerate(_MODELS.items(), start=1):
        print(f"\n[{number}/{len(_MODELS)}] Training: {name}", flush=True)
        options = runs.Options(
            output_dir=os.path.join(folder, hparams_set),
            use_test_set=True,
            iterations_per_loop=10,
            log_every=50,
            write_samples=False,
        )
        hparams = registry.hparams(hparams_set, flags.FLAGS.hparams)
        with runs.ImageRun("digits", hparams, options) as run:
            run.train()
            rows.append({"model": name, **_row(run.evaluate())})
            if hparams_set == "digits":
                picture = _picture(run)
    path = os.path.join(folder, "digits.png")
    images.write_png(path, picture)
    print(f"\n{runs.table(rows)}")
    print(_EXPLANATION.format(path=path))


def _row(found):
    """The averaged weights' numbers, in bits."""
    bits = {k: float(units.bits(found[f"ema_{k}_nats"])) for k in ("rate", "rate_aux")}
    return {
        "committed rate": float(units.bits(found["committed_rate_nats"])),
        "AR(1) rate": bits["rate"],
        "auxiliary rate": bits["rate_aux"],
        "bits/dim": found["ema_nelbo_bpd"],
        "bits/dim (aux)": found["ema_nelbo_aux_bpd"],
    }


def _picture(run):
    originals = run.held_out.image[:_COLUMNS]
    with runs.averaged(run.state):
        shown = [
            originals,
            np.asarray(run.model.reconstruct(originals, seed=1)),
            np.asarray(run.model.sample(_COLUMNS)),
        ]
    return images.labeled_grid(
        np.stack(shown),
        ["test image", "reconstruction", "sample (auxiliary prior)"],
        [str(i) for i in range(_COLUMNS)],
        "delta-VAE on the digits",
        run.problem.num_levels,
        zoom=6,
    )


if __name__ == "__main__":
    flags.run(main)
