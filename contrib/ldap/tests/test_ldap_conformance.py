"""The plugin keeps to the contract of plugins."""

from flext_plugins_ldap import Ldap

from flext_plugins.testing import PluginConformance


class TestLdap(PluginConformance):
    plugin = Ldap
    settings = {"url": "ldaps://127.0.0.1:1", "search_base": "dc=example"}


class TestPlain(PluginConformance):
    plugin = Ldap
    settings = {
        "connections": {
            "partner": {
                "url": ["ldap://127.0.0.1:1", "ldap://127.0.0.1:2"],
                "starttls": False,
                "allow_insecure": True,
                "search_base": "dc=example",
                "bind_dn": "cn=service,dc=example",
                "bind_password": "a-password",
            }
        }
    }
