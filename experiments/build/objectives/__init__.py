"""What training minimizes, one a file; see `experiments.build.components`."""
