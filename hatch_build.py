"""Build hook: compiles the C files of anyfuse/native into the wheel, and goes on where there is no C compiler."""

from __future__ import annotations

import importlib.util
import os
import platform
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def wheel_tag() -> str:
    """Any Python 3 on this kind of machine: the kernels know nothing of Python."""
    place = sysconfig.get_platform().replace("universal2", platform.machine())
    return f"py3-none-{place.replace('-', '_').replace('.', '_')}"


class NativeBuildHook(BuildHookInterface):
    """Makes a wheel of this platform with the kernels in it, or else a pure one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if os.environ.get("ANYFUSE_NATIVE") == "0":
            return
        place = Path(self.root, "anyfuse", "native", "build.py")
        spec = importlib.util.spec_from_file_location("anyfuse_native_build", place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made, how = module.build()
        if made is None:
            self.app.display_warning(f"no compiled kernels: {how}; anyfuse works without them, more slowly")
            return
        build_data["artifacts"].append(f"/anyfuse/native/{made.name}")
        build_data["pure_python"] = False
        build_data["tag"] = wheel_tag()
