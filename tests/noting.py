"""A plugin that notes how exchanges fail."""

from flext_plugins import hookimpl


def noting(failures):
    """A plugin that appends to `failures` what the connection says of each error."""

    class Notes:
        @hookimpl
        async def flext_exchange(self, request, send, connection):
            try:
                return await send(request)
            except Exception as error:
                failures.append(connection.failure(error))
                raise

    return Notes
