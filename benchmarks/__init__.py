"""Speed and quality beside peers: `python -m benchmarks.speed`."""
