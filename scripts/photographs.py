"""Makes photographs of written and printed digits, and counts how many of them `islp-mnist predict` reads.

    scripts/photographs.py DIR [--kinds building] [--per-digit 4] [--seed 0]
    scripts/photographs.py DIR --measure target/release/islp-mnist --checkpoint VERSION_DIR

The recognizer may be tuned only on the building kinds; the held-back kinds measure how well it generalizes.
"""

import argparse
import json
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

RAW = Path(__file__).resolve().parents[1] / "data/MNIST/raw"
FONTS = Path(matplotlib.get_data_path()) / "fonts/ttf"
# DejaVu's Mono faces have a dot in their 0, which few people write, so they are used only for 1 to 9.
FACES = """DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSerif DejaVuSerif-Bold DejaVuSerif-Italic STIXGeneral
    STIXGeneralItalic cmr10 cmss10 cmb10 DejaVuSansMono DejaVuSansMono-Bold DejaVuSansMono-Oblique""".split()

# Handwritten shapes of each digit. A shape has one or more strokes through points x,y of a box 60 wide and 100 high; a
# stroke turns sharply at a point with "!" and smoothly at the others.
SHAPES = {
    0: [["32,2 10,20 3,52 12,86 30,98 50,84 58,50 50,16 32,2"],
        ["44,6 22,3 6,28 3,62 18,96 42,93 57,62 54,26 38,5 28,8"],
        ["30,0 19,8 12,28 10,54 17,86 30,99 44,84 50,50 47,24 40,7 30,0"]],
    1: [["31,0 29,50 30,100"], ["6,30 34,0! 34,50 33,100"], ["12,24 32,0! 32,50 32,100", "8,100 32,99 58,100"]],
    2: [["6,22 16,5 36,1 52,18 46,42 24,72 4,97! 30,96 58,96"],
        ["8,20 24,2 46,7 52,28 36,60 14,90 4,92 8,80 26,87 44,97 60,92"], ["5,15 28,0 52,20 40,52 5,98! 30,93 58,98"]],
    3: [["6,14 26,1 48,10 48,32 22,46! 50,58 54,80 32,99 4,88"], ["6,3 30,3 52,3! 26,40! 52,52 56,76 34,99 4,90"]],
    4: [["16,2 4,58! 30,57 62,56", "42,28 38,100"], ["46,100 46,50 46,0! 2,66! 30,66 64,66"],
        ["10,3 5,46 16,56 50,50", "52,4 49,50 46,100"]],
    5: [["54,3 34,3 16,3! 10,44! 34,36 54,56 50,84 26,99 4,90"],
        ["14,5 10,44! 34,36 54,56 50,84 26,99 4,90", "16,4 36,3 56,2"],
        ["54,4 20,6 9,28 22,43 46,54 52,78 34,98 4,92"]],
    6: [["46,2 20,28 5,64 16,95 42,94 52,72 36,54 14,64 8,76"], ["34,0 10,40 6,76 24,99 48,90 49,66 28,55 8,72"],
        ["52,6 30,8 8,46 8,80 28,99 52,84 48,60 24,54 9,70"]],
    7: [["4,4 30,4 56,4! 36,50 22,100"], ["4,4 30,4 56,4! 36,50 22,100", "14,53 34,51 54,49"],
        ["3,18 6,4! 30,5 57,4! 32,48 26,100"]],
    8: [["50,15 30,1 9,16 22,40 48,64 52,84 30,99 6,86 12,64 40,42 51,24 48,12"],
        ["30,2 10,14 12,36 30,46 50,36 50,12 30,2", "30,46 6,62 6,86 30,99 54,86 54,62 30,46"]],
    9: [["52,18 34,2 8,12 6,38 26,50 50,34 53,14! 51,60 46,100"],
        ["50,14 26,2 6,22 14,47 36,46 53,12! 55,62 44,92 22,99 6,88"], ["52,12 26,2 6,26 20,49 46,36 52,12! 30,100"]],
}

