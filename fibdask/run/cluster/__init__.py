"""Workers: the only place that starts any, a file for each kind of cluster."""

from .environment import keep_as_workers
from .local import connect, local_cluster, parse_memory
from .part import parse_part, part_resources
from .profiles import PROFILED, Kind, Profile
from .security import certificates_folder, named_security
from .starting import planned_worker, workers

__all__ = [
    "PROFILED",
    "Kind",
    "Profile",
    "certificates_folder",
    "connect",
    "keep_as_workers",
    "local_cluster",
    "named_security",
    "parse_memory",
    "parse_part",
    "part_resources",
    "planned_worker",
    "workers",
]
