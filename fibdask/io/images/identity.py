"""What identifies the content of image files, found without reading them whole."""

import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from ...blocks import Place, RemotePath, remote_identity

_PIECE = 4096  # bytes
_STRIDE = 64 * 2**20  # bytes of a file from one piece to the next, at most
_MOST = 64  # pieces of a file


def identify(files: Iterable[Place]) -> str:
    """Return a hash of what changes when the content of files does.

    That is, of each file: its resolved path, its inode, the times of its last change (of content,
    and of anything), its size, and pieces of its content, the first and the last ones among them.
    Names, sizes and times alone are equal for the slices of two samples that an archive was
    unpacked to; whoever sets a time cannot set that of the change. Copied or moved files are
    others. 10,000 files take about a second on a local disk. On servers, the tags of objects tell.
    """
    folders: dict[Path, Path] = {}
    total = blake2b(digest_size=16)
    for file in files:
        if isinstance(file, RemotePath):
            total.update(remote_identity(file).encode())
            continue
        folder = folders.setdefault(file.parent, file.parent.resolve())
        place = (folder / file.name).resolve() if file.is_symlink() else folder / file.name
        total.update(repr((str(place), *_facts(file))).encode())
    return total.hexdigest()


def _facts(file: Path) -> tuple[int | str, ...]:
    """Return inode, times, size and a hash of evenly spaced pieces of a file."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        stat = os.fstat(descriptor)
        last = max(stat.st_size - _PIECE, 0)
        steps = min(-(-last // _STRIDE), _MOST - 1)
        content = blake2b(digest_size=16)
        for k in range(steps + 1):
            content.update(os.pread(descriptor, _PIECE, last * k // max(steps, 1)))
    finally:
        os.close(descriptor)
    return (stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size, content.hexdigest())
