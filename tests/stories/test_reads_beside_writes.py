"""What is shown is one state of the borrower, however many reports arrive while it is being read."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.storage.engine import ReadSession

BORROWER = "91999999DEM000014G"


def test_a_correction_in_the_middle_of_a_reading_does_not_look_like_tampering(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = service.admit("Reporter", region="US")
    (subject,) = bank.tokenise([BORROWER])
    path = "/v1/records/" + str(bank.call("POST", "/v1/records", data=record_body(subject, "A-1")).data["record_id"])
    correction = {"reason": "wrong_amount", "changes": {"outstanding_principal": "97000.00"}}
    read: Callable[[ReadSession, UUID], Any] = service.services.subjects.read
    writers: list[Future[Any]] = []

    with ThreadPoolExecutor(1) as pool:

        async def read_and_let_others_write(session: ReadSession, subject_id: UUID) -> Any:
            state = await read(session, subject_id)
            writers.append(pool.submit(bank.call, "POST", f"{path}/corrections", data=correction))
            await asyncio.wait([asyncio.wrap_future(writers[-1])], timeout=0.5)
            return state

        assert bank.identity is not None
        reader = service.client(bank.identity)
        with monkeypatch.context() as patched:
            patched.setattr(service.services.subjects, "read", read_and_let_others_write)
            shown = reader.call("GET", path).data
        assert shown["outstanding_principal"] == "98000.00"
        assert writers[0].result(30).data["outstanding_principal"] == "97000.00"
    assert bank.call("GET", path).data["outstanding_principal"] == "97000.00"
