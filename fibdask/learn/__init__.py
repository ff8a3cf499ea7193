"""Networks: what they are trained on, how, and the models that come of it. Only here is torch."""
