"""The scenes that make_examples.py renders: a table top with a deep arrangement, a row of dice, a street at night."""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from render import (
    Array,
    Box,
    Camera,
    Capsule,
    Ground,
    Group,
    Light,
    Material,
    Scene,
    Sphere,
    Texture,
    image_texture,
    noise,
)


def _tinted(image: Array, tint: tuple[float, float, float], gain: float = 1.0) -> Texture:
    look = image_texture(image)

    def texture(u: Array, v: Array) -> Array:
        return look(u, v) * np.float32(tint) * gain

    return texture


def _wood(light: tuple[float, float, float], dark: tuple[float, float, float], planks: int) -> Array:
    """A seamless sRGB board texture: grain along the rows, joints between planks."""
    size = 1024
    y, x = np.mgrid[0:size, 0:size] / size
    plank = np.floor(y * planks).astype(int)
    shift = np.random.default_rng(3).random(planks)[plank]
    wave = noise(5, octaves=3, size=size)
    row = (y * size + 60 * wave).astype(int) % size
    column = ((x + shift) * size / 14).astype(int) % size
    grain = noise(6, octaves=8, size=size, roughness=1.4)[row, column]
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (9 * y + 2.2 * wave + shift))
    mix = (0.55 * grain + 0.25 * rings + 0.2 * shift)[:, :, None]
    colour = np.float64(light) * (1 - mix) + np.float64(dark) * mix
    colour *= (1 - 0.6 * (np.abs(y * planks - plank) < 0.012 * planks / 4))[:, :, None]
    return (colour * 255).clip(0, 255).astype(np.uint8)


def _globe() -> Array:
    """Continents of noise on a sea, with a grid: detail at every scale."""
    land = noise(11, octaves=5, size=1024)[:512]
    fine = noise(12, octaves=8, size=1024, roughness=1.2)[:512]
    ground = np.stack([0.45 + 0.4 * fine, 0.5 + 0.25 * fine, 0.2 + 0.25 * fine], 2)
    sea = np.stack([0.08 + 0.06 * fine, 0.25 + 0.15 * fine, 0.5 + 0.2 * fine], 2)
    image = np.where((land > 0.52)[:, :, None], ground, sea)
    image[np.abs(land - 0.52) < 0.008] = 0.15
    y, x = np.mgrid[0:512, 0:1024]
    image[((y % 43) < 2) | ((x % 43) < 2)] *= 0.7
    return (image * 255).clip(0, 255).astype(np.uint8)


