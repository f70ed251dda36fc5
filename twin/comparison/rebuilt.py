"""The world of a run, built again from what its run folder says of the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from twin.errors import TwinError
from twin.scenario import check
from twin.scenario_file.resolve import build_world
from twin.scenario_file.yamlplaces import Document, dump_yaml

if TYPE_CHECKING:
    from twin.comparison.side import Play
    from twin.world import World


def world_of(play: Play) -> World | str:
    """The world that was played, or why it cannot be had: its models, profiles and traces are no part of a folder.

    They are looked for in the folder `data` above the run folder, then in that of the current directory.
    """
    text = dump_yaml(dict(play.scenario))
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None  # noqa: S101 - the text of a dict
    try:
        return build_world(check(Document(play.folder / "run.json", text, dict(play.scenario), root)))
    except TwinError as error:
        return str(error)
