"""Keys of random numbers: of the seed, and of what the numbers are for."""

_MASK = 2**64 - 1


def image_key(words: tuple[int, ...]) -> int:
    """Hash whole numbers to 64 bits (the finaliser of SplitMix64, word by word)."""
    key = 0
    for word in words:
        key = (key + word + 0x9E3779B97F4A7C15) & _MASK
        key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK
        key ^= key >> 31
    return key


def voltage_word(voltage: float) -> int:
    """Return the voltage as a word of an image's key: in thousandths of a volt."""
    return round(voltage * 1e6)
