"""A plugin: bodies are encrypted on their way, as `aes128gcm` (RFC 8188), piece by piece.

What is sent is sealed, and an answer that is sealed is opened; nothing is buffered but a record.

Needs cryptography, the extra `standard` of flext-plugins, flext-plugins-devstack.
python examples/encryption.py
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode
from struct import pack, unpack_from

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel

from flext_plugins import Connection, Request, Response, Secret, hookimpl

CODING = "aes128gcm"
TAG, DELIMITER = 16, 1
"""Bytes that a record is longer than its part of the body."""


class Records:
    """The cipher of one body, record after record."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        secret = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(key)
        self._cipher = AESGCM(secret)
        self._nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(key)
        self._number = 0

    def _next_nonce(self) -> bytes:
        number, self._number = self._number, self._number + 1
        return (int.from_bytes(self._nonce) ^ number).to_bytes(12)

    def seal(self, part: bytes, *, last: bool) -> bytes:
        """The record of a part of the body."""
        return self._cipher.encrypt(self._next_nonce(), part + (b"\2" if last else b"\1"), None)

    def open(self, record: bytes, *, last: bool) -> bytes:
        """The part of the body in a record.

        Raises:
            InvalidTag: it was made with another key, or changed.
            ValueError: it is the last and should not be, or the reverse.
        """
        padded = self._cipher.decrypt(self._next_nonce(), record, None).rstrip(b"\0")
        if padded[-1:] != (b"\2" if last else b"\1"):
            raise ValueError("a sealed body does not end where it should")
        return padded[:-1]


class Sealer:
    """Seals a body as it passes."""

    def __init__(self, key: bytes, salt: bytes | None = None, size: int = 4096) -> None:
        salt = salt or os.urandom(16)
        self._head = salt + pack(">IB", size, 0)
        self._records, self._part = Records(key, salt), size - TAG - DELIMITER
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The records that are full; the last one may be the last of all, and waits."""
        self._rest += chunk
        sealed, self._head = self._head, b""
        while len(self._rest) > self._part:
            part, self._rest = self._rest[: self._part], self._rest[self._part :]
            sealed += self._records.seal(part, last=False)
        return sealed

    def end(self) -> bytes:
        """The last record."""
        return self._head + self._records.seal(self._rest, last=True)


class Opener:
    """Opens a sealed body as it passes."""

    def __init__(self, key: bytes) -> None:
        self._key, self._rest = key, b""
        self._records: Records | None = None
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """What the records that are here hold; the last one may be the last of all, and waits."""
        self._rest += chunk
        if self._records is None:
            if len(self._rest) < 21 or len(self._rest) < (start := 21 + self._rest[20]):
                return b""
            self._records = Records(self._key, self._rest[:16])
            (self._size,) = unpack_from(">I", self._rest, 16)
            self._rest = self._rest[start:]
            if self._size <= TAG + DELIMITER:
                raise ValueError("a sealed body has records that are too short")
        opened = b""
        while len(self._rest) > self._size:
            record, self._rest = self._rest[: self._size], self._rest[self._size :]
            opened += self._records.open(record, last=False)
        return opened

    def end(self) -> bytes:
        """What the last record holds."""
        if self._records is None:
            raise ValueError("a sealed body is too short")
        return self._records.open(self._rest, last=True)


class EncryptionSettings(BaseModel):
    """The key that is shared with the service, as base64 for URLs."""

    key: Secret


class Encryption:
    """Seals what is sent, and opens what is answered."""

    Settings = EncryptionSettings

    def __init__(self, settings: EncryptionSettings) -> None:
        self._settings = settings

    def _key(self) -> bytes:
        text = self._settings.key.get_secret_value()
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))

    @hookimpl
    def flext_request(self, request: Request, connection: Connection) -> None:
        """Seal the body, if there is one, and ask for a sealed answer."""
        request.headers["Accept-Encoding"] = CODING
        if connection.size(request) != 0:
            key = self._key()
            connection.transform(request, lambda: Sealer(key))
            codings = [request.headers.get("Content-Encoding"), CODING]
            request.headers["Content-Encoding"] = ", ".join(each for each in codings if each)

    @hookimpl
    def flext_response(self, response: Response, connection: Connection) -> None:
        """Open the body, if it is sealed."""
        *codings, last = response.headers.get("Content-Encoding", "").split(",")
        if last.strip() != CODING:
            return
        key = self._key()
        connection.transform(response, lambda: Opener(key))
        del response.headers["Content-Encoding"]
        if codings:
            response.headers["Content-Encoding"] = ",".join(codings)


def main() -> None:
    """Send a letter that the service can only keep, and read it back."""
    from flext_plugins_devstack import Devstack  # noqa: PLC0415

    from flext_plugins import Host  # noqa: PLC0415

    with Devstack() as stack:
        service = {
            "base_url": stack.echo.url,
            "plugins": {"encryption": {"key": "env:LETTERS_KEY"}},
        }
        os.environ["LETTERS_KEY"] = "yqdlZ-tYemfogSmv7Ws5PQ"
        with Host({"services": {"letters": service}}) as host:
            host.register(Encryption, name="encryption")
            host.connect("letters").put("/letter", content=b"I am the walrus")
        sealed = stack.echo.received[-1].body
        opener = Opener(urlsafe_b64decode("yqdlZ-tYemfogSmv7Ws5PQ=="))
        print("sent:", b"walrus" in sealed, "kept:", (opener.feed(sealed) + opener.end()).decode())


if __name__ == "__main__":
    main()
