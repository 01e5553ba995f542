"""A CT-like phantom: a body with fat and a spine, organs and lesions as deformed ellipsoids, computed slice by slice.

Coordinates are relative: -1 to 1 along each axis of the volume, whatever its number of voxels and its spacing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BODY = (0.85, 0.65)  # half axes; organs are placed well inside
RING = (0.42, 0.3)  # half axes of the ellipse on which organs are placed
SPINE = (0.0, 0.42, 0.09)  # centre and radius
FAT_FROM = 0.8  # of the squared distance from the body's axis, 1 at the skin
LOWEST, HIGHEST = -1024, 3071  # HU, as scanners store them
AIR, FAT, TISSUE, BONE, LESION = -1000.0, -100.0, 40.0, 400.0, 70.0  # HU
ORGANS = (100.0, 150.0)  # HU of organs, with contrast agent
TEXTURE = 12.0  # HU, of the large waves in soft tissue
WAVES = 4
DEFORMATION = 0.12  # of each wave at a surface; all together stay below 0.5, so that a centre is always inside
EXTENT = 1.25  # a deformed surface, in radii: its square is at most 1 + WAVES * DEFORMATION
LESION_OFFSET, LESION_RADIUS = 0.3, 0.2  # of the organ's radii: a lesion then stays inside


@dataclass(frozen=True)
class Waves:
    """A sum of plane waves.

    Attributes:
        vectors: (n, 3) wave vectors for x, y and z.
        phases: (n,) radians.
        amplitude: Of each wave.
    """

    vectors: NDArray[np.float32]
    phases: NDArray[np.float32]
    amplitude: float

    @classmethod
    def draw(cls, highest: float, amplitude: float, rng: np.random.Generator) -> "Waves":
        """Draw WAVES waves with wave numbers up to `highest` along each axis."""
        vectors = rng.uniform(-highest, highest, (WAVES, 3)).astype(np.float32)
        return cls(vectors, rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32), amplitude)

    def __call__(self, x: NDArray[np.float32], y: NDArray[np.float32], z: float) -> NDArray[np.float32]:
        """The (Y, X) sum in the plane z, at the columns x and rows y."""
        along_x = self.vectors[:, :1] * x + self.vectors[:, 2:] * np.float32(z) + self.phases[:, None]
        along_y = self.vectors[:, 1:2] * y
        total = np.zeros((len(y), len(x)), dtype=np.float32)
        # cos(a + b) = cos a cos b - sin a sin b, so no cosine is evaluated voxel by voxel; no matrix product, since its
        # last bits depend on BLAS and its threads
        for a, b in zip(along_y, along_x, strict=True):
            total += np.multiply.outer(np.cos(a), np.cos(b))
            total -= np.multiply.outer(np.sin(a), np.sin(b))
        total *= np.float32(self.amplitude)
        return total


@dataclass(frozen=True)
class Blob:
    """A deformed ellipsoid.

    Attributes:
        label: Its class.
        intensity: HU.
        centre: (3,) the coordinates of a voxel.
        radii: (3,) before the deformation.
        surface: The deformation, in coordinates relative to centre and radii.
    """

    label: int
    intensity: float
    centre: NDArray[np.float64]
    radii: NDArray[np.float64]
    surface: Waves

    def box(self, x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[slice, slice]:
        """The rows and columns of a slice that the blob may reach."""
        columns, rows = (
            slice(*np.searchsorted(axis, [centre - EXTENT * radius, centre + EXTENT * radius]))
            for axis, centre, radius in zip((x, y), self.centre[:2], self.radii[:2], strict=True)
        )
        return rows, columns

    def covers(self, x: NDArray[np.float32], y: NDArray[np.float32], z: float) -> NDArray[np.bool_]:
        """Which of the (Y, X) points in the plane z are inside."""
        p = ((x - self.centre[0]) / self.radii[0]).astype(np.float32)
        q = ((y - self.centre[1]) / self.radii[1]).astype(np.float32)
        r = float((z - self.centre[2]) / self.radii[2])
        return np.asarray((p**2)[None] + (q**2)[:, None] + self.surface(p, q, r) < 1.0 - r**2)


@dataclass(frozen=True)
class Phantom:
    """One volume, as a function of the slice.

    Attributes:
        shape: (X, Y, Z) voxels.
        blobs: Organs, then lesions, which are painted over them.
        texture: Large waves in soft tissue.
    """

    shape: tuple[int, int, int]
    blobs: tuple[Blob, ...]
    texture: Waves

    @classmethod
    def draw(
        cls, shape: tuple[int, int, int], organs: int, *, lesion: bool, radius: float, rng: np.random.Generator
    ) -> "Phantom":
        """Draw a phantom.

        Args:
            shape: (X, Y, Z) voxels.
            organs: Number of organs, which are the classes from 1 on.
            lesion: Whether the first organ has lesions, which are the last class.
            radius: Of an organ; smaller if the organs would overlap.
            rng: Random generator.
        """
        grid = [_axis(n) for n in shape]
        apart = RING[1] * np.sin(np.pi / organs) if organs > 1 else 1.0  # half the distance of neighbours, at least
        largest = min(radius, apart / EXTENT)
        start = rng.uniform(0, 2 * np.pi)
        blobs = []
        for index in range(organs):
            angle = start + 2 * np.pi * index / organs
            centre = np.array([RING[0] * np.cos(angle), RING[1] * np.sin(angle), rng.uniform(-0.3, 0.3)])
            radii = np.array([largest, largest, max(2 * largest, 0.3)]) * rng.uniform(0.75, 1.0, 3)
            intensity = rng.uniform(*ORGANS)
            blobs.append(_blob(centre, radii, grid, label=index + 1, intensity=intensity, rng=rng))
        for _ in range(int(rng.integers(1, 4)) if lesion else 0):
            direction = rng.standard_normal(3)
            centre = blobs[0].centre + LESION_OFFSET * blobs[0].radii * direction / np.linalg.norm(direction)
            radii = LESION_RADIUS * blobs[0].radii
            blobs.append(_blob(centre, radii, grid, label=organs + 1, intensity=LESION, rng=rng))
        return cls(shape, tuple(blobs), Waves.draw(6.0, TEXTURE, rng))

    def slice(
        self, index: int, *, noise: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Compute a slice.

        Args:
            index: Its z.
            noise: Standard deviation, HU.
            rng: Random generator of the noise.

        Returns:
            The (Y, X) intensities in HU, and the labels.
        """
        x, y, depth = (_axis(n) for n in self.shape)
        z = float(depth[index])
        distance = ((x / BODY[0]) ** 2)[None] + ((y / BODY[1]) ** 2)[:, None]
        texture = self.texture(x, y, z)
        values = TISSUE + texture
        values[distance > FAT_FROM] = FAT
        values[distance > 1.0] = AIR
        values[((x - SPINE[0]) ** 2)[None] + ((y - SPINE[1]) ** 2)[:, None] < SPINE[2] ** 2] = BONE
        labels = np.zeros(values.shape, dtype=np.uint8)
        for blob in self.blobs:
            if abs(z - blob.centre[2]) < EXTENT * blob.radii[2]:
                rows, columns = box = blob.box(x, y)
                inside = blob.covers(x[columns], y[rows], z)
                labels[box][inside] = blob.label
                values[box][inside] = blob.intensity + texture[box][inside]
        values += np.float32(noise) * rng.standard_normal(values.shape, dtype=np.float32)
        return np.clip(np.rint(values), LOWEST, HIGHEST).astype(np.int16), labels


def _axis(n: int) -> NDArray[np.float32]:
    return np.linspace(-1.0, 1.0, n, dtype=np.float32) if n > 1 else np.zeros(1, dtype=np.float32)


def _blob(
    centre: NDArray[np.float64],
    radii: NDArray[np.float64],
    grid: list[NDArray[np.float32]],
    *,
    label: int,
    intensity: float,
    rng: np.random.Generator,
) -> Blob:
    """A blob whose centre is moved to the nearest voxel, which it therefore covers."""
    nearest = np.array([axis[np.argmin(np.abs(axis - at))] for axis, at in zip(grid, centre, strict=True)])
    return Blob(label, intensity, nearest, radii, Waves.draw(3.0, DEFORMATION, rng))
