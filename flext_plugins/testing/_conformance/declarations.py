"""The rules about what a plugin's class and module say."""

from __future__ import annotations

from flext_plugins.testing._conformance.rules import ANY, Rules
from flext_plugins.testing._secrets import open_secrets, plain_credentials
from flext_plugins.testing._source import client_imports
from flext_plugins.testing._world import WORLDS


class Declarations(Rules):
    """Facts about its class and module, and its settings."""

    def test_its_secrets_are_of_the_type_secret(self) -> None:
        """A setting that is named like a secret, or sent as a credential, is a `Secret`."""
        rule = "secrets in settings are of the type Secret"
        model = getattr(self.plugin, "Settings", None)
        if model is None:
            return
        if found := [each for each in open_secrets(model) if each not in self.not_secret]:
            seen = (
                f"{', '.join(found)} can hold plain text, expected flext_plugins.Secret; what is "
                "none after all is named in the test's `not_secret`"
            )
            self._breaks(rule, ANY, seen)
        with self._rig(WORLDS[0]) as rig:
            rig.send("POST", content=b"plain")
            rig.exercise()
            settings = model.model_validate(dict(self.settings))
            services = [rig.service, *rig.others.values()]
            for place, sent in plain_credentials(settings, services):
                if not any(f"{place}.".startswith(f"{each}.") for each in self.not_secret):
                    seen = f"{place} is plain text, and was sent as {sent}"
                    self._breaks(rule, WORLDS[0], seen)

    def test_it_imports_no_client_library(self) -> None:
        """Plugins see messages by the host's protocols, so that they work with every library."""
        if found := [*client_imports(self.plugin)]:
            self._breaks("no plugin imports a client library", ANY, ", ".join(found))
