"""Compiled blocks of the published networks against the same blocks by torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from anyfuse import Fuser, native
from anyfuse.models.tita.config import SMALL, TITAConfig
from anyfuse.models.tita.isf import ISF
from anyfuse.models.tita.oaf import OAF
from anyfuse.models.tita.windows import SwinBlock, over_windows, shift_masks
from anyfuse.models.unifusion.attention import RestormerBlock

TOLERANCE = 1.5e-5
"""Of the largest value: sums of some hundred products in another order, one after the other, and functions within 2e-7.
With weights drawn as here torch itself is 2e-6 from what float64 gives."""


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(module: nn.Module) -> nn.Module:
    """With weights large enough for every part to count."""
    torch.manual_seed(3)
    for weight in module.parameters():
        nn.init.normal_(weight, 0.0, 0.3)
    return module.eval()


def features(height: int, width: int, channels: int, batch: int = 1) -> Tensor:
    torch.manual_seed(5)
    return torch.randn(batch, height, width, channels)


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize(("channels", "heads"), [(24, 6), (60, 6), (36, 6), (32, 4), (48, 3), (20, 5)])
def test_swin_block(found: native.Kernels, channels: int, heads: int, shift: int) -> None:
    block, x, masks = drawn(SwinBlock(channels, heads, 0.0)), features(24, 40, channels, 2), shift_masks()
    (expected,) = over_windows(block, [x.clone()], shift, masks, True)
    assert block.compiled(x, shift, masks)
    torch.testing.assert_close(x, expected, atol=TOLERANCE * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        TITAConfig(),
        replace(SMALL, phi="sigmoid"),
        replace(SMALL, noise=False),
        replace(SMALL, interaction=False),
    ],
    ids=["small", "paper", "sigmoid", "without noise", "without IPA"],
)
@pytest.mark.parametrize("intra", [False, True])
def test_isf_block(found: native.Kernels, config: TITAConfig, shift: int, intra: bool) -> None:
    block, masks = drawn(ISF(config, 0.0, intra)), shift_masks()
    x, y = features(16, 24, config.channels, 4).chunk(2)
    expected = over_windows(block, [x.clone(), y.clone()], shift, masks, True)
    x, y = x.clone(), y.clone()
    assert block.compiled(x, y, shift, masks)
    largest = max(float(part.abs().max()) for part in expected)
    torch.testing.assert_close([x, y], expected, atol=TOLERANCE * largest, rtol=0)


def test_scores_of_any_size_are_numbers(found: native.Kernels) -> None:
    """Shares of nearly 0 and 1, as weights without bounds give them."""
    block, masks = drawn(ISF(SMALL, 0.0, False)), shift_masks()
    for weight in block.parameters():
        weight.mul_(30)
    x, y = (part.contiguous() for part in features(8, 16, SMALL.channels, 2).chunk(2))
    expected = over_windows(block, [x.clone(), y.clone()], 0, masks, True)
    assert block.compiled(x, y, 0, masks)
    largest = max(float(part.abs().max()) for part in expected)
    torch.testing.assert_close([x, y], expected, atol=1e-3 * largest, rtol=0)


def test_heads_that_are_too_wide_are_left_to_torch(found: native.Kernels) -> None:
    block, x = drawn(SwinBlock(68, 4, 0.0)), features(8, 8, 68)
    before = x.clone()
    assert not block.compiled(x, 0, shift_masks())
    assert torch.equal(x, before)


@pytest.mark.parametrize("size", [(2, 2), (3, 17), (40, 24)])
def test_low_pass(found: native.Kernels, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    block, x, logits = OAF(12, ("hpf",)), features(*size, 12, 2), features(*size, 9, 2) * 4
    made = block._low(x, logits)
    monkeypatch.setattr(native, "kernels", lambda: None)
    torch.testing.assert_close(made, block._low(x, logits), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 70), (66, 62), (130, 63)])
@pytest.mark.parametrize(("channels", "heads"), [(16, 2), (32, 1), (64, 8)])
@pytest.mark.parametrize("cross", [False, True])
def test_restormer_block(
    found: native.Kernels,
    height: int,
    width: int,
    channels: int,
    heads: int,
    cross: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = drawn(RestormerBlock(channels, heads, cross))
    x, y = (part.movedim(-1, 1) for part in features(height, width, channels, 4).chunk(2))
    with mock.patch.object(found, "run", wraps=found.run):
        made = block(x, y if cross else None)
        assert [call.args[0] for call in found.run.call_args_list] == ["channel_gram", "channel_mix", "gated_feed"]
    monkeypatch.setattr(native, "kernels", lambda: None)
    expected = block(x, y if cross else None)
    torch.testing.assert_close(made, expected, atol=TOLERANCE * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("model", ["tita-small", "unifusion-small"])
def test_results_differ_by_no_more_than_one_level(found: native.Kernels, model: str, monkeypatch: object) -> None:
    torch.manual_seed(0)
    pair = [(torch.rand(72, 100) * 255).byte().numpy() for _ in range(2)]
    made = Fuser(model, device="cpu")(pair).astype(int)
    monkeypatch.setattr(native, "kernels", lambda: None)  # type: ignore[attr-defined]
    assert abs(made - Fuser(model, device="cpu")(pair).astype(int)).max() <= 1
