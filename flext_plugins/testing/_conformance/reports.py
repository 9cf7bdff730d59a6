"""The rule about what a plugin reports to somebody who looks in from outside."""

from __future__ import annotations

import json

from flext_plugins._service import Status
from flext_plugins.testing._conformance.crowds import BLOCKED
from flext_plugins.testing._conformance.rules import Rules, in_each_world


class Reports(Rules):
    """Reports to somebody who looks in from outside."""

    @in_each_world
    def test_its_status_is_plain_and_at_hand(self, world: str) -> None:
        """Whoever looks in from outside gets JSON without secrets, at once, in any thread."""
        rule = "a plugin's status is JSON without secrets, at once and from any thread"
        with self._rig(world) as rig:
            rig.send()
            rig.exercise()
            looks = [rig.look_in() for _ in range(5)]
            for failed in rig.failures:
                if failed.hook == "flext_status":
                    seen = f"in a thread of its own it raised {failed.error!r}"
                    self._breaks(rule, world, f"{seen}{self._where(failed.error)}")
            if (seconds := min(each for _, each in looks)) >= BLOCKED:
                self._breaks(rule, world, f"it took {seconds * 1000:.0f} ms")
            state = looks[-1][0] or Status()
            if not all(map(callable, state.actions.values())):
                self._breaks(rule, world, f"its actions are no functions: {[*state.actions]}")
            # The host lets no facts through that are no JSON.
            text = json.dumps(dict(state.facts), ensure_ascii=False)
            if any(secret in text for secret in rig.secrets()):
                seen = f"its facts hold a secret of its settings: {sorted(state.facts)}"
                self._breaks(rule, world, seen)
