"""Files that should have certificates and have none are told as the plain session of requests does."""

import socket

import pytest
import requests
from noting import noting

from flext_plugins import Failure, Host


@pytest.mark.parametrize("how", ["the environment's", "the session's", "the session's own"])
@pytest.mark.contract("plain-without-plugins", "connect-means-unsent")
def test_a_file_that_has_no_certificates_is_the_librarys_own_error(monkeypatch, tmp_path, how):
    (tmp_path / "ca.pem").write_text("nothing")
    options = {"cert": str(tmp_path / "ca.pem"), "verify": str(tmp_path / "ca.pem")}
    if how == "the environment's":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", options["verify"])
    failures = []

    chosen = {
        "the environment's": {},
        "the session's": {"verify": options["verify"]},
        "the session's own": {"cert": options["cert"]},
    }
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with Host({"services": {"api": {"base_url": url, "plugins": {"looks": {}}}}}) as host:
            host.register(noting(failures), "looks")
            for session in (requests.Session(), host.connect("api", requests.Session)):
                with pytest.raises(requests.exceptions.SSLError):
                    session.get(f"{url}/", timeout=5, **chosen[how])
    assert failures == [Failure.CONNECT]
