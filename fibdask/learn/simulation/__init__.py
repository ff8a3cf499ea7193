"""The network that takes the place of Monte Carlo: pairs to learn from, training, predicting."""
