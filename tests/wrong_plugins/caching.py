"""Keeps answers by their path alone, for all services of the process."""

from flext_plugins import Stage, hookimpl

KEPT = {}


class Wrong:
    rule = "test_two_services_of_one_host_do_not_mix"
    seen = (" got the answer of '",)
    stage = Stage.CALL

    @hookimpl
    async def flext_exchange(self, request, send, connection):
        key = str(request.url).partition("?")[0].split("/", 3)[3]
        if key in KEPT:
            return connection.respond(*KEPT[key])
        response = await send(request)
        age = response.headers.get("Cache-Control", "")
        if request.method == "GET" and age and len(KEPT) < 100:
            headers = {"X-Of": response.headers.get("X-Of", "")}
            KEPT[key] = response.status_code, headers, await connection.read(response)
        return response
