"""A small ray tracer with a thin lens, for example scenes whose depth and temperature are known exactly.

Rays are traced in float32 batches; a scene is a list of shapes with materials.  Lengths are in metres, y is up, colours
are linear.  Every sample goes through its own point of the lens, so blur of the foreground bleeds over the background
as in a camera.  Used by make_examples.py only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
Texture = Callable[[Array, Array], Array]  # u, v (n,) -> albedo (n, 3)


@dataclass
class Material:
    """colour: albedo, constant or textured.  glow: emitted light, or a texture of it.  heat: temperature in Celsius."""

    colour: tuple[float, float, float] | Texture = (0.5, 0.5, 0.5)
    glow: tuple[float, float, float] | Texture = (0.0, 0.0, 0.0)
    shine: float = 0.0
    heat: float | Callable[[Array, Array], Array] = 12.0


@dataclass
class Sphere:
    centre: tuple[float, float, float]
    radius: float
    material: Material

    def hit(self, o: Array, d: Array) -> tuple[Array, Array, Array, Array]:
        oc = o - np.float32(self.centre)
        b = (oc * d).sum(1)
        root = b * b - (oc * oc).sum(1) + np.float32(self.radius**2)
        t = np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), np.inf)
        t = np.where(t > 1e-4, t, np.inf)
        normal = (oc + np.where(np.isfinite(t), t, 0)[:, None] * d) / np.float32(self.radius)
        u = np.arctan2(normal[:, 0], normal[:, 2]) / np.float32(2 * np.pi) + 0.5
        return t, normal, u, 0.5 - np.arcsin(normal[:, 1].clip(-1, 1)) / np.float32(np.pi)


@dataclass
class Box:
    """Turned by `yaw` degrees about the vertical; (u, v) run over the face that is hit, 1 to `tile` metres."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    material: Material
    yaw: float = 0.0
    lean: float = 0.0  # degrees about the own x axis: positive leans the top away from a camera that looks along +z
    tile: float = 0.0  # 0: the texture covers the whole face
    axes: Array = field(init=False)

    def __post_init__(self) -> None:
        y, x = np.radians(self.yaw), np.radians(self.lean)
        turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        tip = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        self.axes = (turn @ tip).astype(np.float32)

    def hit(self, o: Array, d: Array) -> tuple[Array, Array, Array, Array]:
        local, way = (o - np.float32(self.centre)) @ self.axes, d @ self.axes
        half = np.float32(self.half)
        with np.errstate(divide="ignore", invalid="ignore"):
            near = -local / way - np.abs(half / way)
            far = -local / way + np.abs(half / way)
        axis = near.argmax(1)
        t = near.max(1)
        t = np.where((t < far.min(1)) & (t > 1e-4), t, np.inf).astype(np.float32)
        at = local + np.where(np.isfinite(t), t, 0)[:, None] * way
        rows = np.arange(len(d))
        normal = np.zeros_like(d)
        normal[rows, axis] = -np.sign(way[rows, axis])
        across, down = np.array([2, 0, 0])[axis], np.array([1, 2, 1])[axis]
        u, v = at[rows, across], -at[rows, down]
        if self.tile:
            u, v = u / self.tile, v / self.tile
        else:
            u, v = u / half[across] / 2 + 0.5, v / half[down] / 2 + 0.5
        return t, normal @ self.axes.T, u, v


@dataclass
class Capsule:
    """A limb: all points within `radius` of the segment from `a` to `b`."""

    a: tuple[float, float, float]
    b: tuple[float, float, float]
    radius: float
    material: Material

    def hit(self, o: Array, d: Array) -> tuple[Array, Array, Array, Array]:
        a, r = np.float32(self.a), np.float32(self.radius)
        ba, oa = np.float32(self.b) - a, o - a
        baba, bard, baoa = ba @ ba, d @ ba, oa @ ba
        k2 = baba - bard * bard
        k1 = baba * (oa * d).sum(1) - baoa * bard
        root = k1 * k1 - k2 * (baba * (oa * oa).sum(1) - baoa * baoa - r * r * baba)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (-k1 - np.sqrt(np.maximum(root, 0))) / k2
        y = baoa + t * bard
        side = (root > 0) & (y > 0) & (y < baba)
        end = np.where((y <= 0)[:, None], oa, o - np.float32(self.b))
        b = (end * d).sum(1)
        root = b * b - (end * end).sum(1) + r * r
        cap = np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), np.inf)
        t = np.where(side, t, cap)
        t = np.where(t > 1e-4, t, np.inf)
        at = oa + np.where(np.isfinite(t), t, 0)[:, None] * d
        share = ((at @ ba) / baba).clip(0, 1)
        normal = (at - share[:, None] * ba) / r
        return t, normal, np.arctan2(normal[:, 0], normal[:, 2]) / np.float32(2 * np.pi) + 0.5, share


