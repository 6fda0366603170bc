"""What an ``Accept`` header takes (RFC 9110 section 12.5.1)."""

import pytest

from creditshare.api.formats import acceptable


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("application/json", True),
        ("Application/JSON; q=0.5", True),
        ("text/html, application/json;q=0.001", True),
        ("text/html", False),
        ("text/*, application/xml", False),
        ("application/json;q=0", False),
        ("*/*, application/json; q=0", False),
        ("application/json; q=0, */*", False),
        ("*/*;q=0", False),
        ("*/*;q=0, application/json", True),
        ("json", False),
        (";;,,", False),
    ],
)
def test_what_is_taken(accept: str, *, takes: bool) -> None:
    assert acceptable(accept, "application/json") is takes


def test_lines_are_another_type_than_an_object() -> None:
    assert acceptable("application/x-ndjson", "application/x-ndjson")
    assert not acceptable("application/json", "application/x-ndjson")
