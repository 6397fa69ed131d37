from __future__ import annotations

import pytest
import torch
from conftest import scene
from torch import Generator, Tensor

from anyfuse import FusionError
from anyfuse.degradation.masked_pairs import M3, complement, degraded_tile, m3_pair
from anyfuse.degradation.operation import mirror, separable


def picture(channels: int = 3, height: int = 100, width: int = 150) -> Tensor:
    return (
        torch.from_numpy(scene(max(8, height), max(8, width), 4, 3))
        .float()
        .permute(2, 0, 1)[:channels, :height, :width]
    )


def pair(image: Tensor, seed: int = 0, **settings: object) -> tuple[Tensor, Tensor, dict[str, object]]:
    return m3_pair(image, Generator().manual_seed(seed), M3(**settings))  # type: ignore[arg-type]


@pytest.mark.numerics
@pytest.mark.parametrize("shape", [(3, 100, 150), (1, 64, 64), (1, 1, 1), (3, 3, 5), (3, 17, 33)])
def test_each_place_is_clean_in_exactly_one_view(shape: tuple[int, int, int]) -> None:
    image = picture(*shape)
    for seed in range(4):
        views, degraded, done = pair(image, seed)
        assert views.shape == (2, *shape)
        assert views.min() >= 0
        assert views.max() <= 1
        assert (degraded.sum(0) == 1).all()
        for view, bad in zip(views, degraded, strict=True):
            assert torch.equal(view[:, ~bad], image[:, ~bad])
        assert done["tile"] in (16, 32, 64)
        assert done["tiles"] == -(-shape[1] // done["tile"]) * -(-shape[2] // done["tile"])  # type: ignore[operator]


def test_degraded_is_what_differs() -> None:
    image = picture()
    views, degraded, done = pair(image, 1, tiles=(16,))
    assert sum(int(done.get(k, 0)) for k in ("mask", "noise", "blur")) == done["tiles"]  # type: ignore[call-overload]
    assert {"mask", "noise", "blur"} <= set(done)
    for view, bad in zip(views, degraded, strict=True):
        assert 0.35 < bad.float().mean() < 0.65
        assert ((view != image).any(0)[bad]).float().mean() > 0.5


def test_a_quarter_of_the_tiles_in_both() -> None:
    image = picture(1, 128, 128)
    views, degraded, done = pair(image, 2, tiles=(16,), both=0.25)
    both = degraded.all(0)
    assert done["both"] == 16
    assert both.float().mean() == 0.25
    assert (degraded.any(0)).all()
    assert (views[0] != views[1])[0][both].float().mean() > 0.5, "with parameters of their own"
    assert pair(image, 2, tiles=(128,), both=0.01)[2]["both"] == 1


def test_seed_decides() -> None:
    image = picture()
    assert torch.equal(pair(image, 3)[0], pair(image, 3)[0])
    assert not torch.equal(pair(image, 3)[0], pair(image, 4)[0])


def blurs(place: tuple[slice, slice], local: bool, seed: int) -> tuple[Tensor, Tensor]:
    """A blurred tile, and the same window of the whole image degraded with the same draws."""
    image = picture()
    whole = slice(0, image.shape[1]), slice(0, image.shape[2])
    tile = degraded_tile("blur", image, place, Generator().manual_seed(seed), local)
    return tile, degraded_tile("blur", image, whole, Generator().manual_seed(seed))[:, place[0], place[1]]


@pytest.mark.parametrize(
    "place", [(slice(16, 32), slice(48, 64)), (slice(0, 16), slice(0, 16)), (slice(96, 100), slice(144, 150))]
)
def test_blur_is_cut_from_the_blurred_image(place: tuple[slice, slice]) -> None:
    for seed in range(9):
        tile, whole = blurs(place, False, seed)
        assert torch.allclose(tile, whole, atol=1e-6)
    gaps = [(a - b).abs().max().item() for a, b in (blurs(place, True, seed) for seed in range(9))]
    assert max(gaps) > 0.02, "the local form has seams"


def test_blur_is_mean_gaussian_or_median() -> None:
    image = picture()
    place = slice(20, 40), slice(20, 40)
    mean = [
        separable(mirror(image, r), torch.full((2 * r + 1,), 1 / (2 * r + 1)))[:, 20:40, 20:40] for r in range(1, 6)
    ]
    hits = 0
    for seed in range(40):
        tile = degraded_tile("blur", image, place, Generator().manual_seed(seed))
        hits += any(torch.allclose(tile, m, atol=1e-5) for m in mean)
        assert tile.std() < image[:, 20:40, 20:40].std()
    assert 4 <= hits <= 25


def test_noise_and_mask() -> None:
    grey = torch.full((3, 64, 64), 0.5)
    place = slice(0, 64), slice(0, 64)
    mask = degraded_tile("mask", grey, place, Generator().manual_seed(0))
    assert mask.std() == pytest.approx(12**-0.5, abs=0.01)
    salt = gauss = 0
    for seed in range(20):
        noisy = degraded_tile("noise", grey, place, Generator().manual_seed(seed))
        if set(noisy.unique().tolist()) <= {0.0, 0.5, 1.0}:
            salt += 1
            white, black = ((noisy == v).all(0).float().mean().item() for v in (1.0, 0.0))
            assert 0.004 < white < 0.016
            assert 0.004 < black < 0.016
        else:
            gauss += 1
            assert 9 / 255 < noisy.std() < 36 / 255
    assert min(salt, gauss) >= 4


def test_complements_change_the_tones_of_one_view() -> None:
    image, kinds = picture(), set()
    for seed in range(30):
        views, done = complement(image, Generator().manual_seed(seed))
        kinds.add(done["tones"])
        other, same = views[done["view"]], views[1 - done["view"]]
        assert torch.equal(same, image)
        assert other.min() >= 0
        assert other.max() <= 1
        assert (other - image).abs().mean() > 0.03
        if done["tones"] != "contrast":
            assert torch.equal(other[0], other[2])
    assert kinds == {"contrast", "inversion", "thermal"}
    views, degraded, done = pair(image, 5, complements=True)
    tones = done["complement"]
    assert isinstance(tones, dict)
    clean = ~degraded[1 - tones["view"]]
    assert torch.equal(views[1 - tones["view"]][:, clean], image[:, clean])
    assert (degraded.sum(0) == 1).all()


def test_mistakes() -> None:
    with pytest.raises(FusionError, match="no image"):
        pair(torch.rand(2, 8, 8))
    with pytest.raises(FusionError, match="tiles"):
        pair(picture(), tiles=())
    with pytest.raises(FusionError, match="not in 0 to 1"):
        pair(picture(), both=1.5)
