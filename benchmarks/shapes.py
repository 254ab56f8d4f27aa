"""An image folder of one's own: five drawn shapes in random colours, sizes and noise, to try commands on.

python benchmarks/shapes.py /path/to/new/folder
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = {"triangle": 3, "square": 4, "pentagon": 5, "star": 10, "circle": 60}
SIZES = ((56, 48), (48, 72), (64, 64))


def draw_shape(kind: str, generator: np.random.Generator) -> Image.Image:
    """One image: a filled shape on another colour, turned, shifted and noisy; every fourth is grey."""
    width, height = SIZES[generator.integers(len(SIZES))]
    back, front = (tuple(int(v) for v in generator.integers(0, 256, 3)) for _ in range(2))
    image = Image.new("RGB", (width, height), back)
    radius = generator.uniform(0.22, 0.42) * min(width, height)
    centre = (width * generator.uniform(0.4, 0.6), height * generator.uniform(0.4, 0.6))
    turn, corners = generator.uniform(0, 2 * math.pi), CLASSES[kind]
    points = []
    for i in range(corners):
        reach = radius * (0.45 if kind == "star" and i % 2 else 1)
        angle = turn + 2 * math.pi * i / corners
        points.append((centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle)))
    ImageDraw.Draw(image).polygon(points, fill=front)
    noisy = np.asarray(image, dtype=np.float64) + generator.normal(0, 20, (height, width, 3))
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    return image.convert("L") if generator.integers(4) == 0 else image


def main() -> None:
    """Write train/CLASS/*.png and test/CLASS/*.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=300, help="images a class")
    parser.add_argument("--test", type=int, default=100, help="images a class")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    for part, count in (("train", arguments.train), ("test", arguments.test)):
        for kind in CLASSES:
            folder = arguments.folder / part / kind
            folder.mkdir(parents=True)
            for number in range(count):
                draw_shape(kind, generator).save(folder / f"{number:04}.png")


if __name__ == "__main__":
    main()
