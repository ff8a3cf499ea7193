"""Compiled transport of electrons: 64 side by side, one event at a time.

An event is a scattering, or the crossing of a face of the box of one material around the voxel
that the electron is in. All arithmetic is float32 without `fastmath`: each operation is rounded
alike on every machine and in vectors of any width. The random numbers of an electron begin with
a hash of the key of the image, of its pixel and of its number there. So any part of an image
alone has the same bits as in the whole, whoever makes it.

Conditions of an event are selections, not branches, and all its numbers have 32 bits, so that
the loop over the electrons is made of vector instructions.
"""

import math
from typing import Any

import numpy as np
from numba.core import compiler

from ....compiling import compiled
from ..._kernels import GOLDEN, POISSON_EXPANSION, mix, poisson_expansion, poisson_inverse
from ..records import (
    ANGLE_STEPS,
    DISTANCE_BITS,
    LANES,
    LARGEST_DISTANCE,
    LARGEST_LABEL,
    LOSS_STEPS,
    Lanes,
    Tables,
)

FLYING, ESCAPED, LOST = 0, 1, 2

f4, i4, u4, u8 = np.float32, np.int32, np.uint32, np.uint64
_ZERO, _HALF, _ONE, _TWO = f4(0), f4(0.5), f4(1), f4(2)
_TINY = f4(1e-9)
_LOSS_SHIFT = i4(23 - LOSS_STEPS)
_DITHER_SHIFT = i4(23 - ANGLE_STEPS - 8)
_CAP = i4(LARGEST_DISTANCE)
_ABOVE_CAP = i4(LARGEST_DISTANCE + 1)
_UNIT, _HALF_UNIT = f4(2**-24), f4(2**-25)
_U8, _U11, _U21, _U9 = u4(8), u4(11), u4(21), u4(9)
_LOW_8, _SIGN_BIT = u4(0xFF), u4(0x80)
_U0, _U2, _U3 = u4(0), u4(2), u4(3)
_NO_SIGN = i4(0x7FFFFFFF)
_I0, _I1, _I8 = i4(0), i4(1), i4(8)
_THREE_QUARTERS, _MANTISSA = i4(0x3F400000), i4(23)
_S11, _S32 = u8(11), u8(32)
_NOBODY = -1
_CONTINUOUS = len(Tables._fields)  # those of discrete losses have more
_GROUP = 8  # lanes whose status is looked at together
_BEYOND_THREE_STDS = f4(math.exp(-4.5))  # share of a Gaussian beam that is cut off


def without_aliases() -> dict[str, Any]:
    """Return options of numba by which a function believes that its arguments share no memory.

    Without them every store of a lane might change the tables, and nothing is vectorised. They
    are internal to numba; where a version lacks them the result is the same, but slower.
    """
    base: Any = getattr(compiler, "CompilerBase", None)
    passes: Any = getattr(compiler, "DefaultPassBuilder", None)
    if base is None or passes is None:
        return {}

    class NoAlias(base):  # type: ignore[misc]
        def define_pipelines(self) -> list[Any]:
            self.state.flags.noalias = True
            return [passes.define_nopython_pipeline(self.state)]

    return {"pipeline_class": NoAlias}


_inline = compiled(forceinline=True, error_model="numpy", nogil=True)
_lockstep = compiled(error_model="numpy", nogil=True, **without_aliases())
_loop = compiled(error_model="numpy", nogil=True)


@_inline
def uniform(word):
    """Return a number in (0, 1) of 32 random bits."""
    return f4(i4(word >> _U8)) * _UNIT + _HALF_UNIT


@_inline
def bits_of(value):
    """Return the bits of a float32 as an int32."""
    return np.float32(value).view(np.int32)


@_inline
def float_of(bits):
    """Return the float32 of an int32's bits."""
    return np.int32(bits).view(np.float32)


