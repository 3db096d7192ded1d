"""Certificates for tests: made with openssl, self-signed, trusted by nobody else."""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

from blog.http.tls import Certificate


class Tls(NamedTuple):
    """What the two sides of a connection speak TLS with."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def write_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for `name`, each file at once."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "1", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1,IP:::1",
         "-keyout", f"{key}.new", "-out", f"{chain}.new"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    Path(f"{key}.new").replace(key)
    Path(f"{chain}.new").replace(chain)
    return chain, key


def tls_of(files: tuple[Path, Path]) -> Tls:
    """Return a server that shows this certificate, as ours does, and a client that trusts no other."""
    chain, key = files
    return Tls(Certificate(chain, key).context, ssl.create_default_context(cafile=str(chain)))
