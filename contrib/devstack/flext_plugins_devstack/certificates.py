"""A certificate authority for servers on loopback, made anew for each use."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """The PEM files of a CA: its certificate, and one with its key for a server and a client."""

    path: Path
    server: Path
    client: Path


def authority(folder: Path, *names: str) -> Authority:
    """Make a CA in `folder`, with certificates that last a day: for a server, and for a client.

    They are for 127.0.0.1, and for the host names given.
    """
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("test CA")
    root = _builder(name, name, key).add_extension(x509.BasicConstraints(True, None), True)
    root = root.add_extension(
        x509.KeyUsage(True, False, False, False, False, True, True, False, False), True
    )
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = root.add_extension(ski, False).sign(key, hashes.SHA256())
    ca = folder / "ca.pem"
    ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files = []
    for common in ("server", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, names)]
        signed = (
            _builder(_name(common), name, own)
            .add_extension(x509.SubjectAlternativeName(addresses), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), False
            )
            .sign(key, hashes.SHA256())
        )
        file = folder / f"{common}.pem"
        file.write_bytes(
            signed.public_bytes(serialization.Encoding.PEM)
            + own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        files.append(file)
    return Authority(ca, *files)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
