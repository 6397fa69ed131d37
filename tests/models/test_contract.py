"""Every named model keeps the contract of models/base.py."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator

import pytest
import torch
from tile_runs import run_in_tiles
from torch import Tensor

from anyfuse import Fuser, tiling
from anyfuse.errors import FusionError
from anyfuse.image.pyramid import gaussian_pyramid
from anyfuse.models.base import FusionModel
from anyfuse.models.latent.base import LatentModel
from anyfuse.models.registry import ALIASES, MODELS, build_model, describe, is_there, load_model
from anyfuse.models.tita.tita import TITA

ALL = list(MODELS)
SETS = [n for n in ALL if MODELS[n].cls.arity[1] is None]
SHIPPED = [n for n in ALL if is_there(MODELS[n]) and not issubclass(MODELS[n].cls, LatentModel)]
"""Models that are there and keep a flat image; one that repairs takes it for a fault."""
TRAINED = [n for n in ALL if is_there(MODELS[n])]
"""As users get them: with weights, or without parameters."""
EXACT = [n for n in ALL if not MODELS[n].cls.ordered or getattr(MODELS[n].config, "bound", False)]
"""Models that promise equal inputs back; the pixels of all others are a network's own."""
TILED = [n for n in ALL if MODELS[n].cls.halo is not None]
WEIGHTED = [n for n in ALL if MODELS[n].cls.weights is not FusionModel.weights]
STATISTICAL = [n for n in ALL if getattr(MODELS[n].cls, "takes_statistics", False)]
SIZES = [(1, 1), (3, 5), (2, 64), (33, 31), (64, 64)]


@pytest.fixture(scope="module", params=ALL)
def model(request: pytest.FixtureRequest) -> FusionModel:
    """Every model; a test that is for some of them gives their names: `parametrize("model", NAMES, indirect=True)`."""
    return ready(request.param)


@functools.cache
def ready(name: str) -> FusionModel:
    """The model with its weights, or untrained where none are shipped (then on a random backbone or codec, if it has
    one).
    """
    spec = MODELS[name]
    if is_there(spec):
        return load_model(name)
    torch.manual_seed(0)
    changes = {field: True for field in ("random_backbone", "random_codec") if hasattr(spec.config, field)}
    return build_model(name, changes).eval()


