"""The way in: one hop of a client's request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins._call import Call, new_call
from flext_plugins._clients.gate import CALL, MASK
from flext_plugins._errors import (
    DeadlineExceeded,
    FlextError,
    Refused,
    native,
)
from flext_plugins.redaction import Mask

if TYPE_CHECKING:
    from flext_plugins._composition import Composition
    from flext_plugins._connections.channel import Ground


async def edge(
    request: Any, ground: Ground, composed: Composition, wire: str, *, asynchronous: bool = False
) -> Any:
    """One hop of the client's `request`: what the transport of every client does.

    The service's own origin gets the onion; any other gets the request bare.
    """
    service = composed.service
    call = request.extensions.get(CALL)
    if isinstance(call, Call):
        call.attempt += 1
        call.answered_by = None
    else:
        request.extensions[CALL] = call = new_call(service)
    library: Any = None
    failed: FlextError
    try:
        line = ground.opened(service.name, asynchronous=asynchronous)
        if line is None:
            line = await ground.line(service.name, asynchronous=asynchronous)
        library = line.wire(wire)
        own = library.owns(request)
        if own:
            response = await line.hop(request, library, call)
        else:
            response = await library.bare(library.clone(request), call)
        response.extensions[CALL] = call
        if response.status_code >= 400:
            mask = response.extensions.setdefault(MASK, Mask({}))
            mask.source = service.name if own else request.url.host
            mask.secrets = composed.secrets
        response.request = request
        return response
    except FlextError as error:
        failed = error.add_context(service=service.name, call=call)
    except Exception as error:
        error.flext_call = call  # type: ignore[attr-defined] # a native error carries it so
        raise
    raise _nativised(failed, wire)


def _nativised(error: FlextError, library: str) -> FlextError:
    from flext_plugins._clients import library as find  # noqa: PLC0415 - this package imports this module

    if isinstance(error, Refused):
        return native(error, find(library).refused)
    if isinstance(error, DeadlineExceeded):
        return native(error, find(library).timed_out)
    return error
