"""What the image binaries share."""

from experiments import program, runs


def main(experiment):
    """Trains and evaluates as the flags say; prints the final evaluation."""
    program.main(experiment, runs.ImageRun)