@dataclass
class Ground:
    """The plane y = height; (u, v) = (x, -z) / tile, so that a picture is upright from -z."""

    material: Material
    tile: float = 1.0
    height: float = 0.0

    def hit(self, o: Array, d: Array) -> tuple[Array, Array, Array, Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (self.height - o[:, 1]) / d[:, 1]
        t = np.where((t > 1e-4) & (t < 1e3), t, np.inf).astype(np.float32)
        at = o + np.where(np.isfinite(t), t, 0)[:, None] * d
        normal = np.broadcast_to(np.float32([0, 1, 0]), d.shape)
        return t, normal, at[:, 0] / self.tile, -at[:, 2] / self.tile


@dataclass
class Group:
    """Shapes inside one sphere: rays that miss the sphere are not tried on them."""

    centre: tuple[float, float, float]
    radius: float
    shapes: list[Any]


@dataclass
class Light:
    """A sphere of light: soft shadows come from its size, inverse square from its place."""

    place: tuple[float, float, float]
    colour: tuple[float, float, float]
    size: float = 0.1


@dataclass
class Camera:
    place: tuple[float, float, float]
    target: tuple[float, float, float]
    fov: float  # degrees, horizontal
    aperture: float = 0.0  # radius of the lens in metres
    focus: float = 1.0  # distance of the plane in focus, along the axis


@dataclass
class Scene:
    shapes: list[Any]
    lights: list[Light]
    ambient: tuple[float, float, float]
    sky: Callable[[Array], Array]  # directions (n, 3) -> light (n, 3)

    @property
    def materials(self) -> list[Material]:
        """Of all shapes, groups opened, in order."""

        def flat(shapes: list[Any]) -> list[Material]:
            return [m for s in shapes for m in (flat(s.shapes) if isinstance(s, Group) else [s.material])]

        return flat(self.shapes)


def render(scene: Scene, camera: Camera, width: int, height: int, samples: int, seed: int = 0) -> tuple[Array, Array]:
    """Linear light (H, W, 3) and apparent temperature (H, W) in Celsius, the mean of `samples` rays a pixel."""
    rng = np.random.default_rng(seed)
    eye, target = np.float64(camera.place), np.float64(camera.target)
    ahead = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross([0, 1, 0], ahead)
    right /= np.linalg.norm(right)
    up = np.cross(ahead, right)
    x, y = np.meshgrid(np.arange(width) - width / 2, height / 2 - np.arange(height))
    f = width / 2 / np.tan(np.radians(camera.fov) / 2)
    phase = rng.random((height * width, 2))
    light, heat = np.zeros((height * width, 3)), np.zeros(height * width)
    for i in range(samples):
        jitter = rng.random((height * width, 2)) - [0, 1]
        px, py = (x.ravel() + jitter[:, 0]) / f, (y.ravel() + jitter[:, 1]) / f
        way = ahead + px[:, None] * right + py[:, None] * up  # one unit along the axis
        # a low-discrepancy point of the lens, shifted anew for every pixel
        radius = camera.aperture * np.sqrt((i / samples + phase[:, 0]) % 1.0)
        angle = 2 * np.pi * ((i * 0.6180339887 + phase[:, 1]) % 1.0)
        lens = (radius * np.cos(angle))[:, None] * right + (radius * np.sin(angle))[:, None] * up
        d = camera.focus * way - lens
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        colour, warmth = _trace(scene, (eye + lens).astype(np.float32), d.astype(np.float32), rng)
        light += colour
        heat += warmth
    return (light / samples).reshape(height, width, 3), (heat / samples).reshape(height, width)


def _nearest(scene: Scene, o: Array, d: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Distance (inf: none), normal, u, v and index into `scene.materials` of what each ray meets first."""
    best = np.full(len(d), np.inf, np.float32)
    normal, u, v = np.zeros_like(d), np.zeros_like(best), np.zeros_like(best)
    which = np.full(len(d), -1)

    def visit(shapes: list[Any], rays: Array, k: int) -> int:
        for shape in shapes:
            if isinstance(shape, Group):
                oc = o[rays] - np.float32(shape.centre)
                b = (oc * d[rays]).sum(1)
                near = b * b - (oc * oc).sum(1) + np.float32(shape.radius**2) > 0
                k = visit(shape.shapes, rays[near], k)
                continue
            t, n, a, b = shape.hit(o[rays], d[rays])
            closer = t < best[rays]
            at = rays[closer]
            best[at], normal[at], u[at], v[at], which[at] = t[closer], n[closer], a[closer], b[closer], k
            k += 1
        return k

    visit(scene.shapes, np.arange(len(d)), 0)
    return best, normal, u, v, which


def _trace(scene: Scene, o: Array, d: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    t, normal, u, v, which = _nearest(scene, o, d)
    colour = scene.sky(d).astype(np.float32)
    heat = np.full(len(d), -25.0) + 28.0 * np.exp(-6.0 * d[:, 1].clip(0, 1))  # the air near the horizon is warmer
    seen = which >= 0
    at = o + np.where(seen, t, 0)[:, None] * d + np.float32(2e-4) * normal
    albedo, glow, shine = np.zeros_like(d), np.zeros_like(d), np.zeros(len(d), np.float32)
    materials = scene.materials
    for k in np.unique(which[seen]):
        part, material = which == k, materials[k]
        albedo[part] = _value(material.colour, u[part], v[part])
        glow[part] = _value(material.glow, u[part], v[part])
        shine[part] = material.shine
        heat[part] = material.heat(u[part], v[part]) if callable(material.heat) else material.heat
    # a surface seen at a flat angle emits less and mirrors the cold sky
    facing = np.abs((normal * d).sum(1))
    emissivity = 1.0 - 0.35 * (1.0 - facing) ** 3
    heat = np.where(seen, heat * emissivity + (1.0 - emissivity) * -8.0, heat)
    shade = albedo * (np.float32(scene.ambient) * (0.6 + 0.4 * normal[:, 1:2])) + glow
    for lamp in scene.lights:
        point = rng.standard_normal(d.shape, dtype=np.float32)
        point *= lamp.size / np.linalg.norm(point, axis=1, keepdims=True)
        to = (np.float32(lamp.place) + point - at).astype(np.float32)
        distance = np.linalg.norm(to, axis=1)
        to /= distance[:, None]
        facing = (normal * to).sum(1)
        lit = seen & (facing > 0)
        index = np.flatnonzero(lit)
        blocked = _nearest(scene, at[index], to[index])[0] < distance[index] - 1.5 * lamp.size
        power = np.zeros(len(d), np.float32)
        power[index[~blocked]] = 1.0 / distance[index[~blocked]] ** 2
        half = to - d
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        gloss = shine * np.maximum((normal * half).sum(1), 0) ** 60
        shade += np.float32(lamp.colour) * (power * (facing.clip(0)))[:, None] * albedo
        shade += np.float32(lamp.colour) * (power * gloss)[:, None]
    return np.where(seen[:, None], shade, colour), heat


def _value(value: Any, u: Array, v: Array) -> Array:
    return value(u, v) if callable(value) else np.float32(value)


def image_texture(image: Array, gain: float = 1.0) -> Texture:
    """A texture from an sRGB uint8 image, repeated, bilinear."""
    linear = (image[:, :, None].repeat(3, 2) if image.ndim == 2 else image[:, :, :3]) / np.float32(255)
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4).astype(np.float32) * gain

    def look(u: Array, v: Array) -> Array:
        h, w = linear.shape[:2]
        x, y = u * w - 0.5, v * h - 0.5
        x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
        a, b = (x - x0)[:, None], (y - y0)[:, None]
        x1, y1, x0, y0 = (x0 + 1) % w, (y0 + 1) % h, x0 % w, y0 % h
        top = linear[y0, x0] * (1 - a) + linear[y0, x1] * a
        return top * (1 - b) + (linear[y1, x0] * (1 - a) + linear[y1, x1] * a) * b

    return look


def noise(seed: int, octaves: int = 5, size: int = 512, roughness: float = 0.5) -> Array:
    """Smooth random values (size, size) in [0, 1] that tile without a seam."""
    spectrum = np.fft.rfft2(np.random.default_rng(seed).normal(size=(size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    band = (frequency >= 2) & (frequency <= 2 ** (octaves + 1))
    values = np.fft.irfft2(spectrum * band / np.maximum(frequency, 1) ** (2 - roughness), (size, size))
    low, high = np.percentile(values, (0.5, 99.5))
    return ((values - low) / (high - low)).clip(0, 1)