@_inline
def minus_log(value):
    """Return −ln of a float32 in (0, 1), to 6e-7."""
    bits = bits_of(value)
    # Mantissa in [0.75, 1.5), so that values near 1 keep their digits.
    exponent = i4((bits - _THREE_QUARTERS) >> _MANTISSA)
    t = float_of(bits - (exponent << _MANTISSA)) - _ONE
    p = f4(-0.078429602) * t + f4(0.14671098)
    p = p * t - f4(0.17138934)
    p = p * t + f4(0.20016947)
    p = p * t - f4(0.24990531)
    p = p * t + f4(0.3333315)
    log = t + t * t * (p * t - _HALF)
    result = -(f4(exponent) * f4(0.69314718) + log)
    return result if result > _ZERO else _ZERO


@_inline
def azimuth(word):
    """Return cosine and sine of an angle uniform on the circle, of 32 random bits."""
    half_turns = uniform(word) - _HALF  # the right half of the circle; a low bit says which half
    square = half_turns * half_turns
    c = f4(0.22048731) * square - f4(1.332236)
    c = c * square + f4(4.058461)
    c = c * square - f4(4.934795)
    c = c * square + _ONE
    s = f4(0.0778875) * square - f4(0.59839484)
    s = s * square + f4(2.5500918)
    s = s * square - f4(5.1677107)
    s = (s * square + f4(3.1415926)) * half_turns
    return (c if (word & _SIGN_BIT) != _U0 else -c), s


@_inline
def next_words(w0, w1, w2, w3):
    """Return 32 random bits and the next state (xoshiro128+ of Blackman and Vigna)."""
    bits = u4(w0 + w3)
    shifted = u4(w1 << _U9)
    w2 = u4(w2 ^ w0)
    w3 = u4(w3 ^ w1)
    w1 = u4(w1 ^ w2)
    w0 = u4(w0 ^ w3)
    w2 = u4(w2 ^ shifted)
    w3 = u4(u4(w3 << _U11) | u4(w3 >> _U21))
    return bits, w0, w1, w2, w3


@_inline
def turned(to_z, to_y, to_x, cosine, cos_azimuth, sin_azimuth):
    """Return a direction after scattering by an angle, about an axis by Duff et al. (2017)."""
    left = _ONE - cosine * cosine
    sine = math.sqrt(left if left > _ZERO else _ZERO)
    sign = _ONE if to_z >= _ZERO else -_ONE
    a = -_ONE / (sign + to_z)
    b = to_x * to_y * a
    p, q = sine * cos_azimuth, sine * sin_azimuth
    new_x = cosine * to_x + p * (_ONE + sign * to_x * to_x * a) + q * b
    new_y = cosine * to_y + p * (sign * b) + q * (sign + to_y * to_y * a)
    new_z = cosine * to_z - p * (sign * to_x) - q * to_y
    return new_z, new_y, new_x


@_inline
def voxel_at(structure, z, y, x):
    """Return distance in voxels to another material (capped), and the material."""
    z = z if z < structure.planes else i4(structure.planes - _I1)
    index = u4(i4(i4(z * structure.rows + y) * structure.columns + x))
    word = structure.words[index >> _U2]  # four voxels to a word: vectors gather 32 bits at a time
    byte = i4(word >> i4((index & _U3) << _U3))
    return i4(byte & _CAP), i4((byte >> i4(DISTANCE_BITS)) & i4(LARGEST_LABEL))


@_inline
def path_to_face(place, direction, low, high, size):
    """Return the path in nm to the face of the box that lies ahead along one axis."""
    speed = direction if direction > _ZERO else -direction
    speed = speed if speed > _TINY else _TINY  # never ahead, rather than a division by zero
    voxels = high - place if direction > _ZERO else place - low
    return voxels * size / speed


@_inline
def moved(place, direction, voxels, low, high, crosses):
    """Return the voxel relative to the old one, and the place in it, after a flight.

    The voxel is kept in the box, or just beyond the face that is crossed: rounding must not
    undo a crossing, or electrons would go to and fro for ever.
    """
    place = place + direction * voxels
    # Conversion cuts off towards zero, which is down only above zero: moved there and back.
    step = i4(i4(place + f4(_ABOVE_CAP)) - _ABOVE_CAP)
    step = step if step < high else i4(high - _I1)
    step = step if step > low else low
    beyond = high if direction > _ZERO else i4(low - _I1)
    step = beyond if crosses else step
    place = place - f4(step)
    place = place if place > _ZERO else _ZERO
    return step, (place if place < _ONE else _ONE)


