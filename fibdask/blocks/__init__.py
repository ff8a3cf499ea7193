"""Blocks, for those who write stages: what a block needs, how it is made, counted or gathered.

`engine` is what makes and writes them; what others may use of it is offered here.
"""

from .engine.access import Access
from .engine.arrays import BlockArray, disk_bytes, from_source, origin
from .engine.execute import (
    array_token,
    count_blocks,
    counts_target,
    forecast,
    is_begun,
    is_complete,
    is_derived,
    keep_values,
    reduction_forecast,
    skip_array,
    values_target,
    write_array,
)
from .engine.fingerprints import fingerprint
from .engine.forecast import check_budget, format_bytes, least_memory
from .engine.journal import Part, has_record
from .engine.locks import TakenError, is_locked, locked
from .engine.making import Execution, rename
from .engine.monitor import NO_MONITOR, BlockFailure, Monitor, SlowBlock, StageReport, Work
from .engine.places import (
    Place,
    RemotePath,
    is_address,
    located,
    object_states,
    put_object,
    remote_path,
    store_of,
)
from .engine.reading import note_read
from .engine.remote_arrays import remote_identity
from .engine.resources import GPU, PROCESS_BYTES, Resources, own_resources, worker_resources
from .engine.schedule import compute_gathered, current_client
from .engine.shards import put_file
from .engine.sources import Computed, Reduction, Source, Values, made_of
from .engine.stored import StoredArray, open_stored
from .engine.targets import Target, inner_chunks, storage_grid
from .engine.telling import tell
from .engine.writing import DISK_FULL
from .functions import BlockFunction, revised, unpacked
from .gathering import gather_blocks, gather_forecast
from .mapping import block_grid, map_blocks, volume_chunks
from .predictor import Predictor, Tiled, load_once
from .reducing import reduce_blocks
from .regions import (
    BLOCK_BYTES,
    INNER_CHUNK,
    BlockList,
    Grid,
    GroupedBlocks,
    Region,
    default_block,
    even_part,
    fit_block,
    grow,
    lengths,
    overlap,
    shift,
    tile_window,
    touched_tiles,
    voxels,
    whole,
    within,
)

__all__ = [
    "BLOCK_BYTES",
    "DISK_FULL",
    "GPU",
    "INNER_CHUNK",
    "NO_MONITOR",
    "PROCESS_BYTES",
    "Access",
    "BlockArray",
    "BlockFailure",
    "BlockFunction",
    "BlockList",
    "Computed",
    "Execution",
    "Grid",
    "GroupedBlocks",
    "Monitor",
    "Part",
    "Place",
    "Predictor",
    "Reduction",
    "Region",
    "RemotePath",
    "Resources",
    "SlowBlock",
    "Source",
    "StageReport",
    "StoredArray",
    "TakenError",
    "Target",
    "Tiled",
    "Values",
    "Work",
    "array_token",
    "block_grid",
    "check_budget",
    "compute_gathered",
    "count_blocks",
    "counts_target",
    "current_client",
    "default_block",
    "disk_bytes",
    "even_part",
    "fingerprint",
    "fit_block",
    "forecast",
    "format_bytes",
    "from_source",
    "gather_blocks",
    "gather_forecast",
    "grow",
    "has_record",
    "inner_chunks",
    "is_address",
    "is_begun",
    "is_complete",
    "is_derived",
    "is_locked",
    "keep_values",
    "least_memory",
    "lengths",
    "load_once",
    "located",
    "locked",
    "made_of",
    "map_blocks",
    "note_read",
    "object_states",
    "open_stored",
    "origin",
    "overlap",
    "own_resources",
    "put_file",
    "put_object",
    "reduce_blocks",
    "reduction_forecast",
    "remote_identity",
    "remote_path",
    "rename",
    "revised",
    "shift",
    "skip_array",
    "storage_grid",
    "store_of",
    "tell",
    "tile_window",
    "touched_tiles",
    "unpacked",
    "values_target",
    "volume_chunks",
    "voxels",
    "whole",
    "within",
    "worker_resources",
    "write_array",
]
