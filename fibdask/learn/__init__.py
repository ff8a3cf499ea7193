"""Networks: what they are trained on, how, and the models that come of it. Only here is torch.

Only what trains or predicts imports it: models are named, listed and described without.
"""

import os

from .models import Model, list_models, load_model

# Layers of large images are allocated and freed again and again: in pages of 2 MiB, where the
# system has them, a sixth of a prediction's time is not spent on page faults. torch reads it once.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = ["Model", "list_models", "load_model"]
