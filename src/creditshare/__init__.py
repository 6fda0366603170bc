"""creditshare: competing lenders share default records without exposing who the borrowers are.

The tree is the architecture; each folder stands on one floor and imports only floors below it.
The order is written in ``pyproject.toml`` and checked by import-linter. Begin reading at
``creditshare.sharing.service``, the path that a lender's question takes.
"""

__version__ = "0.1.0"
