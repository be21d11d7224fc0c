"""Checkpoints: signed statements that the chain had this root at this sequence number at this time.

A copy kept elsewhere proves what existed then: whoever later rewrites the ledger, every hash included, cannot
make it agree with the copy. The file is JSON and needs nothing of ours to check: take `signature` out, write
the rest as JSON with sorted keys and without blanks, and verify Ed25519 over those bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from dncsync.clock import from_micros, to_micros
from dncsync.ledger import chain
from dncsync.ledger.sqlite import Connection, LedgerError, ledger_id

if TYPE_CHECKING:
    from dncsync.ledger.writer import Tx

FORMAT = "dncsync checkpoint 1"


class KeyUnreadable(LedgerError):
    """The signing key cannot be used: what, where, and how to mend it, in one line."""


class CheckpointUnreadable(LedgerError):
    """This file is no checkpoint: what, where, and how to mend it, in one line."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one key says about one ledger. Nothing is checked by having one: ask `is_signed`."""

    ledger: str  # the ledger's id
    seq: int
    root: bytes  # hash of the event `seq`; covers everything before it
    at: int  # microseconds since the epoch
    public_key: bytes  # 32 bytes, Ed25519
    signature: bytes = b""

    def statement(self) -> bytes:
        """The bytes that are signed."""
        return chain.canonical(self._fields()).encode()

    def is_signed(self) -> bool:
        """Whether the signature is by `public_key` and over exactly these fields."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, self.statement())
        except (InvalidSignature, ValueError, TypeError, AttributeError, OverflowError):
            return False
        return True

    def to_json(self) -> bytes:
        """The file's content."""
        fields = {**self._fields(), "signature": self.signature.hex()}
        return orjson.dumps(
            fields, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )

    def _fields(self) -> dict[str, object]:
        return {
            "at": from_micros(self.at).isoformat(timespec="microseconds"),
            "format": FORMAT,
            "ledger": self.ledger,
            "public_key": self.public_key.hex(),
            "root": self.root.hex(),
            "seq": self.seq,
        }


class Signer:
    """Holds the private key; what it signs, only this key can have signed."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def create(cls, path: Path) -> Signer:
        """Makes a new key in a new file that only its owner can read (PEM). Raises `KeyUnreadable`."""
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            # O_EXCL: overwriting a key would leave its checkpoints without the key that explains them
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise KeyUnreadable(f"{path} exists already; use it, or choose another path") from None
        except OSError as error:
            raise KeyUnreadable(f"{path} cannot be created ({error.strerror}); check its folder") from None
        with os.fdopen(fd, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> Signer:
        """Reads the key at `path`. Raises `KeyUnreadable`, also when others may read the file."""
        try:
            mode = path.stat().st_mode
            pem = path.read_bytes()
        except OSError as error:
            raise KeyUnreadable(f"{path} cannot be read ({error.strerror}); check the path") from None
        if mode & 0o077:
            raise KeyUnreadable(f"{path} can be read by others; `chmod 600` it, or make a new key")
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnreadable(
                f"{path} is not an unencrypted Ed25519 key in PEM; restore it or make a new one"
            )
        return cls(key)

    def sign(self, ledger: str, seq: int, root: bytes, at: int) -> Checkpoint:
        """The signed statement that `ledger` had `root` at `seq` at the time `at` (microseconds)."""
        unsigned = Checkpoint(ledger, seq, root, at, self.public_key)
        return Checkpoint(ledger, seq, root, at, self.public_key, self._key.sign(unsigned.statement()))


def take(tx: Tx, signer: Signer, at: int) -> Checkpoint:
    """Signs the chain's head as this transaction sees it and stores the checkpoint with it.

    Export the result only after the commit. Signing the same head at the same time again changes nothing.
    """
    checkpoint = signer.sign(ledger_id(tx.conn), tx.head.seq, tx.head.hash, at)
    tx.execute(
        "INSERT OR IGNORE INTO checkpoints (seq, at, root, public_key, signature) VALUES (?, ?, ?, ?, ?)",
        (checkpoint.seq, checkpoint.at, checkpoint.root, checkpoint.public_key, checkpoint.signature),
    )
    return checkpoint


def stored(conn: Connection) -> Iterator[Checkpoint]:
    """The checkpoints in the ledger itself, oldest first."""
    ledger = ledger_id(conn)
    rows = conn.execute("SELECT seq, root, at, public_key, signature FROM checkpoints ORDER BY seq, at")
    return (Checkpoint(ledger, *row) for row in rows)


def write_file(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the checkpoint for keeping elsewhere; whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(checkpoint.to_json())
    partial.replace(path)


def read_file(path: Path) -> Checkpoint:
    """Reads a checkpoint that was kept; its signature is for `verify` to judge.

    Raises `CheckpointUnreadable`.
    """
    try:
        fields = orjson.loads(path.read_bytes())
        if fields.pop("format") != FORMAT:
            raise ValueError("unknown format")
        checkpoint = Checkpoint(
            ledger=str(fields.pop("ledger")),
            seq=int(fields.pop("seq")),
            root=bytes.fromhex(fields.pop("root")),
            at=to_micros(datetime.fromisoformat(fields.pop("at"))),
            public_key=bytes.fromhex(fields.pop("public_key")),
            signature=bytes.fromhex(fields.pop("signature")),
        )
        if fields:
            raise ValueError("unknown fields")
    except OSError as error:
        raise CheckpointUnreadable(f"{path} cannot be read ({error.strerror}); check the path") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointUnreadable(f"{path} is not a checkpoint; give a file written by dncsync") from None
    return checkpoint
