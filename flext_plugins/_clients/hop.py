"""The way in: one hop of a client's request, the first or a redirect.

Here a request to the service's own origin is told from one to any other origin: only the first goes
through the plugins. So what they add, a credential above all, never follows a redirect elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flext_plugins._call import Call, hops_under_way, new_call
from flext_plugins._clients.gate import MASK
from flext_plugins._errors import (
    AnswerTooLong,
    DeadlineExceeded,
    FlextError,
    Refused,
    name_service,
    native,
)
from flext_plugins._logging import harmless
from flext_plugins._masking import Mask

if TYPE_CHECKING:
    from flext_plugins._call import Hops
    from flext_plugins._composition import Composition
    from flext_plugins._runtime import Runtime
    from flext_plugins._service import Service
    from flext_plugins._wire import Library

CALL = "flext_plugins.call"
"""The key in a message's `extensions` under which its `Call` stands."""


async def hop(
    request: Any,
    runtime: Runtime,
    composition: Composition,
    library: Library,
    owner: object,
    *,
    asynchronous: bool = False,
) -> Any:
    """Send one hop of a client's `request`, which stays as it is; the transport `owner` does this.

    Every response and every error carries the `Call`. A `Refused` and an `AnswerTooLong` leave as
    the library's own transport error too, a `DeadlineExceeded` as its own time-out.
    """
    service, hops = composition.service, hops_under_way.get()
    if hops is not None and hops.owner is not owner:
        hops = None
    call = _call_of(request, hops, service)
    failed: FlextError
    try:
        if runtime.channels.is_draining and call.attempt == 1 and runtime.channels.refuses_new():
            raise runtime.channels.refused(call, asynchronous=asynchronous)
        channel = runtime.channels.opened(service.name, asynchronous=asynchronous)
        if channel is None:
            channel = await runtime.channels.get(service.name, asynchronous=asynchronous)
        wire = channel.wire(library)
        if wire.messages.owns(request):
            if hops is not None:
                hops.channel, hops.wire = channel, wire
            response = await channel.exchange(request, wire, call, ends_call=hops is None)
        else:  # bare: no plugins, no headers of the service, no client certificate
            response = await wire.bare(wire.messages.clone(request), call)
        response.extensions[CALL] = call
        if response.status_code >= 400:
            mask = response.extensions.setdefault(MASK, Mask({}, service.name))
            mask.secrets = composition.secrets
        return response.unwrapped(request)
    except FlextError as error:
        failed = error.add_context(service=service.name, call=call)
    except Exception as error:
        harmless(setattr, error, "flext_call", call)  # a native error carries it so
        harmless(name_service, error, service.name)
        raise
    raise _native(failed, library)


def _call_of(request: Any, hops: Hops | None, service: Service) -> Call:
    """The call that `request` is a hop of: that of a client's `send`, or else the request's own."""
    call = request.extensions.get(CALL) if hops is None else hops.call
    if isinstance(call, Call):
        call.attempt += 1
        call.answered_by = None
    else:
        call = new_call(service)
    request.extensions[CALL] = call
    if hops is not None:
        hops.call = call
    return call


def _native(error: FlextError, library: Library) -> FlextError:
    """`error`, as the library's own too if it is of a kind that its users handle."""
    if isinstance(error, (AnswerTooLong, Refused)):
        return native(error, library.refused)
    if isinstance(error, DeadlineExceeded):
        return native(error, library.timed_out)
    return error
