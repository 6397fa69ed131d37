"""False colours of thermal cameras: palettes that are recognised, and turned back into a scalar."""

from __future__ import annotations

from functools import cache

import numpy as np

_TABLES = {
    "ironbow": (
        "00000a00002d00004000005303005f0700690c00741100791a007f2200852c008a36008e3d00934400954c0097540098"
        "5d009a65009b6e009c75009d7e009d85009d8c009d95009c9c009ba3009ba90099af0198b30196b80395bd0593c10990"
        "c40c8cc81088cc1582d01a79d31f71d52468d92a5fdc2f54df3444e03934e33d25e5431ae74814ea4e0cec5508ee5f05"
        "f16803f37201f57e00f88700f99000fb9b00fda700feb200febc00fec700fed106ffdc12ffe633ffef62fff497fff9cc"
        "fffff6"
    ),
    "inferno": (
        "00000402010a04031207051b0b072410092d150b371b0c41210c4a280b532f0a5b3609613d0965440a684a0c6b510e6c"
        "56106e5d126e63156e6a176e70196e761c6d7d1e6d83206b89226a9025689627669c2964a32c61a92e5eaf315bb53458"
        "bb3654c03a51c63d4dcb4149d14545d64a40da4f3cdf5437e35932e75f2eeb6529ee6b24f1721ef37819f67f14f8860f"
        "f98c0afa9407fb9b06fca309fcaa0ffcb216fbba1ffac228f9c932f7d13df5d949f4e156f2e865f1ef75f3f586f6fa96"
        "fcffa4"
    ),
    "magma": (
        "00000402010903031206051a0a08220e0b2b130d34180f3d1d114722115029115a2f116336106b3d0f71440f764a1079"
        "50127c57157e5d177f631a80691c816f1f817621817c23828226818928818f2a81952c809c2e7fa2307ea9337daf357b"
        "b6367abc3978c33b75c93e73cf4070d5446ddb476ae14c67e65164ea5661ee5c5ef2635df46a5cf7715cf9785dfa805e"
        "fb8861fc8e64fd9668fe9d6cfea571feac76feb47bfebb81fec287feca8dfed194fed89afde0a1fde7a9fceeb0fcf6b8"
        "fcfdbf"
    ),
    "plasma": (
        "0d088719068c2206902a059331059738049a3f049c46039f4c02a15302a35901a56001a66600a76c00a87201a87801a8"
        "7e03a88405a78909a58f0da49511a19a169f9f1a9ca41f99a92395ae2892b32c8eb7318abc3587c03a83c43e7fc8437b"
        "cc4678ce4b75d25071d5546ed9596adc5d67df6263e26760e56b5de87059eb7556ed7a52f07f4ff2844bf48a48f68f44"
        "f89441f99a3efb9f3afca537fdab33fdb130feb72dfebd2afdc328fdca26fcd025fbd724f9dd25f7e425f5eb27f2f227"
        "f0f921"
    ),
    "viridis": (
        "44015446075a470d6047136548186a481d6f482374482878472d7b46327e453781443b844240864045883e49893d4e8a"
        "3b528b39568c375b8d355f8d33638d31678e2f6b8e2e6f8e2c728e2a768e297a8e277e8e26828e25858e23898e228d8d"
        "21908c20938c1f978b1e9b8a1f9f881fa28721a68524aa8327ad812cb17e31b57b37b8783ebc7445bf704dc26c55c568"
        "5cc86365cb5e6ece5878d15382d34d8cd64695d840a0da39aadc32b5de2bc0df25cae11fd5e21adfe318eae51af4e61e"
        "fde725"
    ),
    "turbo": (
        "30123b351e58392a733d358b4040a2424bb54456c74661d6466be34776ee4680f64589fc4293ff3d9dfe37a7fa2fb1f4"
        "28bbec22c4e31dccd919d5ce18dcc319e3ba1ee8b026eda531f2993ef68c4cf97e5bfc716bfe647bff578aff4c98fe43"
        "a2fc3cadfb38b8f735c2f234cced34d5e635dee037e6d838edd03af3c83af7c03afbb738fdad35fea331fe982cfd8c27"
        "fb8022f9741df56818f15d13ec520fe7490ce14109da3907d23105ca2a04c12302b71d02ac1701a11201950d01880802"
        "7a0403"
    ),
    "hot": (
        "0000000a00001400001e00002800003200003c00004600005000005a00006400006e00007700008200008c0000960000"
        "a00000a90000b30000bd0000c70000d10000db0000e50000ef0000f90000fe0500ff0e00ff1800ff2200ff2c00ff3600"
        "ff4000ff4900ff5300ff5d00ff6700ff7100ff7b00ff8500ff8f00ff9900ffa300ffad00ffb700ffc100ffcb00ffd500"
        "ffdf00ffe900fff300fffc03ffff10ffff24ffff38ffff4cffff60ffff74ffff87ffff9bffffafffffc3ffffd7ffffeb"
        "ffffff"
    ),
    "jet": (
        "0000800000900000a00000b00000c00000d00000e00000f00000ff000fff001fff002fff003fff004fff005fff006fff"
        "007fff008fff009fff00afff00bfff00cfff00dfff00efff01fefe10fff020ffe030ffd040ffc050ffb060ffa070ff90"
        "80ff8090ff70a0ff60b0ff50c0ff40d0ff30e0ff20f0ff10fefe01ffef00ffdf00ffcf00ffbf00ffaf00ff9f00ff8f00"
        "ff7f00ff6f00ff5f00ff4f00ff3f00ff2f00ff1f00ff0f00ff0000f00000e00000d00000c00000b00000a00000900000"
        "800000"
    ),
    "rainbow": (
        "ff0000ff0a00ff1400ff1e00ff2800ff3200ff3c00ff4600ff5000ff5a00ff6400ff6e00ff7700ff8200ff8c00ff9600"
        "ffa000ffa900ffb300ffbd00ffc700ffd100ffdb00ffe500ffef00fff900f6fe00e3ff00cfff00bbff00a7ff0093ff00"
        "80ff006cff0058ff0044ff0030ff001cff0009fe0100f30c00df2000cb3400b74800a35c008f70007c830068970054ab"
        "0040bf002cd30018e70107f80b00ff1800ff2500ff3200ff4000ff4d00ff5a00ff6700ff7500ff8200ff8f00ff9d00ff"
        "aa00ff"
    ),
}
"""65 colours each, from the smallest to the largest value, between which palettes run straight. ironbow is that of FLIR
cameras; the others are those of matplotlib and OpenCV."""

