"""The pictures of the demo: drawn from arithmetic when it starts, so that none has to be shipped.

Each is a function of its pixel coordinates. Sums of one-dimensional tables keep the work per
pixel to a few additions: all of them together take about a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import cos, exp, hypot, log2, pi, sin
from random import Random

from vary_proxy.demo import png
from vary_proxy.demo.png import Colour

WIDTH, HEIGHT = 480, 300  # pixels


def _gradient(stops: Sequence[Colour], steps: int = 256) -> list[Colour]:
    """*steps* colours that run evenly through *stops*."""
    out = []
    for step in range(steps):
        at = step * (len(stops) - 1) / max(1, steps - 1)
        index = min(int(at), len(stops) - 2)
        out.append(_mix(stops[index], stops[index + 1], at - index))
    return out


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _dunes() -> bytes:
    """Ridges before a low sun, paler the farther away they are."""
    sky = _gradient(((38, 22, 74), (128, 45, 112), (236, 96, 92), (255, 186, 104)), HEIGHT)
    layers = 6
    far, near = (226, 104, 104), (28, 14, 48)
    colours = [bytes(_mix(far, near, i / (layers - 1))) for i in range(layers)]
    tops = [[_ridge(layer, x) for x in range(WIDTH)] for layer in range(layers)]
    sun_x, sun_y, radius = WIDTH * 0.66, HEIGHT * 0.44, 34.0

    def row(y: int) -> bytes:
        out = bytearray()
        for x in range(WIDTH):
            for layer in range(layers - 1, -1, -1):
                if y >= tops[layer][x]:
                    out += colours[layer]
                    break
            else:
                glow = hypot(x - sun_x, y - sun_y) - radius
                share = 1.0 if glow <= 0 else 0.75 * exp(-glow / 46.0)
                out += bytes(_mix(sky[y], (255, 236, 190), share))
        return bytes(out)

    return png.truecolour(WIDTH, (row(y) for y in range(HEIGHT)))


def _ridge(layer: int, x: int) -> float:
    """The height at which a layer of dunes begins, in pixels from the top."""
    swing, base = 13.0 + layer * 3.0, HEIGHT * (0.50 + layer * 0.085)
    slow = sin(x * 0.0125 * (1 + layer * 0.17) + layer * 1.9)
    quick = sin(x * 0.031 * (1 + layer * 0.11) + layer * 4.1)
    return base + swing * slow + swing * 0.38 * quick


def _julia() -> bytes:
    """A Julia set. It is its own half turn, so only its upper half is computed."""
    palette = _gradient(
        ((4, 8, 32), (18, 66, 140), (72, 190, 214), (250, 244, 214), (250, 170, 60), (120, 30, 60))
    )
    upper = [_julia_row(y) for y in range(HEIGHT // 2)]
    return png.indexed(WIDTH, upper + [row[::-1] for row in reversed(upper)], palette)


def _julia_row(y: int) -> bytes:
    c, scale = complex(-0.7448, 0.1385), 2.9 / WIDTH
    out = bytearray()
    for x in range(WIDTH):
        z = complex((x - WIDTH / 2 + 0.5) * scale, (y - HEIGHT / 2 + 0.5) * scale)
        for step in range(96):
            z = z * z + c
            if abs(z) > 16.0:
                smooth = step + 1.0 - log2(log2(abs(z)))
                out.append(min(255, max(0, int(smooth * 4.4))))
                break
        else:
            out.append(0)
    return bytes(out)


def _aurora() -> bytes:
    """Curtains of light over a dark forest, with stars."""
    chance = Random(7)  # noqa: S311 - stars, the same ones every time
    stars = {(chance.randrange(WIDTH), chance.randrange(HEIGHT)) for _ in range(240)}
    hem = [
        HEIGHT * (0.62 + 0.10 * sin(x * 0.013) + 0.05 * sin(x * 0.037 + 1)) for x in range(WIDTH)
    ]
    shine = [0.62 + 0.38 * sin(x * 0.055 + 2.2 * sin(x * 0.017)) for x in range(WIDTH)]
    trees = [_tree_line(x) for x in range(WIDTH)]
    night = _gradient(((5, 8, 26), (9, 24, 52), (16, 48, 70)), HEIGHT)
    light = [exp(-y / 64.0) * (1.0 - exp(-y / 5.0)) for y in range(HEIGHT)]
    tint = _gradient(((110, 255, 170), (60, 220, 190), (120, 90, 230), (200, 70, 190)), HEIGHT)

    def row(y: int) -> bytes:
        out = bytearray()
        for x in range(WIDTH):
            above = int(hem[x]) - y
            if y > trees[x]:
                out += b"\x03\x07\x10"
            elif above > 0:
                glow = min(1.0, light[above] * shine[x] * 1.25)
                colour = _mix(night[y], tint[min(HEIGHT - 1, above * 2)], glow)
                out += bytes(_mix(colour, (255, 255, 255), 0.8) if (x, y) in stars else colour)
            else:
                out += bytes(night[y])
        return bytes(out)

    return png.truecolour(WIDTH, (row(y) for y in range(HEIGHT)))


def _tree_line(x: int) -> float:
    """Where the tops of the firs are: saw teeth of changing width, on a slope."""
    tooth = abs((x * 0.11 + sin(x * 0.05)) % 1.0 - 0.5) * (22 + 14 * sin(x * 0.023))
    return HEIGHT * 0.86 + tooth - 12 * sin(x * 0.007 + 2)


def _plasma() -> bytes:
    """Waves of four directions, added and looked up in a circle of colours."""
    palette = _gradient(
        ((16, 6, 60), (90, 12, 150), (240, 60, 140), (255, 190, 110), (80, 40, 170), (16, 6, 60))
    )
    across = [64 * sin(x * 0.021) + 20 * cos(x * 0.063) for x in range(WIDTH)]
    down = [64 * sin(y * 0.027 + 1) for y in range(HEIGHT)]
    slant = [46 * sin(i * 0.017) for i in range(WIDTH + HEIGHT)]

    def row(y: int) -> bytes:
        return bytes(
            int(a + down[y] + s + 256) & 255
            for a, s in zip(across, slant[y : y + WIDTH], strict=True)
        )

    return png.indexed(WIDTH, (row(y) for y in range(HEIGHT)), palette)


def _rings() -> bytes:
    """Ripples of two stones in one pond."""
    palette = _gradient(((3, 22, 40), (6, 78, 96), (38, 166, 154), (214, 246, 226)))
    first, second = (WIDTH * 0.31, HEIGHT * 0.42), (WIDTH * 0.72, HEIGHT * 0.63)
    wave = [cos(r * 2 * pi / 21.0) * exp(-r / 210.0) for r in range(WIDTH + HEIGHT)]

    def row(y: int) -> Iterator[int]:
        for x in range(WIDTH):
            a = wave[int(hypot(x - first[0], y - first[1]))]
            b = wave[int(hypot(x - second[0], y - second[1]))]
            yield min(255, max(0, int(112 + 92 * (a + b))))

    return png.indexed(WIDTH, (bytes(row(y)) for y in range(HEIGHT)), palette)


_PAINTERS: dict[str, Callable[[], bytes]] = {
    "dunes": _dunes,
    "julia": _julia,
    "aurora": _aurora,
    "plasma": _plasma,
    "rings": _rings,
}
NAMES = tuple(_PAINTERS)


def draw(name: str) -> bytes:
    """The picture of this name, of NAMES, as a PNG file."""
    return _PAINTERS[name]()
