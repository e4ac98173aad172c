"""Draws four.png in this folder, the handwritten digit that the README's `predict` reads: python docs/four.py."""

from math import sin
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 360
PAPER, INK = (250, 246, 236), (28, 38, 92)
SCALE = 4  # drawn larger and scaled down, for smooth edges

# Two pen strokes, each through these points.
STROKES = [
    [(128, 58), (119, 96), (103, 141), (84, 181), (80, 196), (98, 201), (146, 197), (198, 191), (246, 184)],
    [(214, 82), (207, 132), (199, 187), (192, 240), (187, 284), (182, 312)],
]


def curve(points, steps=60):
    """Yields a Catmull-Rom spline through the points."""
    points = [points[0], *points, points[-1]]
    for a, b, c, d in zip(points, points[1:], points[2:], points[3:]):
        for step in range(steps):
            t = step / steps
            yield tuple((2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3) / 2
                        for p, q, r, s in zip(a, b, c, d))


picture = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
draw = ImageDraw.Draw(picture)
for stroke in STROKES:
    spots = list(curve(stroke))
    for i, (x, y) in enumerate(spots):
        # The hand's pressure varies, and the pen is lifted at the end.
        end = min(1.0, (0.3 + (len(spots) - i) / 150) ** 0.5)
        radius = (10.5 + 1.5 * sin(i / 47)) * end
        draw.ellipse([SCALE * value for value in (x - radius, y - radius, x + radius, y + radius)], fill=INK)
picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(Path(__file__).with_name("four.png"), optimize=True)
