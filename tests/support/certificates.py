"""Authorities and certificates of a test, made by openssl.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import subprocess

import grpc


def openssl(*arguments, **more):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, **more)


class Authority:
    """Issues certificates; each is NAME.pem and NAME.key in the folder."""

    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.name = name
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.key, "-out", self.pem, "-subj", f"/CN={name}", "-days", "2")

    @property
    def pem(self):
        return self.folder / f"{self.name}.pem"

    @property
    def key(self):
        return self.folder / f"{self.name}.key"

    def issue(self, name, names):
        """`names`: "DNS:localhost,IP:127.0.0.1", "URI:spiffe://...".  (certificate, key)"""
        pem, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
                "-CAcreateserial", "-days", "2", "-out", pem, "-extfile", extensions)
        return pem, key

    def issue_server(self, name="server"):
        return self.issue(name, "DNS:localhost,IP:127.0.0.1")


def client_credentials(authority, pair=None):
    """What a client shows, and whose servers it trusts."""
    certificate, key = pair or (None, None)
    return grpc.ssl_channel_credentials(
        authority.pem.read_bytes(), key and key.read_bytes(),
        certificate and certificate.read_bytes())
