"""An empty answer from bare uvicorn: the most that a Python server could do with a request."""

import os

import uvicorn


async def empty(scope, receive, send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    port = int(os.environ["PEER_PORT"])
    uvicorn.run(empty, host="127.0.0.1", port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False)
