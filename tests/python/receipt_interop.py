"""Receipts through implementations that are not ours: rfc8785 and PyNaCl.

    pip install rfc8785 pynacl

    python receipt_interop.py verify < {"receipt": {...}, "jwk": {...}}
        Verifies one receipt with one public key (a JWK of /receipts/public-keys.json).
        Prints {"valid": true} or {"valid": false, "reason": "..."}; exits with 0 or 1.

    python receipt_interop.py sign [KEY_ID]
        Signs a receipt that has everything implementations disagree about, and prints
        {"public_key_b64": "...", "key_id": "...", "receipt": {...}}. Always the same: the seed is 32 bytes of 0x01.

    python receipt_interop.py sign-input [KEY_ID] < {...}
        The same for the members on standard input.
"""

import base64
import json
import sys

import nacl.exceptions
import nacl.signing
import rfc8785

NOT_A_SECRET = bytes([1] * 32)

DIFFICULT = {
    "id": "rcpt_python_0001",
    "timestamp": "2026-03-29T01:30:00.000001+00:00",
    "registry_version": "2026-03-28",
    "model": "gpt-4o-mini",
    "alias": "summarizer",
    "profile": "default",
    "lock_digest": "sha256:0f",
    "tokens": {"input": 1000, "output": 200, "cached_input": 400, "audio": {"input": 0}},
    # A number, where this server would write text: kept as it came.
    "cost": {"amount": 2.7e-7, "calculation": "1000 × $0.00000000015 + \"200\" × …\n"},
    # U+FB33 is before U+1F600 in UTF-8 and after it in UTF-16 (d83d de00); both are after U+20AC.
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "\U0001f600": "Emoji: Grinning Face",
    "€": {"\ufb33": 1, "\U0001f600": 2, "\r": 3, "\u0080": "\u007f"},
    "": "an empty name",
    "exponents": [1e30, 1e21, 1e20, 1e-7, 0.000001, 5e-324, 1.7976931348623157e308, -0.0, 1.0, 4.50, 333333333.33333329],
    "largest": [9007199254740991, -9007199254740991],
    "nested": [[[{"z": None, "a": [True, False, {}, []]}]]],
    "escapes": "\u0000\u0007\u001f\b\f\n\r\t\"\\/</script>\u2028",
    "unnormalised": "e\u0301 ≠ é",
}


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def payload(receipt: dict) -> bytes:
    return rfc8785.dumps({name: value for name, value in receipt.items() if name != "signature"})


def sign(members: dict, key_id: str) -> dict:
    key = nacl.signing.SigningKey(NOT_A_SECRET)
    receipt = {**members, "key_id": key_id}
    receipt["signature"] = "ed25519:" + b64url(key.sign(payload(receipt)).signature)
    return {"public_key_b64": b64url(bytes(key.verify_key)), "key_id": key_id, "receipt": receipt}


def verify(receipt: dict, jwk: dict) -> str | None:
    """The reason why the receipt is not genuine; None if it is."""
    if (jwk["kty"], jwk["crv"]) != ("OKP", "Ed25519"):
        return "not an Ed25519 key"
    if receipt["key_id"] != jwk["kid"]:
        return "another key id"
    algorithm, _, signature = receipt["signature"].partition(":")
    if algorithm != "ed25519":
        return "another algorithm"
    try:
        nacl.signing.VerifyKey(unb64url(jwk["x"])).verify(payload(receipt), unb64url(signature))
    except (nacl.exceptions.BadSignatureError, rfc8785.CanonicalizationError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(arguments: list[str]) -> int:
    match arguments:
        case ["verify"]:
            given = json.load(sys.stdin)
            reason = verify(given["receipt"], given["jwk"])
            print(json.dumps({"valid": True} if reason is None else {"valid": False, "reason": reason}))
            return 0 if reason is None else 1
        case ["sign", *key_id]:
            print(json.dumps(sign(DIFFICULT, *key_id or ["python"]), indent=2))
            return 0
        case ["sign-input", *key_id]:
            print(json.dumps(sign(json.load(sys.stdin), *key_id or ["python"])))
            return 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