PAPERS = {"white": (242, 242, 240), "cream": (243, 235, 214), "grey": (214, 214, 212), "recycled": (216, 208, 192),
          "yellow": (246, 232, 150)}
COLOURED = {"pink": (250, 190, 202), "mint": (186, 232, 204), "sky": (176, 212, 244), "orange": (250, 190, 118),
            "lilac": (208, 192, 238)}
BOARDS = {"blackboard": (38, 62, 52), "black card": (30, 30, 33), "navy card": (28, 36, 70), "slate": (62, 66, 72)}
INKS = {"black": (25, 25, 28), "pencil": (78, 78, 80), "blue": (40, 70, 175), "dark blue": (22, 32, 92),
        "red": (185, 30, 35), "green": (20, 110, 55), "violet": (95, 40, 140)}
CHALKS = {"white": (236, 236, 230), "light yellow": (238, 226, 150), "light pink": (240, 190, 196)}
DESKS = [(112, 78, 50), (70, 48, 34), (58, 58, 62), (92, 98, 104), (40, 44, 52), (140, 105, 72)]
LIGHT_DESKS = [(206, 190, 166), (188, 190, 192)]
# The minimum number of holes in each digit, as most people write it.
HOLES = {0: 1, 6: 1, 8: 2, 9: 1}


def between(rng, low, high):
    return float(rng.uniform(low, high))


def one_of(rng, things):
    things = list(things)
    return things[int(rng.integers(len(things)))]


def linear(colour):
    """Converts pixel values to linear light (gamma 2), because reflectance and shadow multiply only in linear light."""
    return (np.asarray(colour, np.float32) / 255) ** 2


def waves(rng, width, height, across, down):
    """Returns a smooth random field of about `across` by `down` bumps, with mean 0 and standard deviation 1."""
    bumps = Image.fromarray(rng.normal(size=(down + 2, across + 2)).astype(np.float32))
    return np.asarray(bumps.resize((width, height), Image.Resampling.BICUBIC)) * 1.5


# Figures: masks of ink from 0 to 1, cropped to the figure, with the given height.


def cut(mask):
    rows, columns = (np.flatnonzero(mask.max(axis) > 0.05) for axis in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def curve(points):
    """Returns a Catmull-Rom spline through the points, closed if the last point equals the first."""
    if (points[0] == points[-1]).all():
        p = np.concatenate([points[-2:-1], points, points[1:2]])
    else:
        p = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    parts = [
        b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:])
    ]
    return np.concatenate([*parts, points[-1:]])


def hand(rng, height):
    """Returns the style of a person's handwriting, the same for all figures of a picture."""
    pen = max(between(rng, 0.025, 0.05) if rng.random() < 0.5 else between(rng, 0.05, 0.12), 1.6 / height)
    return {"pen": pen, "slant": between(rng, -0.1, 0.3), "aspect": between(rng, 0.85, 1.25),
            "face": one_of(rng, FACES), "threshold": between(rng, 0.36, 0.54), "pressure": between(rng, 0.02, 0.1)}


