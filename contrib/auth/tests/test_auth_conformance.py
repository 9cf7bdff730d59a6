"""Each scheme keeps to the contract of plugins."""

from flext_plugins_auth import Auth

from flext_plugins.testing import Answer, PluginConformance


class TestBearer(PluginConformance):
    plugin = Auth
    settings = {"scheme": "bearer", "token": "a-token"}


class TestBasic(PluginConformance):
    plugin = Auth
    settings = {"scheme": "basic", "username": "svc", "password": "a-password"}


class TestApiKey(PluginConformance):
    plugin = Auth
    settings = {"scheme": "api-key", "key": "a-key"}


class TestLogin(PluginConformance):
    plugin = Auth
    settings = {
        "scheme": "login",
        "service": "flext-auth",
        "username": "svc",
        "password": "a-password",
    }
    services = {"flext-auth": lambda received: Answer(body=b'{"access_token": "a-token"}')}


class TestReplacing(PluginConformance):
    plugin = Auth
    settings = {"scheme": "bearer", "token": "a-token", "replace": True}


class TestOAuth2(PluginConformance):
    plugin = Auth
    settings = {
        "scheme": "oauth2",
        "service": "issuer",
        "url": "/token",
        "client_id": "svc",
        "client_secret": "a-secret",
    }
    services = {
        "issuer": lambda received: Answer(
            headers={"Content-Type": "application/json"},
            body=b'{"access_token": "a-token", "token_type": "Bearer", "expires_in": 3600}',
        )
    }