@_inline
def mirrored(voxel, place, direction, count):
    """Return what is left of a step over the outermost faces: a reflection there."""
    inside = voxel if voxel > _I0 else _I0
    inside = inside if inside < count else i4(count - _I1)
    out = inside != voxel
    return inside, (_ONE - place if out else place), (-direction if out else direction)


@_inline
def energy_index(tables, energy):
    """Return the index of an energy in the tables of paths and losses."""
    return i4((bits_of(energy) >> _LOSS_SHIFT) - tables.first_energy)


@_inline
def scattering_cosine(tables, material, energy, chance, dither):
    """Return the cosine of a scattering angle, of a number in (0, 1).

    Of more random bits, 8 choose between the energy's neighbours in the table, with
    probabilities that interpolate.
    """
    row = i4(i4((bits_of(energy) >> _DITHER_SHIFT) + i4(dither & _LOW_8)) >> _I8)
    row = i4(i4(row - tables.first_angle_energy) + i4(material * tables.angle_energies))
    column = i4(math.sqrt(chance) * f4(tables.angles))  # bins are equal in the root: see the table
    column = column if column < tables.angles else i4(tables.angles - _I1)
    return fetch(tables.cosine, i4(row * tables.angles) + column)


@_inline
def at_least(value, least):
    """Return the larger one."""
    return value if value > least else least


@_inline
def fetch(array, index):
    """Return an element; an index without sign is known to fit the gathering instructions."""
    return array[u4(index & _NO_SIGN)]


@_inline
def slowed(tables, material, energy, face, optical, chance, flown):
    """Return a flight to the next scattering, or to the face, with losses along the way.

    Path and loss are those at the energy half-way, the angle will be that at the end: to take
    either from the start would shift the balance of scattering and slowing down.

    Returns
    -------
    tuple
        Path in nm, whether it ends before the face, whether there with scattering, the energy
        that is left, a number in (0, 1) for the angle, and how long the path has become, which
        is not needed here: the energy limits it.
    """
    row = i4(material * tables.energies)
    at = i4(row + energy_index(tables, energy))
    free = optical / fetch(tables.inverse_path, at)
    loss = (free if free < face else face) * fetch(tables.loss, at)
    at = i4(row + energy_index(tables, at_least(energy - _HALF * loss, tables.cutoff)))
    free = optical / fetch(tables.inverse_path, at)
    scatters = free < face
    path = free if scatters else face
    return path, scatters, scatters, energy - path * fetch(tables.loss, at), chance, flown


@_inline
def struck(tables, material, energy, face, optical, chance, flown):
    """Return a flight as `slowed`, where some of the collisions are losses, the others angles.

    Losses T up to the energy E, of density ∝ T/(C + T²)², are drawn by the inverse of their
    cumulative distribution T²/(C + T²) · (C + E²)/E².
    """
    at = i4(i4(material * tables.energies) + energy_index(tables, energy))
    free = optical / fetch(tables.inverse_path, at)
    collides = free < face
    share = fetch(tables.elastic_share, at)
    elastic = chance < share
    scale = fetch(tables.loss_scale, material)
    square = energy * energy
    below = at_least(chance - share, _ZERO) / (_ONE - share) * (square / (scale + square))
    loss = math.sqrt(scale * below / (_ONE - below))
    left = energy - loss if collides & (not elastic) else energy
    path = free if collides else face
    flown = flown + path
    left = left if flown < tables.longest else tables.cutoff
    return path, collides, collides & elastic, left, chance / share, flown


@_inline
def flight(tables, material, energy, face, optical, chance, flown):
    """Return a flight by the kind of losses, which is known when this is compiled."""
    if len(tables) == _CONTINUOUS:
        return slowed(tables, material, energy, face, optical, chance, flown)
    return struck(tables, material, energy, face, optical, chance, flown)


