"""Slow, obvious versions of generated structures and of distorted images."""

import numpy as np
from scipy import ndimage
from scipy.integrate import quad
from scipy.stats import poisson, truncnorm

from tests.simulate.naive import GOLDEN, MASK, splitmix64


def hashed(key, number):
    """Word of a number in the stream of a key."""
    return splitmix64((key + (number + 1) * GOLDEN) & MASK)


def uniform(key, counter):
    return ((hashed(key, counter) >> 11) + 0.5) / 2**53


def spheres_of_cell(key, cell, count, radius, std, side):
    """Centres in nm (z, y, x) and radii of the spheres of a cell; radii cut at 3 std."""
    for number in cell:
        key = hashed(key, number)
    spheres = []
    for sphere in range(int(poisson.ppf(uniform(key, 0), count))):
        stream = hashed(key, sphere + 1)
        corner = [(n + uniform(stream, axis)) * side for axis, n in enumerate(cell)]
        deviate, counter = np.inf, 3
        while abs(deviate) > 3:
            distance = np.sqrt(-2 * np.log(uniform(stream, counter)))
            deviate = distance * np.cos(2 * np.pi * uniform(stream, counter + 1))
            counter += 2
        spheres.append((np.array(corner) - radius - 3 * std, radius + std * deviate))
    return spheres


class BooleanModel:
    """Closed forms of the solid outside spheres of cut normal diameters at random places."""

    def __init__(self, diameter, std, fraction):
        self.fraction = fraction
        self.radii = truncnorm(-3, 3, diameter / 2, std / 2) if std else None
        self.diameter = diameter
        self.density = -np.log(fraction) / self.mean(lambda r: 4 / 3 * np.pi * r**3)

    def mean(self, function):
        return self.radii.expect(function) if self.radii else function(self.diameter / 2)

    def ligament_diameter(self):
        return 1 / (self.density * self.mean(lambda r: np.pi * r**2))

    def two_point_correlation(self, distance):
        """Probability that two points are solid: none of the spheres covers either."""

        def overlap(r):
            t = min(distance / (2 * r), 1)
            return 4 / 3 * np.pi * r**3 * (1 - 1.5 * t + 0.5 * t**3)

        return self.fraction**2 * np.exp(self.density * self.mean(overlap))

    def fraction_std(self, volume):
        """Standard deviation of the solid fraction of a large volume in nm³."""

        def excess(r):
            return 4 * np.pi * r**2 * (self.two_point_correlation(r) - self.fraction**2)

        return np.sqrt(quad(excess, 0, 2 * self.diameter, limit=200)[0] / volume)


def gradient_noise(key, y, x):
    """Perlin's noise at one place in lattice spacings."""
    i, k = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for a in (i, i + 1):
        for b in (k, k + 1):
            angle = 2 * np.pi * uniform(hashed(key, a), b)
            slope = (y - a) * np.sin(angle) + (x - b) * np.cos(angle)
            fades = [1 - (6 * d**5 - 15 * d**4 + 10 * d**3) for d in (abs(y - a), abs(x - b))]
            total += slope * fades[0] * fades[1]
    return total


def film_labels(thickness, planes, spacing):
    """Labels (z, y, x) of layers by their thickness (layer, y, x), voxel by voxel."""
    labels = np.zeros((planes, *thickness.shape[1:]), int)
    for z, y, x in np.ndindex(labels.shape):
        label, bottom = 0, float(thickness[0, y, x])
        while bottom <= (z + 0.5) * spacing:
            label += 1
            if label == len(thickness):
                break
            bottom += float(thickness[label, y, x])
        labels[z, y, x] = label
    return labels


def copied(phase, matrix, offset, shape):
    """A resized and rotated copy of a mirrored phase, interpolated linearly, from 0 to 1."""
    centres = np.indices(shape).reshape(3, -1) + 0.5
    places = matrix @ centres + offset[:, np.newaxis]
    values = ndimage.map_coordinates(phase.astype(float), places, order=1, mode="reflect")
    return values.reshape(shape)


def keys_kernel(distance):
    """Cubic convolution kernel of Keys with a = −1/2."""
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def moved_image(image, shift):
    """I(y − s_y, x − s_x) of a mirrored image by cubic convolution, pixel by pixel."""
    padded = np.pad(np.asarray(image, float), 60, mode="symmetric")
    moved = np.zeros(image.shape)
    for y, x in np.ndindex(image.shape):
        v, u = y - shift[0], x - shift[1]
        for j in range(int(np.floor(v)) - 1, int(np.floor(v)) + 3):
            for k in range(int(np.floor(u)) - 1, int(np.floor(u)) + 3):
                weight = keys_kernel(v - j) * keys_kernel(u - k)
                moved[y, x] += weight * padded[j + 60, k + 60]
    return moved