def textured(n: int, planes: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(n, planes, H, W): coarse structure and fine texture, luma in [0, 1], further planes centred at 0."""
    gen = torch.Generator().manual_seed(seed)
    low = torch.rand((1, n * planes, height // 6 + 2, width // 6 + 2), generator=gen)
    x = torch.nn.functional.interpolate(low, (height, width), mode="bicubic")[0].view(n, planes, height, width)
    x = (0.9 * x + 0.1 * torch.rand(x.shape, generator=gen)).clamp(0, 1)
    x[:, 1:] -= 0.5
    return x


def plane_counts(model: FusionModel) -> list[int]:
    return [3] if model.channels == 3 else [1, 3] if model.carries_chroma else [1]


def run(model: FusionModel, x: Tensor, tile: int = 4096) -> tuple[Tensor, Tensor | None, int]:
    """Through the tiling: fused (C, H, W), weights (N, H, W), number of tiles."""
    fused, maps, count = run_in_tiles(model, x, tile)
    return fused, maps.get("weights"), count


def test_output_stays_in_range(model: FusionModel) -> None:
    for planes in plane_counts(model):
        fused, _, _ = run(model, textured(2, planes, 70, 90))
        assert fused.shape == (planes, 70, 90)
        assert fused[0].min() >= 0
        assert fused[0].max() <= 1


def of_equal_inputs(model: FusionModel) -> Iterator[tuple[Tensor, Tensor]]:
    """What becomes of equal inputs, and one of them."""
    for planes in plane_counts(model):
        x = textured(1, planes, 65, 97)
        for n in (2, 3) if model.arity[1] is None else (2,):
            yield run(model, x.expand(n, -1, -1, -1))[0], x[0]


@pytest.mark.parametrize("model", EXACT, indirect=True)
def test_equal_inputs_come_back(model: FusionModel) -> None:
    """To less than a rounding of 8 bits."""
    for fused, source in of_equal_inputs(model):
        assert (fused - source).abs().max() < 0.5 / 255


@pytest.mark.parametrize("model", [n for n in TRAINED if n not in EXACT], indirect=True)
def test_equal_inputs_come_back_nearly(model: FusionModel) -> None:
    """Within 25 dB where trained weights make the pixels themselves."""
    for fused, source in of_equal_inputs(model):
        assert -10 * (fused - source).square().mean().log10() > 25


@pytest.mark.parametrize("model", [n for n in ALL if n not in TRAINED], indirect=True)
def test_equal_inputs_of_untrained_models_give_an_image(model: FusionModel) -> None:
    for fused, source in of_equal_inputs(model):
        assert fused.shape == source.shape


@pytest.mark.parametrize("name", SETS)
def test_order_does_not_matter(name: str) -> None:
    model = load_model(name)
    x = textured(4, 1, 64, 80)
    order = [2, 0, 3, 1]
    fused, weights, _ = run(model, x)
    again, shuffled, _ = run(model, x[order])
    assert (fused - again).abs().max() < 1e-4
    if weights is not None and shuffled is not None:
        assert (weights[order] - shuffled).abs().max() < 1e-3


@pytest.mark.parametrize("model", [n for n in ALL if n not in TILED], indirect=True)
def test_a_model_of_whole_images_says_how_much_memory_it_takes(model: FusionModel) -> None:
    assert run(model, textured(2, model.channels, 70, 90), tile=32)[2] == 1
    with pytest.raises(FusionError, match=r"MiB at least, and --max-memory leaves"):
        tiling.plan_tiles(model, 2, model.channels, 4000, 6000, budget=2**28)


@pytest.mark.parametrize("model", TILED, indirect=True)
def test_tiled_equals_whole(model: FusionModel) -> None:
    small = isinstance(model, TITA)  # a quarter of the pixels: it is slow
    x = textured(2, plane_counts(model)[-1], *((101, 131) if small else (203, 333)))
    whole, whole_weights, one = run(model, x)
    tiled, tiled_weights, many = run(model, x, tile=64)
    assert one == 1
    assert many > (2 if small else 6)
    assert (whole - tiled).abs().max() < 1 / 255
    if whole_weights is not None and tiled_weights is not None:
        assert (whole_weights - tiled_weights).abs().max() < 1 / 255


@pytest.mark.parametrize("size", SIZES)
def test_any_size(model: FusionModel, size: tuple[int, int]) -> None:
    fused, _, _ = run(model, textured(2, plane_counts(model)[0], *size))
    assert fused.shape[1:] == size
    assert fused.isfinite().all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", TRAINED, indirect=True)
def test_any_size_shows_the_scene(model: FusionModel, size: tuple[int, int]) -> None:
    """The picture is alike to the sources' mean, and not far from what lies between them."""
    x = textured(2, plane_counts(model)[0], *size)
    fused, _, _ = run(model, x)
    spare = 0.5 if model.ordered else 0.25
    assert ((fused <= x.amax(0) + spare) & (fused >= x.amin(0) - spare)).all()
    if size != (1, 1):
        assert torch.corrcoef(torch.stack([fused.flatten(), x.mean(0).flatten()]))[0, 1] > 0.5


@pytest.mark.parametrize("model", WEIGHTED, indirect=True)
def test_weights_are_shares(model: FusionModel) -> None:
    _, weights, _ = run(model, textured(3 if model.arity[1] is None else 2, plane_counts(model)[0], 64, 64))
    assert weights is not None
    assert (weights.sum(0) - 1).abs().max() < 1e-4


@pytest.mark.parametrize("model", [n for n in ALL if n not in WEIGHTED], indirect=True)
def test_chroma_needs_weights(model: FusionModel) -> None:
    """A model without weights cannot blend chroma by them."""
    assert run(model, textured(2, plane_counts(model)[0], 64, 64))[1] is None
    assert not model.carries_chroma


def test_many_inputs_in_one_pass() -> None:
    model = load_model("anyfuse")
    for n in (3, 7, 16):
        fused, _, _ = run(model, textured(n, 1, 64, 64))
        assert fused.isfinite().all()


def test_wrong_number_of_inputs(model: FusionModel) -> None:
    with pytest.raises(FusionError, match="not 1"):
        model.check_arity(1)


def test_saved_model_comes_back(model: FusionModel, tmp_path: object) -> None:
    folder = f"{tmp_path}/saved"
    model.save_pretrained(folder)
    again = load_model(folder)
    assert again.config == model.config
    x = textured(2, plane_counts(model)[0], 32, 32)
    assert torch.equal(run(model, x)[0], run(again, x)[0])


def test_configs_are_frozen() -> None:
    for spec in MODELS.values():
        assert dataclasses.is_dataclass(spec.config)
        field = next(iter(dataclasses.fields(spec.config)), None)
        if field is not None:
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(spec.config, field.name, 0)


def test_wrong_weights_are_refused(tmp_path: object) -> None:
    from safetensors.torch import save_file

    folder = f"{tmp_path}/wrong"
    model = load_model("anyfuse")
    model.save_pretrained(folder)
    state = dict(model.state_dict())
    first = next(iter(state))
    state["extra.weight"] = state.pop(first)
    save_file({k: v.contiguous() for k, v in state.items()}, f"{folder}/model.safetensors")
    with pytest.raises(FusionError, match=rf"2 keys don't fit.*missing {first}.*unexpected extra.weight"):
        load_model(folder)
    save_file({**model.state_dict(), first: torch.zeros(1)}, f"{folder}/model.safetensors")
    with pytest.raises(FusionError, match="1 keys don't fit"):
        load_model(folder)
    with open(f"{folder}/model.safetensors", "wb") as file:
        file.write(b"no tensors here")
    with pytest.raises(FusionError, match="not a safetensors file"):
        load_model(folder)


def test_unknown_names(tmp_path: object) -> None:
    with pytest.raises(FusionError, match="did you mean laplacian"):
        load_model("laplacain")
    with pytest.raises(FusionError, match=r"no config.json"):
        load_model(str(tmp_path))


def test_description_counts_parameters() -> None:
    for name in ALL:
        row = describe(name)
        assert row["parameters"] == sum(p.numel() for p in build_model(name).parameters())
        assert row["weights"] != "not there"


@pytest.mark.parametrize("name", ["anyfuse", "anyfuse-first"])
def test_default_weights_ship_small_and_are_verified(name: str) -> None:
    spec = MODELS[name]
    assert spec.sha256 is not None
    assert spec.weights_path is not None
    assert spec.weights_path.stat().st_size < 2 * 2**20
    assert (spec.weights_path.parent / "README.md").exists(), "no model card"


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_flat_image_has_no_border(name: str, level: float) -> None:
    fused, _, _ = run(load_model(name), torch.full((2, 1, 72, 88), level))
    assert float(fused.max() - fused.min()) < 1.5 / 255


def test_short_names() -> None:
    for short, name in ALIASES.items():
        assert name in MODELS
        assert short not in MODELS
        if is_there(MODELS[name]):
            assert Fuser(short).name == name
        else:
            with pytest.raises(FusionError, match=f"anyfuse train {name}"):
                load_model(short)


def test_statistics_are_a_keyword_of_their_own(model: FusionModel) -> None:
    """A condition is a user's request; what training knows of whole images has another place."""
    parameters = inspect.signature(type(model).forward).parameters
    assert ("statistics" in parameters) == getattr(model, "takes_statistics", False)


@pytest.mark.parametrize("model", STATISTICAL, indirect=True)
def test_statistics_change_the_result(model: FusionModel) -> None:
    assert inspect.signature(type(model).forward).parameters["statistics"].kind is inspect.Parameter.KEYWORD_ONLY
    x = textured(2, 1, 64, 64)[None]
    smooth = gaussian_pyramid(x[0], 3)[-1]
    own = torch.stack([smooth.mean((1, 2, 3)), smooth.std((1, 2, 3), correction=0)], 1)[None]
    with torch.inference_mode():
        assert torch.equal(model(x), model(x, condition=None))
        assert (model(x, statistics=own) - model(x)).abs().max() < 1e-4
        changed = not torch.equal(model(x, statistics=own + 0.3), model(x))
    assert changed == model.config.regions