@_inline
def event(structure, tables, electron):
    """Return an electron after its next event, and its status.

    One function, longer than others: its numbers stay in registers from the first to the last.
    """
    energy, vz, vy, vx, z, y, x, to_z, to_y, to_x, depth, w0, w1, w2, w3, flown = electron
    distance, material = voxel_at(structure, vz, vy, vx)
    bits_path, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)
    bits_angle, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)
    bits_azimuth, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)

    # The box of one material, in voxels from the own one; it ends at the outermost faces.
    before = i4(_I1 - distance)
    low_z = before if before > -vz else i4(-vz)
    low_y = before if before > -vy else i4(-vy)
    low_x = before if before > -vx else i4(-vx)
    left_y, left_x = i4(structure.rows - vy), i4(structure.columns - vx)
    high_y = distance if distance < left_y else left_y
    high_x = distance if distance < left_x else left_x
    face_z = path_to_face(z, to_z, f4(low_z), f4(distance), structure.size_z)
    face_y = path_to_face(y, to_y, f4(low_y), f4(high_y), structure.size_y)
    face_x = path_to_face(x, to_x, f4(low_x), f4(high_x), structure.size_x)

    face = face_z if face_z < face_y else face_y
    face = face if face < face_x else face_x
    optical, chance = minus_log(uniform(bits_path)), uniform(bits_angle)
    path, collides, scatters, left, chance, flown = flight(
        tables, material, energy, face, optical, chance, flown
    )
    energy = at_least(left, tables.cutoff)
    angle = scattering_cosine(tables, material, energy, chance, bits_path)

    # Exactly one face is crossed, also where two are equally far: else a corner would be skipped.
    cross_z = (not collides) & (face_z == face)
    cross_y = (not collides) & (not cross_z) & (face_y == face)
    cross_x = (not collides) & (not cross_z) & (not cross_y)
    step_z, z = moved(z, to_z, path / structure.size_z, low_z, distance, cross_z)
    step_y, y = moved(y, to_y, path / structure.size_y, low_y, high_y, cross_y)
    step_x, x = moved(x, to_x, path / structure.size_x, low_x, high_x, cross_x)
    vz = i4(vz + step_z)
    vy, y, to_y = mirrored(i4(vy + step_y), y, to_y, structure.rows)
    vx, x, to_x = mirrored(i4(vx + step_x), x, to_x, structure.columns)

    # Computed for all, kept for those that scatter: a branch would break up the vectors.
    cos_azimuth, sin_azimuth = azimuth(bits_azimuth)
    new_z, new_y, new_x = turned(to_z, to_y, to_x, angle, cos_azimuth, sin_azimuth)
    to_z = new_z if scatters else to_z
    to_y = new_y if scatters else to_y
    to_x = new_x if scatters else to_x

    # Given up where the way left, even straight up, does not lead to the surface.
    below = f4(vz) + z
    depth = depth if depth > below else below
    buried = fetch(tables.reach, energy_index(tables, energy)) < below * structure.size_z
    lost = (left <= tables.cutoff) | buried | (vz >= structure.deepest)
    status = np.uint8(LOST if lost else (ESCAPED if vz < _I0 else FLYING))
    electron = energy, vz, vy, vx, z, y, x, to_z, to_y, to_x, depth, w0, w1, w2, w3, flown
    return electron, status


@_lockstep
def advance(structure, tables, lanes):
    """Take the electrons of all lanes through one event."""
    for i in range(LANES):
        electron = (
            lanes.energy[i],
            lanes.voxel_z[i],
            lanes.voxel_y[i],
            lanes.voxel_x[i],
            lanes.z[i],
            lanes.y[i],
            lanes.x[i],
            lanes.to_z[i],
            lanes.to_y[i],
            lanes.to_x[i],
            lanes.depth[i],
            lanes.word_0[i],
            lanes.word_1[i],
            lanes.word_2[i],
            lanes.word_3[i],
            lanes.path[i],
        )
        electron, lanes.status[i] = event(structure, tables, electron)
        put(lanes, i, electron)


