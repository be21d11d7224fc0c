"""Checkpoints as files and signatures; integration/ledger/test_verify.py has what they prove of a ledger."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dncsync.ledger.checkpoint import (
    Checkpoint,
    CheckpointUnreadable,
    KeyUnreadable,
    Signer,
    read_file,
    write_file,
)

AT = 1_790_000_000_000_001


@pytest.fixture
def signed(tmp_path: Path) -> Checkpoint:
    return Signer.create(tmp_path / "key.pem").sign("ledger-1", 7, b"r" * 32, AT)


def test_a_file_comes_back_as_it_was(signed: Checkpoint, tmp_path: Path) -> None:
    write_file(signed, tmp_path / "kept.json")
    assert read_file(tmp_path / "kept.json") == signed
    assert signed.is_signed()


@pytest.mark.parametrize(
    "change",
    [
        {"ledger": "ledger-2"},
        {"seq": 8},
        {"root": b"R" + b"r" * 31},
        {"at": AT + 1},
        {"public_key": bytes(32)},
        {"public_key": b"short"},
        {"signature": bytes(64)},
        {"signature": b""},
        {"at": 2**63 - 1},
    ],
)
def test_every_field_is_signed(signed: Checkpoint, change: dict[str, object]) -> None:
    assert not dataclasses.replace(signed, **change).is_signed()  # type: ignore[arg-type]


def test_an_outsider_can_check_the_file_without_us(signed: Checkpoint, tmp_path: Path) -> None:
    write_file(signed, tmp_path / "kept.json")
    fields = json.loads((tmp_path / "kept.json").read_text())
    signature = bytes.fromhex(fields.pop("signature"))
    statement = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["public_key"])).verify(signature, statement)
    assert fields["at"] == "2026-09-21T14:13:20.000001+00:00"


def test_a_key_is_kept_from_others_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    made = Signer.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Signer.load(path).public_key == made.public_key


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    made = Signer.create(tmp_path / "key.pem")
    with pytest.raises(KeyUnreadable, match="exists already"):
        Signer.create(tmp_path / "key.pem")
    assert Signer.load(tmp_path / "key.pem").public_key == made.public_key


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Signer.create(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(KeyUnreadable, match="chmod 600"):
        Signer.load(tmp_path / "key.pem")


@pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_broken_key_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(KeyUnreadable, match=r"^[^\n]*key\.pem is not an unencrypted Ed25519 key[^\n]*$"):
        Signer.load(path)


def test_a_missing_key_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(KeyUnreadable, match="No such file"):
        Signer.load(tmp_path / "key.pem")
    with pytest.raises(KeyUnreadable, match="check its folder"):
        Signer.create(tmp_path / "nowhere" / "key.pem")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": "dncsync checkpoint 2"}', b"\xff", b'{"format": 1}', b"null"]
)
def test_a_file_that_is_no_checkpoint_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kept.json").write_bytes(content)
    with pytest.raises(CheckpointUnreadable, match=r"^[^\n]*is not a checkpoint[^\n]*$"):
        read_file(tmp_path / "kept.json")


def test_a_checkpoint_with_unknown_fields_is_refused(signed: Checkpoint, tmp_path: Path) -> None:
    fields = {**json.loads(signed.to_json()), "note": "unsigned"}
    (tmp_path / "kept.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointUnreadable):
        read_file(tmp_path / "kept.json")
