"""Reads every answer to its end, and so ends a stream before it has begun."""

from flext_plugins import hookimpl


class Wrong:
    rule = "test_an_answer_streams_through_it"
    seen = ("the caller got the first one after ", "it was read to its end on the way")

    @hookimpl
    async def flext_response(self, response, connection):
        response.headers["X-Size"] = str(len(await connection.read(response)))
