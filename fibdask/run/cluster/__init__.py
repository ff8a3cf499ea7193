"""Workers: the only place that starts any."""

from .local import connect, local_cluster, parse_memory, planned_worker
from .part import parse_part, part_resources
from .security import certificates_folder

__all__ = [
    "certificates_folder",
    "connect",
    "local_cluster",
    "parse_memory",
    "parse_part",
    "part_resources",
    "planned_worker",
]
