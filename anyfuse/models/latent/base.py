"""What MMAIF and DiTFuse share: a frozen codec beside the network, the mark of that codec in the weights, noise with a
fixed seed.

Origin: ours. Licence: Apache-2.0.
"""

from __future__ import annotations

from typing import Any, Literal

from ...arrays import Tensor, nn, torch
from ...errors import FusionError
from ..base import FusionModel, flatten_set
from .codec import Codec


class LatentModel(FusionModel):
    """A pair of images in, by way of a codec's latents.

    The codec is in no weights file, but its fingerprint (`codec_print`) is.
    """

    stride = 16
    halo = None
    arity: tuple[int, int | None] = (2, 2)
    low_precision: bool = False
    ordered = True
    codec_print: Tensor

    def __init__(self, codec: str, random_codec: bool) -> None:
        super().__init__()
        self.codec = Codec(codec, random=random_codec)
        self.channels: Literal[1, 3] = self.codec.channels
        self.latent_channels = self.codec.latent_channels
        self.register_buffer("codec_print", torch.zeros(8, dtype=torch.uint8))
        self.register_load_state_dict_post_hook(_without_frozen)

    @torch.no_grad()
    def encode_pair(self, sources: Tensor) -> Tensor:
        """sources (B, 2, C, H, W) in [0, 1] -> latents (B, 2, 16, H/8, W/8)"""
        self.mark()
        return self.codec.encode(flatten_set(sources)).unflatten(0, (-1, 2))

    def render(self, latents: Tensor, guide: Tensor | None, sources: Tensor) -> Tensor:
        """Latents (B, 16, h, w) of the result, guide and sources (B, 2, C, 8h, 8w) -> image (B, C, 8h, 8w), not
        clamped
        """
        raise NotImplementedError

    @torch.no_grad()
    def gains(self) -> Tensor:
        """What a latent channel does to the image: rms change of decoded noise per unit, mean 1, (1, 16, 1, 1)."""
        gen = torch.Generator().manual_seed(0)
        n = self.latent_channels
        base, change = (torch.randn(n, n, 8, 8, generator=gen) for _ in range(2))
        at = next(self.parameters()).device
        each = torch.eye(n)[:, :, None, None] * change
        moved = self.codec.decode((base + each).to(at)) - self.codec.decode(base.to(at))
        rms = moved.square().mean((1, 2, 3)).sqrt()
        return (rms / rms.mean())[None, :, None, None]

    def prepare(self) -> None:
        """Reads the codec's weights; FusionError where they are not there."""
        self.codec.load()

    def mark(self) -> None:
        """In training, notes which codec the latents are of."""
        if self.training and not self.codec_print.any():
            self.codec_print.copy_(self._print())

    def load_weights(self, path: Any) -> None:
        """As FusionModel; the codec must be the one of training."""
        super().load_weights(path)
        self.prepare()
        if self.codec_print.any() and not torch.equal(self.codec_print.cpu(), self._print()):
            raise FusionError(
                f"{path}: was trained with other weights of codec {self.codec.name} than those that are here"
            )

    def _print(self) -> Tensor:
        return torch.tensor(list(bytes.fromhex(self.codec.fingerprint())), dtype=torch.uint8)


def _without_frozen(module: nn.Module, incompatible: Any) -> None:
    """The codec and the default model are in no state dict, so their keys are not missed."""
    apart = ("codec.", "detail.reference.")
    incompatible.missing_keys[:] = [k for k in incompatible.missing_keys if not k.startswith(apart)]
