"""The bare endpoints: the framework answering a constant, and a raw ASGI application answering one."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
ANSWER = {"query_id": "qry_0", "match": "none", "records": [], "summary": {"lenders": 0, "open_defaults": 0}}
RAW = b'{"query_id":"qry_0","match":"none","records":[],"summary":{"lenders":0,"open_defaults":0}}'


class Question(BaseModel):
    """The body of a question, read as the framework would."""

    model_config = ConfigDict(extra="forbid")
    subject: dict[str, Any]
    purpose: str
    consent_id: str
    scopes: list[str]


@app.post("/v1/queries")
async def query(body: Question) -> dict[str, Any]:
    del body
    return ANSWER


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """The least that an HTTP server under uvicorn does: read the body, send bytes."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(RAW)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": RAW})