def strokes(rng, digit, height, style):
    scale = 4 if height < 500 else 2
    size, pen = height * scale, style["pen"] * height * scale
    shape = one_of(rng, SHAPES[digit])
    lines = []
    for stroke in shape:
        words = stroke.split()
        points = np.array([[float(n) for n in word.rstrip("!").split(",")] for word in words]) / 100
        points += rng.normal(scale=0.018, size=points.shape)
        if words[0] == words[-1]:
            points[-1] = points[0]
        points[:, 0] = points[:, 0] * style["aspect"] + style["slant"] * (0.5 - points[:, 1])
        turns = [0, *(i for i, word in enumerate(words) if word.endswith("!")), len(words) - 1]
        lines.append(np.concatenate([curve(points[a : b + 1]) for a, b in zip(turns, turns[1:])]))
    if len(lines) > 1 and rng.random() < 0.4:  # the second stroke starts slightly away from the first
        lines[1] = lines[1] + rng.normal(scale=0.02, size=2)
    every = np.concatenate(lines)
    low, high = every.min(0), every.max(0)
    scale_to = (size - pen) / (high[1] - low[1])
    image = Image.new("L", tuple(int(n) + 4 for n in (high - low) * scale_to + pen))
    draw = ImageDraw.Draw(image)
    for line in lines:
        line = (line - low) * scale_to + pen / 2 + 2
        press = 1 - style["pressure"] * (1 + np.cumsum(rng.normal(scale=0.12, size=len(line))).clip(-1, 1))
        for (x, y), (to_x, to_y), ink in zip(line, line[1:], press):
            r, fill = pen * (0.35 + 0.15 * ink), int(255 * ink)
            draw.line((x, y, to_x, to_y), fill, max(1, round(2 * r)))
            draw.ellipse((to_x - r, to_y - r, to_x + r, to_y + r), fill)
        x, y = line[0]
        draw.ellipse((x - r, y - r, x + r, y + r), fill)
    image = image.resize((max(1, image.width // scale), height), Image.Resampling.BOX)
    return cut(np.asarray(image, np.float32) / 255)


def printed(rng, digit, height, style):
    face = style["face"] if digit or "Mono" not in style["face"] else "DejaVuSans"
    box = ImageFont.truetype(FONTS / f"{face}.ttf", 200).getbbox(str(digit))
    font = ImageFont.truetype(FONTS / f"{face}.ttf", 200 * height / (box[3] - box[1]))
    box = font.getbbox(str(digit))
    image = Image.new("L", (box[2] - box[0] + 4, box[3] - box[1] + 4))
    ImageDraw.Draw(image).text((2 - box[0], 2 - box[1]), str(digit), 255, font)
    return cut(np.asarray(image, np.float32) / 255)


@cache
def mnist(part, count):
    images = np.fromfile(RAW / f"{part}-images-idx3-ubyte", np.uint8, count * 784, offset=16).reshape(count, 784)
    labels = np.fromfile(RAW / f"{part}-labels-idx1-ubyte", np.uint8, count, offset=8)
    return images.astype(np.float32) / 255, labels


def written(rng, digit, height, style):
    """Returns the ink of an MNIST test image. Nobody can read some of them, so it must resemble three training images of
    its digit and keep its holes as ink."""
    (images, labels), (known, known_labels) = mnist("t10k", 10000), mnist("train", 10000)
    while True:
        image = images[one_of(rng, np.flatnonzero(labels == digit))]
        far = (known**2).sum(1) - 2 * known @ image
        if (known_labels[np.argsort(far)[:3]] != digit).any():
            continue
        image = np.pad(cut(image.reshape(28, 28)), 2)
        scale = height / (image.shape[0] - 4)
        size = tuple(round(n * scale) for n in image.shape[::-1])
        mask = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        mask = ndimage.gaussian_filter(mask, 0.2 * scale)  # smooths the steps between pixels
        mask = ((mask - style["threshold"]) * max(scale, 1.5) * 0.7 + 0.5).clip(0, 1)
        parts, count = ndimage.label(mask > 0.5)
        areas = ndimage.sum_labels(mask, parts, np.arange(count + 1))
        if (areas[1:] < 0.2 * areas.sum()).any():  # a speck, not a stroke
            continue
        background, holes = ndimage.label(mask < 0.5)
        holes = (np.bincount(background.ravel())[1:] > 0.3 * scale**2).sum() - 1
        if holes >= HOLES.get(digit, 0):
            return cut(mask)


SOURCES = [strokes, printed, written]


def turned(mask, degrees):
    if degrees == 0:
        return mask
    image = Image.fromarray(mask)  # at twice its size, so that a thin line is even
    image = image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC)
    image = image.rotate(-degrees, Image.Resampling.BICUBIC, expand=True)
    image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    return np.asarray(image).clip(0, 1)


def row(rng, digits, height, source, style):
    """Places the figures side by side without overlap, roughly on one line."""
    masks = [source(rng, digit, height, style) for digit in digits]
    gaps = [round(height * between(rng, 0.18, 0.5)) for _ in masks]
    shifts = [round(height * between(rng, 0, 0.1)) for _ in masks]
    tall = max(mask.shape[0] + shift for mask, shift in zip(masks, shifts))
    whole = np.zeros((tall, sum(mask.shape[1] for mask in masks) + sum(gaps[1:])), np.float32)
    x = 0
    for mask, gap, shift in zip(masks, [0, *gaps[1:]], shifts):
        x += gap
        whole[shift : shift + mask.shape[0], x : x + mask.shape[1]] = mask
        x += mask.shape[1]
    return whole


def boxed(rng, mask, kind):
    """Returns the figure with a margin, and a mask of the same size with a frame around the figure."""
    size = max(mask.shape)
    pad_x, pad_y = (round(size * between(rng, 0.18, 0.5)) for _ in "xy")
    pad_x += max(0, (mask.shape[0] // 2 - mask.shape[1]) // 2)  # the box of a 1 has the usual width
    if kind == "round":
        pad_x, pad_y = (pad + size // 6 for pad in (pad_x, pad_y))
    mask = np.pad(mask, ((pad_y, pad_y), (pad_x, pad_x)))
    height, width = mask.shape
    line = max(1.2, size * between(rng, 0.01, 0.035))
    cells, own = (int(rng.integers(2, 4)), int(rng.integers(2))) if kind == "cells" else (1, 0)
    image = Image.new("L", (width * cells * 3, height * 3))
    draw = ImageDraw.Draw(image)
    near, far = 0.02 * size + line, np.array([width, height]) - 0.02 * size - line
    wide = max(1, round(line * 3))
    if kind == "round":
        draw.ellipse((near * 3, near * 3, far[0] * 3, far[1] * 3), outline=255, width=wide)
    else:
        if kind == "cells":
            mask = np.pad(mask, ((0, 0), (own * width, (cells - 1 - own) * width)))
            far[0] += 2 * near - line  # neighbours share a side
        shake = 0.015 * size if kind == "drawn" else 0
        for cell in range(cells):
            left, right = near + cell * width, min(far[0] + cell * width, width * cells - near)
            corners = np.array([[left, near], [right, near], [right, far[1]], [left, far[1]], [left, near]])
            corners = corners + rng.normal(scale=1, size=(5, 2)).clip(-1.3, 1.3) * shake
            draw.line([tuple(corner) for corner in corners * 3], 255, wide, joint="curve")
    return mask, np.asarray(image.resize((width * cells, height), Image.Resampling.BOX), np.float32) / 255


# Photographs.


def ruling(rng, photo, rule, width):
    """Returns the fraction of each pixel that the sheet's printed lines cover, and its margin line. `photo` contains the
    sheet's coordinates u and v."""
    short = photo["short"]
    pitch = max(short / between(rng, 7, 24), 13) * (1 if rule in ("grid", "dots") else 1.6)
    wide = np.float32(np.clip(pitch * between(rng, *width), 1, 4))
    u, v = (np.abs((photo[axis] + between(rng, 0, pitch)) % pitch - pitch / 2) for axis in "uv")
    if rule == "dots":
        near = np.hypot(u, v) - wide * 0.4
    elif rule == "grid":
        near = np.minimum(u, v)
    else:
        near = v
    margin = None
    if rule == "margin":
        top, left = (np.float32(short * between(rng, -0.45, -0.2)) for _ in "vu")
        near = np.where(photo["v"] < top - 1, np.abs(photo["v"] - top), near)  # a header has no lines
        margin = (wide / 2 + 0.5 - np.abs(photo["u"] - left)).clip(0, 1)
        near = np.minimum(near, np.abs(photo["v"] - top))
    return (wide / 2 + 0.5 - near).clip(0, 1), margin


def desk(rng, photo, kind):
    """Draws the surroundings of the sheet: a desk (dark or light, plain or with wood grain) or a scanner's black margin,
    sometimes with a white border outside."""
    height, width = photo["u"].shape
    if kind == "scan":
        border = between(rng, 0.01, 0.05) * photo["short"] * (rng.random() < 0.5)
        inside = np.minimum(width / 2 - np.abs(photo["x"]), height / 2 - np.abs(photo["y"]))
        return np.where(inside < border, np.float32(0.95), linear(between(rng, 5, 40)))[:, :, None]
    colour = linear(one_of(rng, LIGHT_DESKS if rng.random() < 0.2 else DESKS))
    grain = waves(rng, width, height, *((3, 70) if rng.random() < 0.5 else (70, 3))) * between(rng, 0.03, 0.15)
    grain += waves(rng, width, height, 40, 40) * 0.03
    return colour * np.exp(grain)[:, :, None]


def placed(rng, photo, layers):
    """Places the layers, which have the same size, at a random position on the sheet, away from its edges; shrinks them if
    they do not fit."""
    height, width = photo["u"].shape
    margin = 0.05 * photo["short"]
    while True:
        tall, wide = layers[0].shape
        free_x, free_y = width - wide - 2 * margin, height - tall - 2 * margin
        for _ in range(60 if min(free_x, free_y) > 0 else 0):
            x, y = (int(margin + between(rng, 0, free)) for free in (free_x, free_y))
            corners = photo["room"][[y, y, y + tall - 1, y + tall - 1], [x, x + wide - 1, x, x + wide - 1]]
            if corners.min() > margin:
                around = ((y, height - y - tall), (x, width - x - wide))
                return [np.pad(layer, around) for layer in layers]
        smaller = max(1, int(wide * 0.9)), max(1, int(tall * 0.9))
        layers = [np.asarray(Image.fromarray(layer).resize(smaller, Image.Resampling.BICUBIC)) for layer in layers]
        layers = [layer.clip(0, 1) for layer in layers]


def illumination(rng, photo, light):
    """Returns the light at each point, always slightly brighter on one side. `shadow` has an edge, `lamp` is a bright spot,
    `creases` are those of crumpled paper."""
    u, v, short = photo["x"], photo["y"], photo["short"]
    height, width = u.shape
    angle = between(rng, 0, 2 * np.pi)
    along = (u * np.cos(angle) + v * np.sin(angle)) / short
    field = between(rng, 0.75, 1) * (1 + along * between(rng, 0, 0.2))
    if light == "shadow":
        angle = between(rng, 0, 2 * np.pi)
        along = (u * np.cos(angle) + v * np.sin(angle)) / short + between(rng, -0.25, 0.25)
        along = along + 0.06 * np.sin((v * np.cos(angle) - u * np.sin(angle)) / short * between(rng, 2, 9))
        soft = between(rng, 0.01, 0.12)
        field = field * (1 - between(rng, 0.25, 0.6) / (1 + np.exp(-(along / soft).clip(-30, 30))))
    elif light == "lamp":
        at_x, at_y = between(rng, -0.5, 0.5) * width, between(rng, -0.5, 0.5) * height
        spot = np.exp(-((u - at_x) ** 2 + (v - at_y) ** 2) / (short * between(rng, 0.3, 0.9)) ** 2)
        corners = 1 - between(rng, 0, 0.4) * (u**2 + v**2) / (width**2 + height**2) * 4
        dark = between(rng, 0.25, 0.55)
        field = corners * (dark + (between(rng, 0.9, 1.2) - dark) * spot)
    elif light == "creases":  # the slopes of a surface with sharp folds
        surface = sum(np.abs(waves(rng, width, height, n, n)) / n for n in (4, 9, 16))
        slope = np.gradient(surface, axis=int(rng.integers(2))) * short
        field = field * (1 + between(rng, 0.05, 0.13) * slope / slope.std()).clip(0.6, 1.3)
        field = field * (1 - between(rng, 0, 0.4) / (1 + np.exp(-along * between(rng, 4, 20))))
    return field


def photograph(rng, digits, source, *, papers=tuple(PAPERS), inks=tuple(INKS), rules=(None,), line_width=(0.03, 0.07),
               lines=((200, 212, 228), (150, 150, 152)), angle=(0, 0), figure_angle=(-5, 5), perspective=0, sides=None,
               around="desk", edge=(0.08, 0.22), light=None, frames=(), noise=(0.002, 0.012), blur=(0, 0.7), shake=0,
               quality=(65, 95)):
    """Returns a picture and its format: (pixels, JPEG quality or None for PNG)."""
    # The camera and the sheet below it. u and v are the sheet's coordinates; `room` is the distance to its edge.
    short = int(240 * (1200 / 240) ** rng.random())
    long = min(1600, int(short * one_of(rng, [1, 4 / 3, 4 / 3, 1.5, 16 / 9])))
    width, height = (short, long) if rng.random() < 0.5 else (long, short)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - width / 2, y - height / 2
    turn = between(rng, *angle) + (between(rng, -4, 4) if sides else 0)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    far = 1 + x * (between(rng, -1, 1) * perspective / width) + y * (between(rng, -1, 1) * perspective / height)
    photo = {"x": x, "y": y, "u": (x * c + y * s) / far, "v": (y * c - x * s) / far, "short": short,
             "room": np.full(x.shape, 1e6, np.float32)}
    if sides:
        edges = [photo["u"] + width / 2, width / 2 - photo["u"], photo["v"] + height / 2, height / 2 - photo["v"]]
        for i in rng.permutation(4)[: int(rng.integers(sides[0], sides[1] + 1))]:
            length = width if i < 2 else height
            photo["room"] = np.minimum(photo["room"], edges[i] - length * between(rng, *edge))
    paper = linear((PAPERS | COLOURED | BOARDS)[one_of(rng, papers)])
    canvas = paper * (1 + 0.008 * waves(rng, width, height, 50, 50)[:, :, None])
    if rule := one_of(rng, rules):
        lightest, darkest = (np.array(colour, float) for colour in lines)
        colour = linear(lightest + (darkest - lightest) * rng.random())
        covered, margin = ruling(rng, photo, rule, line_width)
        canvas *= 1 - covered[:, :, None] * (1 - colour)
        if margin is not None:
            canvas *= 1 - margin[:, :, None] * (1 - linear((225, 120, 125)))

    # The figures.
    tall = short * between(rng, 0.17, 0.66)
    if len(digits) > 1:
        tall = min(tall, width * 0.9 / len(digits))
    style = hand(rng, tall)
    mask = row(rng, digits, round(tall), source, style)
    layers = [*boxed(rng, mask, one_of(rng, frames))] if frames else [mask]
    tilt = turn + between(rng, *figure_angle) * (1 if len(digits) == 1 else 0.5)
    layers = placed(rng, photo, [turned(layer, tilt) for layer in layers])
    ink = one_of(rng, inks)
    for layer, colour in zip(layers, [ink, ink if rng.random() < 0.5 else one_of(rng, inks)]):
        if colour in ("pencil", *CHALKS):  # graphite and chalk do not fill the paper's pores
            layer = layer * (0.88 + 0.1 * rng.standard_normal(layer.shape, np.float32)).clip(0, 1)
        layer = layer[:, :, None]
        if colour in CHALKS:  # chalk covers the paper, while ink filters light
            canvas = canvas * (1 - layer) + linear(CHALKS[colour]) * layer
        else:
            canvas *= 1 - layer * (1 - linear(INKS[colour]))

    # The surroundings, the light, the lens, the sensor.
    if sides:
        sheet = (photo["room"] + 0.5).clip(0, 1)[:, :, None]
        under = 1 - between(rng, 0, 0.5) * np.exp(photo["room"].clip(-1e6, 0) / (0.02 * short))[:, :, None]
        canvas = canvas * sheet + desk(rng, photo, around) * under * (1 - sheet)
    canvas *= illumination(rng, photo, light)[:, :, None].astype(np.float32)
    canvas *= 1 + rng.normal(scale=0.02, size=3).astype(np.float32)  # white balance
    softness = between(rng, *blur) * (short / 600) ** 0.5
    more = softness * (1 + shake * rng.random())  # camera shake
    canvas = ndimage.gaussian_filter(canvas, (more, softness, 0) if rng.random() < 0.5 else (softness, more, 0))
    picture = np.sqrt(canvas.clip(0, 1))
    picture += np.float32(between(rng, *noise)) * rng.standard_normal(picture.shape, np.float32)
    pixels = (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return pixels, int(between(rng, *quality)) if rng.random() < 0.7 else None


BUILDING = {
    "plain": {},
    "pencil": {"inks": ["pencil"], "papers": ["white", "cream", "grey", "recycled"]},
    "grid": {"rules": ["grid"]},
    "blue-grid": {"rules": ["grid"], "lines": ((190, 212, 238), (140, 172, 222)), "inks": ["blue", "dark blue"],
                  "papers": ["white", "cream"]},
    "ruled": {"rules": ["ruled"]},
    "desk": {"sides": (1, 2)},
    "shadow": {"light": "shadow"},
    "noise": {"noise": (0.03, 0.08), "blur": (0.8, 1.8), "quality": (40, 60)},
    "rotated": {"figure_angle": (-20, 20)},
    "frame": {"frames": ["drawn", "printed"]},
    "mixed": {"rules": ["grid"], "sides": (1, 2), "light": "shadow"},
    "several": {"figures": (2, 4)},
}
DARK_LINES = ((160, 172, 192), (84, 84, 92))
HELD_BACK = {
    "dark-grid": {"rules": ["grid"], "lines": DARK_LINES, "line_width": (0.03, 0.09), "angle": (-20, 20)},
    "margin": {"rules": ["margin"], "lines": DARK_LINES, "line_width": (0.03, 0.08), "angle": (-6, 6)},
    "dots": {"rules": ["dots"], "lines": DARK_LINES, "line_width": (0.06, 0.14), "angle": (-10, 10)},
    "sheet": {"sides": (4, 4), "angle": (-12, 12), "edge": (0.05, 0.18), "perspective": 0.2,
              "rules": [None, None, "grid", "ruled"]},
    "scan": {"sides": (3, 4), "around": "scan", "edge": (0.03, 0.12), "papers": ["white", "cream", "grey"]},
    "lamp": {"light": "lamp"},
    "creases": {"light": "creases", "angle": (-10, 10), "rules": [None, None, "ruled"]},
    "coloured": {"papers": [*COLOURED], "inks": [ink for ink in INKS if ink != "pencil"], "figure_angle": (-20, 20)},
    "board": {"papers": [*BOARDS], "inks": [*CHALKS], "figure_angle": (-12, 12)},
    "night": {"noise": (0.05, 0.1), "blur": (0.6, 1.4), "shake": 2.5, "light": "lamp", "quality": (40, 75)},
    "form": {"frames": ["cells", "cells", "round"], "angle": (-6, 6)},
    "several-lined": {"figures": (2, 4), "rules": ["grid", "ruled", "margin"], "angle": (-10, 10),
                      "lines": ((185, 196, 214), (110, 112, 120))},
}


def make(folder, kind, per_digit, seed):
    options = dict((BUILDING | HELD_BACK)[kind])
    figures = options.pop("figures", (1, 1))
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for digit in range(10):
        for number in range(per_digit):
            rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), digit, number])
            more = int(rng.integers(figures[0], figures[1] + 1)) - 1
            digits = [digit, *(int(n) for n in rng.integers(10, size=more))]
            pixels, quality = photograph(rng, digits, SOURCES[(digit + number) % 3], **options)
            name = folder / kind / f"{''.join(map(str, digits))}-{number:02}"
            if quality is None:
                Image.fromarray(pixels).save(name.with_suffix(".png"), compress_level=1)
            else:
                Image.fromarray(pixels).save(name.with_suffix(".jpg"), quality=quality)


def predictions(program, checkpoint, files, several):
    """Returns the program's JSON for each file: {file: [object, ..]}."""
    command = [program, "predict", "--json", "--checkpoint", checkpoint, *(["--all"] if several else []), *files]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode not in (0, 1) or not run.stdout:
        sys.exit(run.stderr.strip())
    answers = {Path(file).name: [] for file in files}
    for answer in json.loads(run.stdout):
        answers[Path(answer["image"]).name].append(answer)
    return {file: answers[Path(file).name] for file in files}


def measure(folder, program, checkpoint, list_wrong):
    print("| kind | pictures | right | right, with a warning | wrong, with a warning | wrong, without a warning |")
    print("|---|---:|---:|---:|---:|---:|")
    sums = {}
    for half, kinds in (("building", BUILDING), ("held-back", HELD_BACK)):
        for kind, options in kinds.items():
            files = sorted(str(file) for file in (folder / kind).glob("*-*.*"))
            if not files:
                continue
            answers = predictions(program, checkpoint, files, "figures" in options)
            counts = np.zeros(4, int)
            for file, objects in answers.items():
                label = Path(file).name.split("-")[0]
                warnings = [text for o in objects for text in o.get("warnings", [])]
                warnings += [f"error: {o['error']}" for o in objects if "error" in o]
                said = "".join(str(o.get("digit", "?")) for o in objects)
                counts[[[3, 2], [0, 1]][said == label][bool(warnings)]] += 1
                if list_wrong and said != label:
                    print(f"{file}: {said or 'nothing'}; {'; '.join(warnings) or 'no warning'}", file=sys.stderr)
            print(f"| {kind} | {len(files)} | {' | '.join(map(str, counts))} |", flush=True)
            sums[half] = sums.get(half, 0) + counts
        if half in sums:
            total(f"all {half}", sums[half])
    if len(sums) == 2:
        total("all", sums["building"] + sums["held-back"])


def total(name, counts):
    cells = " | ".join(f"**{n}** ({100 * n / counts.sum():.1f} %)" for n in counts)
    print(f"| **{name}** | **{counts.sum()}** | {cells} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--kinds", default="building", help="building, held-back, all, or names with commas between")
    parser.add_argument("--per-digit", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", metavar="PROGRAM", help="make nothing, see what PROGRAM reads in DIR's pictures")
    parser.add_argument("--checkpoint", metavar="VERSION_DIR")
    parser.add_argument("--list-wrong", action="store_true", help="with --measure: name the pictures it got wrong")
    args = parser.parse_args()
    if args.measure:
        if not args.checkpoint:
            parser.error("--measure needs --checkpoint")
        return measure(args.folder, args.measure, args.checkpoint, args.list_wrong)
    named = {"building": list(BUILDING), "held-back": list(HELD_BACK), "all": [*BUILDING, *HELD_BACK]}
    kinds = named.get(args.kinds) or args.kinds.split(",")
    if unknown := set(kinds) - {*BUILDING, *HELD_BACK}:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    for kind in kinds:
        make(args.folder, kind, args.per_digit, args.seed)


if __name__ == "__main__":
    main()
