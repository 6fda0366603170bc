"""What two parties must agree on: requests, answers, registration proofs, leaves, receipts, reasons, JSON.

Wire forms only grow. The other side may be written in any language from ``docs/protocol.md``.
"""
