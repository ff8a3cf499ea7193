"""The network of layered samples: films to learn from, training, predicting."""
