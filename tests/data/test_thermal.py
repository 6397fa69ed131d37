"""Pairs as other cameras would give them: what belongs to both forms, what is noise, and statistics that match."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import scene, to8
from torch import Tensor

from anyfuse.data.batches import DataSet, TrainingData, uneven_focus, whole_statistics
from anyfuse.data.thermal import augment_pair, dead_pixels, pseudo_thermal
from anyfuse.io.write import write_image


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair() -> Tensor:
    return torch.stack([torch.from_numpy(scene(96, 96, k)).float() for k in (0, 1)])


def test_people_are_hot_and_the_sky_is_cold() -> None:
    labels = torch.zeros(96, 96, dtype=torch.long)  # sky
    labels[48:] = 3  # road
    labels[40:70, 40:52] = 9  # a pedestrian
    for seed in range(12):
        image = pseudo_thermal(pair()[1], labels, generator(seed))
        person, road, sky = image[46:64, 44:48].mean(), image[80:, :].mean(), image[:24].mean()
        assert person > road + 0.1
        assert road > sky
        assert 0 <= image.min() <= image.max() <= 1


def test_augmentation_knows_what_is_noise() -> None:
    x = pair()
    statistics = whole_statistics(x)
    noisy = 0
    for seed in range(40):
        observed, clean, found = augment_pair(x, statistics, generator(seed))
        again = augment_pair(x, statistics, generator(seed))
        assert torch.equal(observed, again[0])
        assert observed.shape == clean.shape == x.shape
        assert 0 <= clean.min() <= clean.max() <= 1
        noisy += bool((observed - clean).abs().max() > 0)
        inside = ((clean > 0.01) & (clean < 0.99)).float().mean((1, 2)) > 0.97
        wrong = (whole_statistics(clean) - found).abs()
        assert (wrong[inside] < 0.12).all()  # vignettes and blur are not in them
    assert 20 < noisy < 40


def test_dead_pixels_are_few_and_in_one_image() -> None:
    x = torch.full((3, 32, 32), 0.5)
    for seed in range(10):
        changed = dead_pixels(x, generator(seed)) != x
        assert 1 <= changed.sum() <= 8
        assert changed.flatten(1).any(1).sum() == 1
    assert (x == 0.5).all()


def test_uneven_light_has_the_mean_as_its_truth() -> None:
    sharp = torch.from_numpy(scene(96, 96, 3)).float()
    ratios = []
    for seed in range(30):
        _, clean, truth = uneven_focus(sharp, 3, generator(seed))
        assert clean.max() <= 1
        assert float(truth.mean()) == pytest.approx(float(clean.mean()), rel=0.05)
        means = clean.mean((1, 2))
        ratios.append(float(means.max() / means.min()))
    assert max(ratios) > 1.2
    assert sorted(ratios)[10] < 1.15


def test_lens_stacks_have_the_light_of_the_sharp_frame_and_larger_blur() -> None:
    sharp = torch.from_numpy(scene(96, 96, 3)).float()
    lost: dict[bool, list[float]] = {False: [], True: []}
    shown = []
    for seed in range(30):
        for lens in (False, True):
            _, clean, truth = uneven_focus(sharp, 2, generator(seed), lens)
            means = clean.mean((1, 2))
            lost[lens].append(float((clean - truth).abs().amax(0).mean()))
            assert not lens or float(means.max() / means.min()) < 1.2
        nearest = (clean - truth).abs().amin(0)  # nearly everywhere one frame shows the truth, in its own light
        shown.append(float((nearest < 0.02).float().mean()))
    assert sum(shown) / len(shown) > 0.9
    assert sum(lost[True]) > 1.05 * sum(lost[False])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("varied")
    for index in range(10):
        for name in ("ir", "vis", "camvid/images", "natural"):
            write_image(root / name / f"{index}.png", to8(scene(80, 96, index + len(name))))
        write_image(root / "camvid/labels" / f"{index}.png", (to8(scene(80, 96, index)) // 22).clip(0, 11))
    for index in range(3):
        for k in range(1, 5):
            write_image(root / "sequences" / str(index) / f"{k}.png", to8(scene(80, 96, index) * k / 4))
        write_image(root / "sequences" / str(index) / "label.png", to8(scene(80, 96, 99)))
    return root


def data(folders: Path) -> TrainingData:
    sets = (
        DataSet("ivf", ("ir", "vis")),
        DataSet("ivf", ("camvid/images", "camvid/labels"), kind="streets"),
        DataSet("mef", ("sequences/*",)),
        DataSet("natural", ("natural",)),
    )
    return TrainingData(folders, sets, varied=True)


@pytest.mark.parametrize(("task", "n"), [("ivf", 2), ("mef", 2), ("mef", 4), ("mff", 2), ("mff", 3)])
def test_varied_batches(folders: Path, task: str, n: int) -> None:
    batch = data(folders).batch(task, 5, n, 64, generator(0))
    assert batch.sources.shape == (5, n, 1, 64, 64)
    assert batch.clean.shape == (5, n, 64, 64)
    assert batch.statistics is not None
    assert batch.statistics.shape == (5, n, 2)
    assert (batch.truth is not None) == (task == "mff")
    if task == "mef":  # in the order of their light, but for the synthetic one
        means = batch.clean[:3].mean((2, 3))
        assert (means[:, 1:] > means[:, :-1]).all()


def test_street_labels_are_held_out_too(folders: Path) -> None:
    made = data(folders)
    assert len(made.train["ivf"][1]) == 9
    assert "camvid" not in made.validation
