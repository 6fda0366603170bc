"""Sharing: a question in, a decision, an event, fields opened, a signed answer. The hot path.

``service.ask`` reads top to bottom. One statement reads everything, pure rules decide (``rules``) and
compose the answer (``answer``), one statement writes everything or nothing, and only then is the answer
released. A correction, revocation or erasure that commits in between makes the second statement find
less than it expects, and the path starts again.
"""
