#!/bin/sh
# Receipts per second on one core: this server's crate beside Python's rfc8785 and PyNaCl, on the same receipt.
# PYTHON names an interpreter that has both packages; without one, a virtual environment is made under target/.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-}
if [ -z "$python" ]; then
    python=target/receipt-bench-venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv target/receipt-bench-venv
        "$python" -m pip install --quiet rfc8785 pynacl
    fi
fi

cargo bench --quiet -p llmring-receipt --bench receipt
echo
"$python" tests/python/receipt_bench.py < server/crates/receipt/benches/receipt.json
