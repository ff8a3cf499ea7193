"""Workers: the only place that starts any."""

from .local import connect, local_cluster, parse_memory, planned_worker

__all__ = ["connect", "local_cluster", "parse_memory", "planned_worker"]