_NEAR = 24.0  # distance in RGB at which a pixel still has a palette's colour
_SHARE = 0.93  # of the pixels that must have it: captions and edges in JPEG have not
_CLEARLY = 40.0  # mean difference of the largest and smallest channel: paler pictures are photographs
_COLOURED = 24.0  # the same difference of a pixel that is not grey
_REACH = 0.25  # part of the palette that the picture must use
_SAMPLE = 1 << 14  # pixels that decide
_UNKNOWN = (16, 256)  # numbers of different colours that only a palette leaves in a large picture
_PART = 1 << 8  # colours compared at a time: so few that a BLAS wakes no threads, which would spin meanwhile


def names() -> list[str]:
    """Of the palettes."""
    return list(_TABLES)


@cache
def palette(name: str) -> np.ndarray:
    """The 256 colours (256, 3) of a palette, float32."""
    stops = np.frombuffer(bytes.fromhex("".join(_TABLES[name])), np.uint8).reshape(-1, 3).astype(np.float64)
    places = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.interp(places, np.arange(len(stops)), stops[:, k]) for k in range(3)], 1).astype(np.float32)


def recognise(pixels: np.ndarray) -> str | None:
    """The palette whose colours an 8-bit RGB picture (H, W, 3) has, or None."""
    colours = pixels.reshape(-1, 3)
    colours = colours[:: max(1, len(colours) // _SAMPLE)]
    spread = _spread(colours)
    if len(spread) < 1024 or float(spread.mean()) < _CLEARLY:
        return None
    colours = colours[spread > _COLOURED].astype(np.float32)  # greys are in many palettes, and in all photographs
    if len(colours) < 0.3 * len(spread):
        return None
    best, found = _SHARE, None
    for name in _TABLES:
        some = nearest(colours[::8], palette(name))[1]
        if int((some >= _NEAR).sum()) > (1 - _SHARE) * len(colours):
            continue  # too many are far off, whatever the others are
        places, distances = nearest(colours, palette(name))
        low, high = np.percentile(places, (2, 98))
        share = float((distances < _NEAR).mean())
        if share > best and high - low > 255 * _REACH:
            best, found = share, name
    return found


def _spread(colours: np.ndarray) -> np.ndarray:
    """Largest less smallest channel of uint8 colours (n, 3), (n,)."""
    red, green, blue = np.ascontiguousarray(colours.T)  # a twentieth of the time of a reduction over three
    return np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)


def nearest(colours: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place in the palette (n,) of each colour (n, 3), and how far off it is."""
    places, distances = np.empty(len(colours), np.uint8), np.empty(len(colours), np.float32)
    squares = (table**2).sum(1)
    for start in range(0, len(colours), _PART):
        part = colours[start : start + _PART].astype(np.float32)
        apart = squares - 2 * part @ table.T  # without the square of the colour itself
        at = apart.argmin(1)
        places[start : start + len(part)] = at
        distances[start : start + len(part)] = np.sqrt(
            np.maximum(apart[np.arange(len(part)), at] + (part**2).sum(1), 0)
        )
    return places, distances


def scalar(pixels: np.ndarray, name: str) -> np.ndarray:
    """A picture (H, W, 3) uint8 in this palette -> (H, W) uint8, the place of each pixel in it."""
    codes = (pixels[..., 0].astype(np.uint32) << 16) | (pixels[..., 1].astype(np.uint32) << 8) | pixels[..., 2]
    different, back = np.unique(codes, return_inverse=True)
    colours = np.stack([different >> 16, (different >> 8) & 255, different & 255], 1)
    places, _ = nearest(colours, palette(name))
    return places[back].reshape(pixels.shape[:2])


def is_unknown_palette(pixels: np.ndarray) -> bool:
    """Whether a picture (H, W, 3) uint8 has so few different and clear colours that they come from some palette."""
    if pixels.shape[0] * pixels.shape[1] < 1 << 14:
        return False
    sample = pixels.reshape(-1, 3)[:: max(1, pixels.size // 3 // _SAMPLE)]
    if float(_spread(sample).mean()) < _CLEARLY:
        return False
    red, green, blue = sample.astype(np.uint32).T
    codes = np.sort((red << 16) | (green << 8) | blue)
    count = 1 + int(np.count_nonzero(codes[1:] != codes[:-1]))
    return _UNKNOWN[0] <= count <= _UNKNOWN[1]
