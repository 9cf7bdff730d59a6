"""The contract as tests: what every plugin has to keep to, checked for one."""

from __future__ import annotations

from flext_plugins.testing._conformance.crowds import Crowds
from flext_plugins.testing._conformance.declarations import Declarations
from flext_plugins.testing._conformance.exchanges import Exchanges
from flext_plugins.testing._conformance.neighbours import Neighbours
from flext_plugins.testing._conformance.remains import Remains
from flext_plugins.testing._conformance.reports import Reports


class PluginConformance(Remains, Crowds, Reports, Exchanges, Declarations, Neighbours):
    """Checks a plugin against the contract, one test for each rule.

    A plugin's test subclasses it, under a name that begins with `Test`::

        class TestTenant(PluginConformance):
            plugin = Tenant
            settings = {"tenant": "acme"}

    A failure names the rule, the world and what was seen. A plugin that cannot be made fails the
    rule about that, and the others are skipped.

    Attributes:
        plugin: the class.
        settings: what a configuration's table for it would say; secrets may be written out. An
            autouse fixture may set it on `self`.
        settings_of_another: of a second service with the plugin; by default the same, with secrets
            changed where that can be done.
        not_secret: names of settings that are no secrets although they look so, such as
            `token_name`; with dots for one inside another.
        services: the services that its settings name, each with a function that answers for it.
        answers: what the service says beside what the rules have it say: a sequence of `Answer`,
            said one after the other, or a function of `Received`. At first it echoes.
    """
