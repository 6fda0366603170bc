"""Lists in pages: walked to their end, and no place in them but those that the service names."""

import re
from urllib.parse import urlsplit

import pytest
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.client.core import SignedAnswer
from creditshare.client.problems import InvalidRequest
from creditshare.crypto.jws import SigningKey

LIST = "/v1/members"


@pytest.fixture(scope="module")
def operators(shared_service: RunningService) -> tuple[Client, Client]:
    for number in range(3):
        shared_service.admit(f"Bank {number}")
    first, second = shared_service.operators
    return shared_service.client(first), shared_service.client(second)


def next_query(answer: SignedAnswer) -> str:
    """Return the query string that the header Link names."""
    found = re.fullmatch(r'<([^>]*)>; rel="next"', answer.headers["link"])
    assert found is not None
    target = urlsplit(found[1])
    assert target.path == LIST
    return target.query


def test_a_list_is_walked_by_its_links(operators: tuple[Client, Client]) -> None:
    whole = operators[0].call("GET", LIST, query="limit=500")
    assert (whole.data["has_more"], whole.data["next_cursor"]) == (False, None)
    assert "link" not in whole.headers
    walked, query = [], "limit=2"
    while True:
        page = operators[0].call("GET", LIST, query=query)
        walked += page.data["data"]
        if not page.data["has_more"]:
            break
        query = next_query(page)
        assert query == f"limit=2&cursor={page.data['next_cursor']}"
        assert len(page.data["data"]) == 2
    assert walked == whole.data["data"]
    assert len(walked) == 5
    assert operators[0].pages(LIST, limit=1) == walked


def test_keys_come_in_pages_newest_first(shared_service: RunningService) -> None:
    client = shared_service.admit("Bank of keys")
    keys = [client.session.signer.key, SigningKey.generate(), SigningKey.generate()]
    for key in keys[1:]:
        client.keys.register(key)
    path = f"/v1/members/{client.session.signer.member_id}/keys"
    page = client.call("GET", path, query="limit=2").data
    assert [key["kid"] for key in page["data"]] == [keys[2].kid, keys[1].kid]
    assert page["has_more"]
    assert [key["kid"] for key in client.pages(path, limit=1)] == [key.kid for key in reversed(keys)]
    assert client.keys.list() == client.pages(path, limit=2)


def refused(client: Client, path: str, query: str) -> None:
    with pytest.raises(InvalidRequest) as problem:
        client.call("GET", path, query=query)
    assert [(f["pointer"], f["code"]) for f in problem.value.fields] == [("/query/cursor", "cursor_unknown")]


def test_a_cursor_is_good_for_its_reader_and_list_only(operators: tuple[Client, Client]) -> None:
    page = operators[0].call("GET", LIST, query="limit=1").data
    cursor, someone = page["next_cursor"], page["data"][0]["member_id"]
    assert operators[0].call("GET", LIST, query=f"cursor={cursor}").data["data"]
    refused(operators[1], LIST, f"cursor={cursor}")
    operator = operators[0].session.signer
    acts = f"{LIST}/{operator.member_id}/keys/{operator.key.kid}/signatures"
    refused(operators[0], acts, f"since=2026-01-01T00:00:00Z&cursor={cursor}")
    refused(operators[0], LIST, f"cursor={someone}")


@pytest.mark.parametrize("wrong", ["", "x", "not base64url!", "A" * 22, "A" * 256])
def test_a_cursor_that_nobody_made_is_refused(operators: tuple[Client, Client], wrong: str) -> None:
    refused(operators[0], LIST, f"cursor={wrong.replace(' ', '%20')}")


def test_one_changed_character_is_noticed(operators: tuple[Client, Client]) -> None:
    cursor = operators[0].call("GET", LIST, query="limit=1").data["next_cursor"]
    for position in range(0, len(cursor), 7):
        other = "A" if cursor[position] != "A" else "B"
        refused(operators[0], LIST, f"cursor={cursor[:position]}{other}{cursor[position + 1 :]}")
