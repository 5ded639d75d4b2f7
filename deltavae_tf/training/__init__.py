"""Training: strategies, schedules, checkpoints and the loop."""
