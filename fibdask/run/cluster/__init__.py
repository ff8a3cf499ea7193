"""Workers: the only place that starts any, a file for each kind of cluster."""

from .local import connect, local_cluster, parse_memory
from .profiles import PROFILED, Kind, Profile
from .starting import planned_worker, workers

__all__ = [
    "PROFILED",
    "Kind",
    "Profile",
    "connect",
    "local_cluster",
    "parse_memory",
    "planned_worker",
    "workers",
]