def _page(lines: list[str], size: tuple[int, int], points: int, paper: int = 236) -> Array:
    image = Image.new("L", size, paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(points)
    for i in range(size[1] // (points * 3 // 2)):
        draw.text((points, points + i * points * 3 // 2), lines[i % len(lines)], fill=25, font=font)
    return np.asarray(image)


def _spine(text: str, colour: tuple[int, int, int], width: int = 120, height: int = 640) -> Array:
    image = Image.new("RGB", (height, width), colour)
    draw = ImageDraw.Draw(image)
    draw.text((60, width // 2 - 34), text, fill=(240, 225, 180), font=ImageFont.load_default(56))
    for x in (20, 36, height - 40, height - 24):
        draw.line((x, 0, x, width), fill=(220, 190, 120), width=5)
    cloth = noise(31, octaves=8, size=1024, roughness=1.6)[:width, :height, None]
    return np.rot90((np.asarray(image) * (0.75 + 0.5 * cloth)).clip(0, 255).astype(np.uint8), -1).copy()


LINES = [
    "The lens collects the light of every point",
    "into a cone; only where the cone ends on the",
    "sensor is the picture sharp. Stop down, or take",
    "several pictures and keep the best of each.",
    "0123456789  ABCDEFGHIJKLMNOPQRSTUVWXYZ  &?!",
]


def table() -> tuple[Scene, Camera]:
    """A globe in front, books and a framed photograph behind: two depths, 0.62 m and 1.5 m."""
    wood = _wood((0.72, 0.5, 0.31), (0.38, 0.21, 0.1), 4)
    shapes: list[Any] = [
        Ground(Material(image_texture(wood), shine=0.04), tile=0.6),
        Box((0, 0.6, 2.0), (3, 1.2, 0.05), Material(_tinted(skimage.data.brick(), (1.0, 0.75, 0.6), 1.6)), tile=0.62),
        Sphere((-0.135, 0.1, 0.66), 0.085, Material(image_texture(_globe()), shine=0.25)),
        Capsule((-0.135, 0.0, 0.66), (-0.135, 0.02, 0.66), 0.03, Material((0.25, 0.16, 0.05), shine=0.5)),
        Sphere((0.0, 0.022, 0.56), 0.022, Material((0.65, 0.06, 0.05), shine=0.5)),
        Sphere((0.055, 0.018, 0.62), 0.018, Material((0.75, 0.55, 0.05), shine=0.5)),
        Box((0.17, 0.002, 0.62), (0.09, 0.002, 0.062), Material(image_texture(_page(LINES, (900, 620), 34))), yaw=-14),
    ]
    frame = Material((0.1, 0.06, 0.035), shine=0.2)
    shapes += [
        Box((0.15, 0.24, 1.62), (0.29, 0.2, 0.008), Material(image_texture(skimage.data.chelsea())), yaw=10, lean=8),
        Box((0.152, 0.239, 1.632), (0.32, 0.23, 0.01), frame, yaw=10, lean=8),
    ]
    books = [
        ("OPTICS", (120, 30, 28), 0.034, 0.31),
        ("LIGHT & SHADE", (28, 62, 100), 0.045, 0.27),
        ("A FIELD GUIDE", (35, 85, 50), 0.03, 0.33),
        ("MAPS", (150, 105, 35), 0.05, 0.25),
        ("ON COLOUR", (75, 40, 90), 0.036, 0.3),
    ]
    x = -0.62
    for text, colour, thick, tall in books:
        cover = Material(image_texture(_spine(text, colour, int(640 * thick / tall) + 40)), shine=0.05)
        shapes.append(Box((x + thick, tall / 2 * 1.2, 1.55), (thick, tall * 0.6, 0.11), cover))
        x += 2 * thick + 0.004
    lights = [Light((-0.9, 1.5, 0.1), (2.6, 2.35, 2.0), 0.22), Light((1.2, 1.3, 1.0), (0.9, 0.95, 1.1), 0.25)]
    scene = Scene(shapes, lights, (0.2, 0.2, 0.22), lambda d: np.zeros_like(d) + np.float32(0.1))
    return scene, Camera((0.0, 0.22, 0.0), (0.0, 0.145, 1.0), 46, aperture=0.011)


def dice() -> tuple[Scene, Camera]:
    """A diagonal row of dice and marbles on a printed page, seen from near: depth from 0.16 m to 0.42 m."""
    page = _page(LINES, (760, 1200), 30)

    def face(seed: int, tint: tuple[float, float, float]) -> Texture:
        speckle = 1.0 - 0.35 * noise(seed, octaves=8, size=256, roughness=1.5)
        y, x = np.mgrid[0:256, 0:256] / 256
        pips = np.zeros((256, 256), bool)
        for cx, cy in [(0.27, 0.27), (0.73, 0.73), (0.5, 0.5), (0.27, 0.73), (0.73, 0.27)][: 2 + seed % 4]:
            pips |= np.hypot(x - cx, y - cy) < 0.1
        edge = np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) > 0.475
        image = np.float64(tint) * speckle[:, :, None] * np.where(edge, 0.8, 1.0)[:, :, None]
        image[pips] = 0.93 - 0.15 * (speckle[pips, None] < 0.85)
        return image_texture((image * 255).clip(0, 255).astype(np.uint8))

    tints = [(0.75, 0.12, 0.1), (0.1, 0.38, 0.7), (0.12, 0.5, 0.25), (0.85, 0.55, 0.08), (0.45, 0.2, 0.6)]
    shapes: list[Any] = [
        Ground(Material(image_texture(page, 0.9)), tile=0.14),
    ]
    for i, tint in enumerate(tints):
        z, x = 0.205 + 0.055 * i, -0.04 + 0.027 * i
        shapes.append(Box((x, 0.01, z), (0.01,) * 3, Material(face(20 + i, tint), shine=0.2), yaw=20.0 + 31 * i))
        marble = Material(_tinted(_globe(), (1.1, 0.9 + 0.1 * i, 1.3 - 0.2 * i)), shine=0.6)
        shapes.append(Sphere((x + 0.032, 0.008, z + 0.012), 0.008, marble))
    lights = [Light((-0.3, 0.5, 0.05), (0.3, 0.28, 0.25), 0.08), Light((0.4, 0.3, 0.4), (0.06, 0.065, 0.08), 0.08)]
    scene = Scene(shapes, lights, (0.22, 0.22, 0.24), lambda d: np.zeros_like(d) + np.float32([0.16, 0.15, 0.13]))
    return scene, Camera((0.0, 0.095, 0.05), (0.012, 0.006, 0.27), 36, aperture=0.0035)


FOLDS = noise(51, octaves=4, size=256)


def _warm(mean: float, spread: float) -> Any:
    """Temperatures that vary over the surface, as cloth and skin do."""

    def heat(u: Array, v: Array) -> Array:
        return mean + spread * (2 * FOLDS[(v * 230).astype(int) % 256, (u * 230).astype(int) % 256] - 1)

    return heat


def _person(x: float, z: float, coat: tuple[float, float, float], height: float = 1.75, step: float = 0.16) -> Group:
    skin, wool = Material((0.35, 0.24, 0.18), heat=_warm(32.5, 2.0)), Material(coat, heat=_warm(21.0, 3.5))
    legs = Material((0.03, 0.03, 0.045), heat=_warm(18.5, 3.0))
    s = height / 1.75
    hip, neck = 0.88 * s, 1.42 * s
    parts: list[Any] = [
        Sphere((x, 1.62 * s, z), 0.115 * s, skin),
        Capsule((x, 1.69 * s, z + 0.02), (x, 1.7 * s, z + 0.03), 0.095 * s, Material((0.02, 0.015, 0.01), heat=25.0)),
        Capsule((x, hip, z), (x, neck - 0.06 * s, z), 0.185 * s, wool),
        Capsule((x - 0.09, hip, z), (x - 0.09 - step / 2, 0.1, z - step), 0.085 * s, legs),
        Capsule((x + 0.09, hip, z), (x + 0.09 + step / 2, 0.1, z + step), 0.085 * s, legs),
        Capsule((x - 0.22 * s, neck - 0.08, z), (x - 0.29 * s, hip + 0.02, z + step), 0.06 * s, wool),
        Capsule((x + 0.22 * s, neck - 0.08, z), (x + 0.29 * s, hip + 0.02, z - step), 0.06 * s, wool),
        Sphere((x - 0.3 * s, hip - 0.06, z + step), 0.055 * s, skin),
        Sphere((x + 0.3 * s, hip - 0.06, z - step), 0.055 * s, skin),
    ]
    return Group((x, 0.9 * s, z), 1.05 * s, parts)


def _car(x: float, z: float) -> Group:
    """Parked beside the kerb with its nose to the camera, driven a while ago: bonnet, tyres and exhaust are warm."""
    paint, dark = (0.035, 0.05, 0.09), Material((0.015, 0.015, 0.015), heat=10.0)

    def bonnet(u: Array, v: Array) -> Array:
        return 15.0 + 24.0 * np.exp(-((u - 0.5) ** 2) / 0.12 - ((v - 0.45) ** 2) / 0.16)

    body = Material(paint, shine=0.5, heat=11.0)
    lamp = Material((0.7, 0.7, 0.7), shine=0.3, heat=15.0)
    parts: list[Any] = [
        Box((x, 0.62, z + 2.2), (0.86, 0.3, 2.1), body),
        Box((x, 0.66, z + 0.55), (0.83, 0.27, 0.75), Material(paint, shine=0.5, heat=bonnet)),
        Box((x, 1.14, z + 2.5), (0.72, 0.28, 1.2), Material((0.02, 0.025, 0.03), shine=0.6, heat=7.0)),
        Box((x, 1.43, z + 2.5), (0.7, 0.02, 1.1), body),
        Box((x, 0.47, z - 0.21), (0.4, 0.13, 0.02), Material((0.01, 0.01, 0.01), heat=36.0)),
        Box((x, 0.36, z - 0.235), (0.26, 0.055, 0.01), Material((0.75, 0.75, 0.7), heat=13.0)),
    ]
    for side in (-1, 1):
        parts.append(Sphere((x + 0.64 * side, 0.68, z - 0.2), 0.11, lamp))
        for axle, warm in ((0.55, 20.0), (3.5, 17.0)):
            parts.append(Box((x + 0.72 * side, 0.29, z + axle), (0.1, 0.29, 0.29), Material((0.02,) * 3, heat=warm)))
        parts.append(Box((x + 0.92 * side, 0.98, z + 1.2), (0.1, 0.07, 0.04), dark))
    parts.append(Box((x, 0.3, z + 2.0), (0.6, 0.1, 2.0), dark))
    return Group((x, 0.8, z + 2.0), 2.7, parts)


def street() -> tuple[Scene, Camera]:
    """A street at night: one lamp, a lit shop sign, people outside its light, a car that has just been parked."""
    gravel, grass, brick = skimage.data.gravel(), skimage.data.grass(), skimage.data.brick()
    patches = noise(41, octaves=5, size=512)

    def road_heat(u: Array, v: Array) -> Array:
        fine = gravel[(v * 512).astype(int) % 512, (u * 512).astype(int) % 512] / 255.0
        return 9.0 + 2.5 * patches[(v * 150).astype(int) % 512, (u * 150).astype(int) % 512] + 1.2 * fine

    def wall_heat(u: Array, v: Array) -> Array:
        fine = brick[(v * 512).astype(int) % 512, (u * 512).astype(int) % 512] / 255.0
        return 9.0 + 2.0 * patches[(v * 90).astype(int) % 512, (u * 90).astype(int) % 512] + 0.5 * v - 2.5 * fine

    def lawn_heat(u: Array, v: Array) -> Array:
        return 3.0 + 3.0 * grass[(v * 512).astype(int) % 512, (u * 512).astype(int) % 512] / 255.0

    road = Material(_tinted(gravel, (0.16, 0.16, 0.17)), heat=road_heat)
    shapes: list[Any] = [
        Ground(road, tile=1.6),
        Box((-5.2, 0.06, 15), (3.2, 0.06, 25), Material(_tinted(gravel, (0.5, 0.48, 0.45)), heat=10.5), tile=1.2),
        Box((8.6, 0.05, 15), (4.6, 0.05, 25), Material(_tinted(grass, (0.14, 0.22, 0.1)), heat=lawn_heat), tile=1.5),
        Box((-9.4, 4.0, 19), (3.0, 4.0, 13), Material(_tinted(brick, (0.5, 0.3, 0.22)), heat=wall_heat), tile=1.8),
        Box((0, 3.2, 45), (16, 3.2, 2), Material(_tinted(brick, (0.35, 0.32, 0.3)), heat=wall_heat), tile=2.4),
    ]
    sign = np.asarray(_sign("BAKERY"))
    shapes.append(
        Box((-6.25, 3.0, 15.5), (0.1, 0.45, 1.9), Material((0.02,) * 3, glow=image_texture(sign, 0.9), heat=16.0))
    )
    for i, z in enumerate((8.5, 12.2, 19.5, 23.5, 28.0)):
        for j, y in enumerate((1.55, 5.2)):
            on = (i, j) in ((1, 0), (2, 0), (3, 1))
            glow = (0.5, 0.36, 0.18) if on else (0.0, 0.0, 0.0)
            pane = Material((0.03, 0.035, 0.04), glow=glow, heat=13.5 if on else 5.0)
            shapes.append(Box((-6.41, y, z), (0.06, 0.85, 0.75), pane))
            shapes.append(Box((-6.4, y - 0.95, z), (0.14, 0.06, 0.9), Material((0.4, 0.38, 0.35), heat=9.0)))
    for i, x in enumerate((-12, -8, -4, 0, 4, 8, 12)):
        glow = (0.16, 0.13, 0.08) if i in (2, 5) else (0.0,) * 3
        shapes.append(
            Box((x, 3.9, 42.98), (1.0, 0.9, 0.05), Material((0.03,) * 3, glow=glow, heat=12.0 if i in (2, 5) else 6.0))
        )
    # the lamp
    shapes += [
        Capsule((-2.6, 0.1, 12.5), (-2.6, 5.2, 12.5), 0.07, Material((0.05,) * 3, heat=8.0)),
        Capsule((-2.6, 5.2, 12.5), (-1.6, 5.4, 12.5), 0.05, Material((0.05,) * 3, heat=8.0)),
        Sphere((-1.5, 5.3, 12.5), 0.17, Material((0.9,) * 3, glow=(9.0, 6.6, 3.4), heat=48.0)),
    ]
    rng = np.random.default_rng(8)
    for x, z, tall in ((5.6, 11.0, 3.4), (7.6, 18.0, 4.2), (6.0, 26.0, 4.0), (10.5, 13.0, 4.0)):
        shapes.append(Capsule((x, 0, z), (x, tall, z), 0.15, Material((0.06, 0.045, 0.03), heat=_warm(7.5, 1.0))))
        leaves: list[Any] = []
        for _ in range(110):
            way = rng.normal(size=3)
            way *= rng.uniform(0.55, 1.0) / np.linalg.norm(way) * np.array([1.45, 1.2, 1.45])
            place = (x + way[0], tall + 0.6 + way[1], z + way[2])
            leaf = Material(
                _tinted(grass, (0.1, 0.16, 0.06)), heat=_warm(float(5.5 + 0.6 * way[1] + rng.normal(0, 0.7)), 0.8)
            )
            leaves.append(Sphere(place, float(rng.uniform(0.12, 0.34)), leaf))
        shapes.append(Group((x, tall + 0.6, z), 1.85, leaves))
    shapes += [
        _car(1.3, 12.0),
        _person(3.6, 10.5, (0.02, 0.022, 0.03)),
        _person(-3.9, 17.0, (0.16, 0.05, 0.04), 1.68),
        _person(4.3, 19.0, (0.03, 0.03, 0.025), 1.8, 0.22),
        _person(-0.9, 27.0, (0.05, 0.05, 0.05), 1.75, 0.2),
    ]
    dog = Material((0.06, 0.045, 0.03), heat=_warm(25.5, 3.0))
    shapes += [
        Capsule((4.35, 0.42, 10.3), (4.75, 0.42, 10.6), 0.13, dog),
        Sphere((4.28, 0.6, 10.2), 0.11, dog),
        *(
            Capsule((x, 0.4, z), (x, 0.05, z), 0.04, dog)
            for x, z in ((4.32, 10.2), (4.4, 10.38), (4.7, 10.5), (4.78, 10.68))
        ),
    ]
    lights = [Light((-1.5, 5.1, 12.5), (9.0, 6.8, 3.9), 0.15), Light((-5.9, 2.9, 15.5), (0.8, 0.5, 0.22), 0.3)]
    scene = Scene(
        shapes,
        lights,
        (0.0045, 0.0055, 0.008),
        lambda d: np.float32([0.006, 0.008, 0.014]) * (1.6 - d[:, 1:2].clip(0, 1)),
    )
    return scene, Camera((0.4, 1.75, 0.0), (0.1, 1.75, 12.0), 52)


def _sign(text: str) -> Image.Image:
    image = Image.new("RGB", (760, 180), (70, 12, 8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((8, 8, 751, 171), outline=(255, 190, 90), width=6)
    draw.text((105, 12), text, fill=(255, 214, 140), font=ImageFont.load_default(132))
    return image
