"""Who may talk to whom: CURVE key pairs, their files and the list of allowed keys."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import zmq
from zmq.auth import load_certificate

from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PUBLIC, _SECRET = ".key", ".key_secret"
_OTHERS = 0o077
"""Permissions of group and others."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, each half as 40 characters of Z85."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The own keys and those of the machines that may connect or be connected to.

    An identity belongs to the name before its first `/`: the key of `pi` lets in `pi` and `pi/anything`, nobody else.

    Attributes:
        keys: The own pair; None turns CURVE off at this end.
        allowed: Public keys by name: who may dial this machine's hub, and whom `towards` finds.
        server: Public key of the machine that is dialled; a hub needs none.
    """

    keys: KeyPair | None
    allowed: Mapping[str, bytes]
    server: bytes | None = None

    def towards(self, name: str) -> Credentials:
        """Return the credentials to dial the machine `name` with (unchanged where CURVE is off).

        Raises:
            TransportError: The key of `name` is not known here.
        """
        if self.keys is None:
            return self
        if name not in self.allowed:
            raise TransportError(f"no public key of {name} here; add {name}{_PUBLIC} to the folder of allowed keys")
        return replace(self, server=self.allowed[name])

    def admits(self, identity: str, key: bytes | None) -> bool:
        """Return whether the owner of a public key may use an identity; always true where CURVE is off."""
        return self.keys is None or (key is not None and self.allowed.get(identity.partition("/")[0]) == key)


CURVE_OFF = Credentials(None, {})
"""Credentials of a network where nobody needs to be kept out: no encryption, and every name is believed."""


def new_pair() -> KeyPair:
    """Return new random keys.

    Raises:
        TransportError: The ZeroMQ library was built without CURVE.
    """
    if not zmq.has("curve"):
        raise TransportError("this ZeroMQ library has no CURVE; install pyzmq from a wheel, or turn CURVE off")
    return KeyPair(*zmq.curve_keypair())


def fresh(names: Iterable[str]) -> dict[str, Credentials]:
    """Return credentials with new keys for machines that all know each other; nothing is written to disk."""
    pairs = {name: new_pair() for name in names}
    allowed = {name: pair.public for name, pair in pairs.items()}
    return {name: Credentials(pair, allowed) for name, pair in pairs.items()}


def make_key_files(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a key pair: `NAME.key` (public) and `NAME.key_secret` (mode 0600), the form that pyzmq reads.

    Returns:
        The public file and the secret one.

    Raises:
        TransportError: One of them exists (it is kept), the name is no file name, or the folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise TransportError(f"{name!r}: not a name for a machine; use letters, digits, `-`, `_` and `.`, at most 64")
    public, secret = folder / f"{name}{_PUBLIC}", folder / f"{name}{_SECRET}"
    for path in (public, secret):
        if path.exists():
            raise TransportError(f"{path}: there is a key already; choose another name or folder, or move it away")
    pair = new_pair()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(secret, 0o600, f'{_curve(pair.public)}    secret-key = "{pair.secret.decode()}"\n')
        _write(public, 0o644, _curve(pair.public))
    except OSError as error:
        raise TransportError(f"{error.filename}: cannot be written ({error.strerror}); choose another --out") from error
    return public, secret


def load(secret_file: Path, allowed: Path) -> Credentials:
    """Read the own secret file and the public keys (`NAME.key`) in the folder `allowed`.

    Raises:
        TransportError: A file is missing or no key file, or others than the owner can read the secret one.
    """
    public, secret = _read(secret_file)
    if secret is None:
        raise TransportError(f"{secret_file}: no secret key in it; give the file that ends in {_SECRET}")
    if secret_file.stat().st_mode & _OTHERS:
        raise TransportError(f"{secret_file}: others can read this secret; `chmod 600 {secret_file}`, or make new keys")
    if not allowed.is_dir():
        raise TransportError(f"{allowed}: no such folder; put the public keys of all machines there")
    peers = {path.name.removesuffix(_PUBLIC): _read(path)[0] for path in sorted(allowed.glob(f"*{_PUBLIC}"))}
    return Credentials(KeyPair(public, secret), peers)


def _curve(public: bytes) -> str:
    return f'#   CURVE key of one machine of a testbed.\n\nmetadata\ncurve\n    public-key = "{public.decode()}"\n'


def _write(path: Path, mode: int, text: str) -> None:
    # O_EXCL: a file that appeared meanwhile is kept. The mode holds from the first byte on.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
        file.write(text)


def _read(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(path)
        for key in (public, secret):
            if key is not None:
                zmq.curve_public(key)
    except (OSError, ValueError, zmq.ZMQError) as error:
        raise TransportError(f"{path}: no key file ({error}); make one with `python -m hardware.keys NAME`") from error
    return public, secret
