"""YAML, read as TOML is."""

from __future__ import annotations

from typing import Any

import yaml

from flext_plugins._config.limits import LONGEST_NUMBER, MOST, TOO_LONG, TOO_MANY, TWICE
from flext_plugins._errors import ConfigError

TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
"""The tags of texts and of the key `<<`."""
NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class Loader(yaml.SafeLoader):
    """Reads keys as the text that stands there, and refuses one that stands twice in a table.

    TOML does both. It is done before any `<<` is followed, which adds keys to a table.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flat, self._nodes = set[int](), 0

    def _count(self, nodes: int) -> None:
        """Count what is kept: a key and a value for each."""
        self._nodes += nodes
        if self._nodes > 2 * MOST:
            raise ConfigError(TOO_MANY)

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._count(1)
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> Any:
        node: Any = super().compose_scalar_node(anchor)
        if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise yaml.composer.ComposerError(None, None, TOO_LONG, node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        node.value = [(_text_key(key), value) for key, value in node.value]
        seen = set()
        for key, _ in node.value:
            if key.tag == TEXT and str(key.value) in seen:
                raise yaml.composer.ComposerError(None, None, TWICE, key.start_mark)
            seen.add(str(key.value))  # a list, or a table, is refused where it is made a key
        return node

    def flatten_mapping(self, node: Any) -> None:
        """Lay a table on those that its `<<` names, each key of which is kept once."""
        if id(node) not in self._flat:
            self._flat.add(id(node))
            super().flatten_mapping(node)
            last = {(key.tag, str(key.value)): (key, value) for key, value in node.value}
            node.value = [*last.values()]
        self._count(2 * len(node.value))

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, ConfigError, RecursionError):
            raise
        except Exception:  # of a text that its tag does not fit, such as `!!bool maybe`
            raise yaml.constructor.ConstructorError(None, None, None, node.start_mark) from None


def _text_key(key: Any) -> Any:
    if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
        return key
    return yaml.ScalarNode(TEXT, key.value, key.start_mark)
