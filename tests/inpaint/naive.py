"""Slow, obvious references for inpainting."""

from math import comb

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import convolve1d, distance_transform_edt, label


def nearest_plane(plane, measured):
    """Nearest measured plane; `min` takes the first, that is the lower, of two."""
    return min(measured, key=lambda candidate: abs(candidate - plane))


def window(plane, measured):
    """The four measured planes on each side, the plane below, and the weight of each.

    The plane below weighs 2^-10 more, so that ties are its own.
    """
    below = [m for m in measured if m < plane][-4:]
    above = [m for m in measured if m > plane][:4]
    planes = np.array(below + above)
    weights = CubicSpline(planes, np.eye(len(planes)), bc_type="natural")(plane)
    return planes, weights, weights + 2.0**-10 * (planes == below[-1])


def is_gap(plane, measured):
    return measured[0] < plane < measured[-1] and plane not in measured


def spline_grey(volume, measured):
    """Grey values (z, y, x), float64, of the natural spline through each gap's window."""
    out = np.empty(volume.shape)
    for plane in range(len(volume)):
        out[plane] = volume[nearest_plane(plane, measured)]
        if is_gap(plane, measured):
            planes, weights, _ = window(plane, measured)
            out[plane] = np.tensordot(weights, volume[planes].astype(float), axes=1)
    return out


def spline_phase(phase, measured):
    """Solid where the spline exceeds one half; enclosed pores below 20 px filled."""
    out = np.empty_like(phase)
    for plane in range(len(phase)):
        out[plane] = phase[nearest_plane(plane, measured)]
        if is_gap(plane, measured):
            planes, _, weights = window(plane, measured)
            value = np.tensordot(weights, phase[planes].astype(float), axes=1)
            out[plane] = value > weights.sum() / 2
            fill_holes(out[plane])
    return out


def fill_holes(plane):
    """Fill, in place, pores of fewer than 20 pixels that do not touch the edge."""
    pores, count = label(plane == 0)
    inner = np.zeros(plane.shape, bool)
    inner[1:-1, 1:-1] = True
    for number in range(1, count + 1):
        pore = pores == number
        if pore.sum() < 20 and inner[pore].all():
            plane[pore] = 1


def smoothing_weights():
    """Binomial weights of 17 pixels times the parabola that makes the second moment 0."""
    offset = np.arange(-8, 9)
    weights = np.array([comb(16, 8 + j) for j in offset])
    moments = [[(weights * offset ** (i + j)).sum() for j in (0, 2)] for i in (0, 2)]
    level, curvature = np.linalg.solve(moments, [1, 0])
    return weights * (level + curvature * offset**2)


def signed_distance(plane, pixel):
    """Distance to the interface, capped at 64 pixels, smoothed without a change of phase."""
    reach = 64 * min(pixel)
    inside, outside = (
        distance_transform_edt(part, sampling=pixel)
        if not part.all()
        else np.full(part.shape, reach)
        for part in (plane == 1, plane == 0)
    )
    sign = np.where(plane == 1, 1, -1)
    distance = sign * (np.minimum(np.maximum(inside, outside), reach) - min(pixel) / 2)
    for axis in (0, 1):
        distance = convolve1d(distance, smoothing_weights(), axis=axis, mode="nearest")
    return sign * np.maximum(sign * distance, min(pixel) / 16)


def interpolated_distance(phase, measured, spacing, pixel):
    """Distances (z, y, x), positive in solid; those of measured planes are not interpolated."""
    out = np.empty(phase.shape)
    for plane in range(len(phase)):
        out[plane] = signed_distance(phase[nearest_plane(plane, measured)], pixel)
        if is_gap(plane, measured):
            planes, _, weights = window(plane, measured)
            cap = (planes[planes > plane][0] - planes[planes < plane][-1]) * spacing
            out[plane] = 0
            for weight, source in zip(weights, planes, strict=True):
                out[plane] += weight * np.clip(signed_distance(phase[source], pixel), -cap, cap)
    return out
