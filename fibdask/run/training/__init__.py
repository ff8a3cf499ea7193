"""Train networks, and adapt models, as recipes say."""

from .adapting import adapt_model, adaptation_tables, read_adaptation
from .labels import LABELS
from .tasks import prepared, read_training, train, training_tables

__all__ = [
    "LABELS",
    "adapt_model",
    "adaptation_tables",
    "prepared",
    "read_adaptation",
    "read_training",
    "train",
    "training_tables",
]
