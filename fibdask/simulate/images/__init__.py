"""Images of slices, by the Monte Carlo or the analytic model, and their noise."""
