"""Workers: the only place that starts any."""

from .local import connect, local_cluster, parse_memory, planned_worker
from .part import parse_part, part_resources

__all__ = [
    "connect",
    "local_cluster",
    "parse_memory",
    "parse_part",
    "part_resources",
    "planned_worker",
]
