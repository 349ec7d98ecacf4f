"""Canonicalise, sign and verify one receipt, per second on one core, with rfc8785 and PyNaCl.

    pip install rfc8785 pynacl
    python receipt_bench.py < server/crates/receipt/benches/receipt.json
"""

import json
import sys
import time
from collections.abc import Callable

import nacl.signing

from receipt_interop import NOT_A_SECRET, b64url, payload, sign, unb64url, verify

ROUND_SECONDS = 0.3
ROUNDS = 5


def measure(name: str, operation: Callable[[], object]) -> None:
    """Prints the best of several rounds."""
    best = 0.0
    for _ in range(ROUNDS):
        start, times = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < ROUND_SECONDS:
            for _ in range(16):
                operation()
            times += 16
        best = max(best, times / elapsed)
    print(f"{name:<44} {best:>12.0f}")


members = json.load(sys.stdin)
signed = sign(members, "test")
receipt = signed["receipt"]
text = json.dumps(receipt, ensure_ascii=False, separators=(",", ":"))
jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "test", "x": signed["public_key_b64"]}
key = nacl.signing.SigningKey(NOT_A_SECRET)
message = payload(receipt)
signature = unb64url(receipt["signature"].partition(":")[2])

print(f"{f'python, a receipt of {len(text.encode())} bytes':<44} {'per second':>12}")
measure("serialise: json", lambda: json.dumps(receipt))
measure("canonicalise: rfc8785", lambda: payload(receipt))
measure("read: json", lambda: json.loads(text))
measure("read and canonicalise", lambda: payload(json.loads(text)))
measure("Ed25519 sign", lambda: key.sign(message))
measure("Ed25519 verify", lambda: key.verify_key.verify(message, signature))


def sign_receipt() -> str:
    issued = {**members, "key_id": "test"}
    issued["signature"] = "ed25519:" + b64url(key.sign(payload(issued)).signature)
    return json.dumps(issued)


assert json.loads(sign_receipt()) == receipt and verify(receipt, jwk) is None
measure("sign a receipt, from members to text", sign_receipt)
measure("verify a receipt, from text", lambda: verify(json.loads(text), jwk))
