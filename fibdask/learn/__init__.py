"""Networks: what they are trained on, how, and the models that come of it. Only here is torch.

Only what trains or predicts imports it: models are named, listed and described without.
"""

from .models import Model, list_models, load_model

__all__ = ["Model", "list_models", "load_model"]
