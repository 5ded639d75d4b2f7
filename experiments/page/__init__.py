"""The page that shows runs: HTML made of what run folders hold, and of nothing else."""
