"""Headers for whatever a browser shows. Nothing is loaded from elsewhere, nothing runs that is written into a page."""

from typing import Final


def policy(*, forms: bool) -> str:
    """Return a Content-Security-Policy (W3C CSP 3): own files only, no inline script or style, in nobody's frame."""
    target = "'self'" if forms else "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        f"base-uri 'none'; form-action {target}; frame-ancestors 'none'"
    )


HARDENED: Final[dict[str, str]] = {
    "Content-Security-Policy": policy(forms=False),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