@_inline
def put(lanes, i, electron):
    """Write an electron into a lane."""
    energy, vz, vy, vx, z, y, x, to_z, to_y, to_x, depth, w0, w1, w2, w3, flown = electron
    lanes.energy[i] = energy
    lanes.voxel_z[i] = vz
    lanes.voxel_y[i] = vy
    lanes.voxel_x[i] = vx
    lanes.z[i] = z
    lanes.y[i] = y
    lanes.x[i] = x
    lanes.to_z[i] = to_z
    lanes.to_y[i] = to_y
    lanes.to_x[i] = to_x
    lanes.depth[i] = depth
    lanes.word_0[i] = w0
    lanes.word_1[i] = w1
    lanes.word_2[i] = w2
    lanes.word_3[i] = w3
    lanes.path[i] = flown


@_inline
def _hash(key, number):
    return mix(key + u8(number) * GOLDEN)


@_inline
def _pixel_key(place, y, x):
    return _hash(_hash(place.key, place.image_y + y + 1), place.image_x + x + 1)


@_loop
def draw_electrons(place, mean, electrons):
    """Fill in Poisson-distributed numbers of electrons on pixels.

    Parameters
    ----------
    place
        Of the part of the image.
    mean
        Expected number on a pixel.
    electrons
        Int32 (y, x), overwritten.
    """
    rows, columns = electrons.shape
    for y in range(rows):
        for x in range(columns):
            word = _hash(_pixel_key(place, y, x), 0)
            if mean < POISSON_EXPANSION:
                count = poisson_inverse(mean, (word >> _S11) * 2.0**-53)
            else:
                radius = math.sqrt(-2 * math.log(((word >> _S32) + 0.5) * 2.0**-32))
                angle = 2 * math.pi * (u4(word) * 2.0**-32)
                count = poisson_expansion(mean, radius * math.cos(angle))
            electrons[y, x] = count


@_inline
def _folded(voxel, place, direction, count):
    """Bring a place back that lies beside the outermost faces, by reflections there."""
    steps = i4(math.floor(place))
    voxel, place = i4(voxel + steps), place - f4(steps)
    while voxel < 0 or voxel >= count:
        voxel = i4(-1 - voxel) if voxel < 0 else i4(2 * count - 1 - voxel)
        place, direction = f4(1) - place, -direction
    return voxel, place, direction


@_inline
def launch(structure, beam, place, pixel_y, pixel_x, number):
    """Return an electron, by its number, that enters the surface on a pixel of a part."""
    # The state of the generator follows from the pixel and the number alone: whoever sends this
    # electron, and in whatever order, sends the same one.
    key = _pixel_key(place, pixel_y, pixel_x)
    first, second = _hash(key, 2 * number + 1), _hash(key, 2 * number + 2)
    w0, w1, w2, w3 = u4(first), u4(first >> _S32), u4(second), u4(second >> _S32)
    bits_y, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)
    bits_x, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)
    bits_radius, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)
    bits_azimuth, w0, w1, w2, w3 = next_words(w0, w1, w2, w3)
    share = _BEYOND_THREE_STDS + (f4(1) - _BEYOND_THREE_STDS) * uniform(bits_radius)
    radius = f4(math.sqrt(_TWO * minus_log(share)))
    cosine, sine = azimuth(bits_azimuth)
    y = f4(0.5) + beam.pixel * (uniform(bits_y) - f4(0.5)) + radius * sine * beam.spread_y
    x = f4(0.5) + beam.pixel * (uniform(bits_x) - f4(0.5)) + radius * cosine * beam.spread_x
    vy, vx = i4(place.structure_y + pixel_y), i4(place.structure_x + pixel_x)
    vy, y, to_y = _folded(vy, y, beam.sine, structure.rows)
    vx, x, to_x = _folded(vx, x, f4(0), structure.columns)
    # Never on the outermost face itself: a beam along it would cross it for ever.
    start = i4(0), vy, vx, f4(0), at_least(y, _HALF_UNIT), at_least(x, _HALF_UNIT)
    return (beam.energy, *start, beam.cosine, to_y, to_x, f4(0), w0, w1, w2, w3, f4(0))


