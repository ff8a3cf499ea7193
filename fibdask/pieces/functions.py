"""Bases of block functions: what many of them need, and what they leave unsaid."""

from dataclasses import dataclass

from ..blocks import Region


class FromCoordinates:
    """A block function that reads nothing: a block is made of its coordinates."""

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return nothing."""
        return ()


class InPlace:
    """A block function that reads the block it makes, and has no temporaries unless it says so."""

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block itself."""
        return (region,)

    def working_bytes(self, region: Region) -> int:
        """Return 0."""
        return 0


@dataclass(frozen=True)
class EveryVoltage(InPlace):
    """Reads the block (z, y, x) of each of the first `voltages` voltages."""

    voltages: int

    def needs(self, region: Region) -> tuple[Region, ...]:
        """Return the block, of every voltage."""
        return ((slice(0, self.voltages), *region),)
