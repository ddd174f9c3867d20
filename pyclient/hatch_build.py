"""The part of the wheel's build that puts the hubflight program of one platform into it.

`build_wheels.py` names the program, its licences and the platform in the environment. Without them the wheel is a pure
one, and its users need a server somewhere.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProgramHook(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Adds ``hubflight/_bin`` with the program, THIRD_PARTY_LICENSES, those of what is linked into it, and BUILD, its
    digest, by which embedded servers are told apart."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        given = os.environ.get("HUBFLIGHT_WHEEL_PROGRAM")
        if version == "editable" or not given:
            return
        program = Path(given)
        # Not beside the program: there it would speak for whatever program is built in its place.
        self._scratch = tempfile.TemporaryDirectory(prefix="hubflight-build-")
        build = Path(self._scratch.name) / "BUILD"
        build.write_text(hashlib.sha256(program.read_bytes()).hexdigest() + "\n", encoding="ascii")
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + os.environ["HUBFLIGHT_WHEEL_PLATFORM"]
        build_data["force_include"][str(program)] = f"hubflight/_bin/{program.name}"
        build_data["force_include"][str(build)] = "hubflight/_bin/BUILD"
        licences = os.environ["HUBFLIGHT_WHEEL_LICENCES"]
        build_data["force_include"][licences] = "hubflight/_bin/THIRD_PARTY_LICENSES"