@_inline
def nobody(tables):
    """Return what is flown in a lane without electron: given up at each event."""
    start = i4(0), i4(0), i4(0), f4(0), f4(0), f4(0)
    words = u4(1), u4(0), u4(0), u4(0)
    return (tables.cutoff, *start, f4(1), f4(0), f4(0), f4(0), *words, f4(0))


@_inline
def empty_lanes():
    """Return lanes, all of them to be filled."""
    integers = [np.zeros(LANES, np.int32) for _ in range(3)]
    reals = [np.zeros(LANES, np.float32) for _ in range(9)]
    words = [np.zeros(LANES, np.uint32) for _ in range(4)]
    return Lanes(
        reals[0],
        integers[0],
        integers[1],
        integers[2],
        reals[1],
        reals[2],
        reals[3],
        reals[4],
        reals[5],
        reals[6],
        reals[7],
        words[0],
        words[1],
        words[2],
        words[3],
        reals[8],
        np.full(LANES, LOST, np.uint8),
    )


@_inline
def accepted(acceptance, beam, energy, to_z, to_y):
    """Tell whether an electron that has come out is counted."""
    along = -(to_z * beam.cosine + to_y * beam.sine)
    return energy >= acceptance.energy and along >= acceptance.cosine


@_inline
def _record(lanes, i, out):
    out[0] = lanes.energy[i]
    out[1] = lanes.depth[i]
    out[2] = f4(lanes.voxel_y[i]) + lanes.y[i]
    out[3] = f4(lanes.voxel_x[i]) + lanes.x[i]
    out[4] = lanes.to_z[i]
    out[5] = lanes.to_y[i]
    out[6] = lanes.to_x[i]


@_loop
def send_electrons(structure, tables, beam, acceptance, place, electrons, counts, exits):
    """Send electrons to all pixels of a part of an image, and count those that come out.

    Parameters
    ----------
    structure, tables, beam, acceptance, place
        As their classes say.
    electrons
        Numbers of electrons on the pixels, int32 (y, x).
    counts
        Numbers of them that come out and are counted, int32 (y, x), added to.
    exits
        Of the first electrons on each pixel, as many as there are rows, float32 (electron, 7);
        overwritten where one comes out: energy in eV, greatest depth and place (y, x) in voxels
        of the structure, direction (z, y, x).
    """
    columns = counts.shape[1]
    lanes = empty_lanes()
    ended = lanes.status.view(np.uint64)
    ys, xs, numbers = np.zeros(LANES, i4), np.zeros(LANES, i4), np.full(LANES, _NOBODY)
    pixel, number, flying = 0, 0, 0
    while True:
        # Eight bytes of status at once: nearly all groups have nobody that has ended.
        for group in range(len(ended)):
            first = _GROUP * group
            for i in range(first, first + (_GROUP if ended[group] else 0)):
                if lanes.status[i] == FLYING:
                    continue
                if lanes.status[i] == ESCAPED:
                    if accepted(acceptance, beam, lanes.energy[i], lanes.to_z[i], lanes.to_y[i]):
                        counts[ys[i], xs[i]] += 1
                    if numbers[i] < len(exits):
                        _record(lanes, i, exits[numbers[i]])
                flying -= numbers[i] != _NOBODY
                # The next pixel that has electrons left.
                while (
                    pixel < counts.size and number >= electrons[pixel // columns, pixel % columns]
                ):
                    pixel, number = pixel + 1, 0
                if pixel < counts.size:
                    ys[i], xs[i], numbers[i] = pixel // columns, pixel % columns, number
                    put(lanes, i, launch(structure, beam, place, ys[i], xs[i], number))
                    number += 1
                    flying += 1
                else:  # the last electrons fly on beside empty lanes
                    numbers[i] = _NOBODY
                    put(lanes, i, nobody(tables))
        if flying == 0:
            return
        advance(structure, tables, lanes)
