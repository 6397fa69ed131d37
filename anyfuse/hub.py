"""A trained model onto the Hugging Face hub, with its card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path

from .errors import FusionError
from .models.base import FusionModel, parameter_counts
from .models.registry import config_fields, from_pretrained
from .weights import CONFIG_NAME, WEIGHTS_NAME, is_hub_id

CARD_NAME = "README.md"
FRONT = """---
library_name: anyfuse
license: {licence}
pipeline_tag: image-to-image
tags:
- image-fusion
- {system}
---
"""


def card(model: FusionModel, hub_id: str, body: str = "", licence: str = "apache-2.0") -> str:
    """The text of README.md on the hub.

    Args:
        model: gives system, parameters and configuration.
        hub_id: 'owner/name'.
        body: Markdown of a training's card; '': a title, the configuration and what is not known.
        licence: of the weights, as the hub names it.

    Returns:
        YAML for the hub, the body, and how to load the model.
    """
    if body.startswith("---\n"):  # it has front matter of its own
        front, text = "", body
    else:
        front = FRONT.format(licence=licence, system=type(model).__name__.lower())
        text = body or "\n".join(
            [
                f"# {hub_id.partition('/')[2]}",
                "",
                f"{type(model).__name__}, {parameter_counts(model)[0]:,} parameters. The training is not recorded.",
                "",
                "```json",
                json.dumps(config_fields(model), indent=1, default=str),
                "```",
            ]
        )
    low, high = model.arity
    images = f"{low}" if low == high else f"{low} or more"
    use = [
        "",
        "## Use",
        "",
        f"It takes {images} images of one scene.",
        "",
        "```python",
        "from anyfuse import Fuser",
        "",
        f'fuser = Fuser("{hub_id}")',
        'fuser.run(["a.png", "b.png"]).save("fused.png")',
        "```",
        "",
    ]
    return front + text.rstrip() + "\n" + ("" if "## Use\n" in text else "\n".join(use))


def push_to_hub(
    model: FusionModel | str | Path,
    hub_id: str,
    *,
    private: bool = False,
    licence: str = "apache-2.0",
    message: str = "Upload by anyfuse",
) -> str:
    """Uploads config.json, model.safetensors and README.md, in one commit; nothing else of a folder.

    The login is that of huggingface_hub: `hf auth login`, or HF_TOKEN.

    Args:
        model: a FusionModel, or the folder of a training, whose card is taken over.
        hub_id: 'owner/name'; the repository is made where there is none.
        private: of a repository that is made.
        licence: of the weights, as the hub names it.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        FusionError: a hub id of another form, a folder without a model, or a hub that refuses.
    """
    if not is_hub_id(hub_id):
        raise FusionError(f"'{hub_id}': give a hub id as owner/name, which is not a folder here")
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(model, FusionModel):
            if not is_dataclass(getattr(model, "config", None)):
                raise FusionError(f"{type(model).__name__}: has no configuration to build it from; it is not uploaded")
            folder, body, loaded = Path(temporary), "", model
            loaded.save_pretrained(folder)
        else:
            folder = Path(model)
            loaded = from_pretrained(folder)  # what nobody could load is not uploaded
            readme = folder / CARD_NAME
            body = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
        needed = [CONFIG_NAME, *([WEIGHTS_NAME] if loaded.state_dict() else [])]
        for name in needed:
            if not (folder / name).is_file():
                raise FusionError(f"{folder}: has no {name}, so there is no model to upload; give the folder of a run")
        text = card(loaded, hub_id, body, licence)
        files = [(name, folder / name) for name in (CONFIG_NAME, WEIGHTS_NAME) if (folder / name).is_file()]
        return _commit(hub_id, [*files, (CARD_NAME, text.encode())], private, message)


def _commit(hub_id: str, files: Sequence[tuple[str, Path | bytes]], private: bool, message: str) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        api.create_repo(hub_id, private=private, exist_ok=True)
        operations = [
            CommitOperationAdd(name, str(content) if isinstance(content, Path) else content) for name, content in files
        ]
        done = api.create_commit(hub_id, operations, commit_message=message)
    except Exception as error:  # the hub's transport (httpx) has classes of its own
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FusionError(
            f"{hub_id}: the hub did not take the model ({first}); `hf auth login` with a token that may write, "
            "then try again"
        ) from None
    return str(done.commit_url)
