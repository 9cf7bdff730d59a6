"""What is broken, in the order of the contract's page, and which tests have to notice."""

from mutants.mutant import Mutant

TYPES = "_messages.py"
BODIES, GATE, HOP = "_clients/bodies.py", "_clients/gate.py", "_clients/hop.py"
CANCELLATION = "_clients/cancellation.py"
MESSAGES, HTTPX_MESSAGES = "_clients/messages.py", "_clients/httpx/messages.py"
HTTPX, HTTPX_WIRE = "_clients/httpx/client.py", "_clients/httpx/wire.py"
LIBRARY = "_clients/httpx/__init__.py"
UPLOADS = "_clients/requests/uploads.py"
AIOHTTP = "_clients/httpx/aiohttp.py"
TLS, WATCHDOG = "_clients/tls.py", "_clients/watchdog.py"
CONNECTIONS = "_clients/requests/connections.py"
SESSION, REQUESTS_WIRE = "_clients/requests/client.py", "_clients/requests/wire.py"
RAW, REQUESTS_MESSAGES = "_clients/requests/bodies.py", "_clients/requests/messages.py"
CHAIN, SMALL_HOOKS = "_chain/__init__.py", "_chain/small_hooks.py"
LAYER = "_chain/layer.py"
DRIVE, SINGLEFLIGHT = "_chain/drive.py", "_chain/singleflight.py"
CHANNEL, CONNECTION = "_connections/channel.py", "_connections/connection.py"
MESSAGING = "_connections/messaging.py"
WORK = "_connections/work.py"
COMPOSITION, HOST = "_composition/__init__.py", "_host.py"
CATALOG = "_composition/catalog.py"
CHANNELS, PERMITS_OF, WAITING = "_connections/channels.py", "_permits.py", "_waiting.py"
RUNTIME, MASKING = "_runtime.py", "_masking.py"
SECRETS, LOGGING = "_config/secrets.py", "_logging.py"
SERVICE_ERRORS = "_service_errors.py"
LDAP, MELTANO = "contrib/ldap/flext_plugins_ldap", "contrib/meltano/flext_plugins_meltano"
METRICS, ORACLE = "contrib/metrics/flext_plugins_metrics", "contrib/oracle/flext_plugins_oracle"

REQUEST = [
    Mutant("hops-share-a-call", f"{HOP}::_call_of", "call.attempt += 1", "pass", "for_each_hop"),
    Mutant(
        "hops-share-a-call",
        f"{HOP}::_call_of",
        "request.extensions.get(CALL) if hops is None else hops.call",
        "request.extensions.get(CALL)",
        "same_request_object",
    ),
    Mutant(
        "hops-share-a-call",
        f"{HOP}::hop",
        "hops is not None and hops.owner is not owner",
        "False",
        "bare_transport",
    ),
    Mutant(
        "hops-share-a-call",
        f"{SESSION}::_sending.send",
        "hops.next_is_redirect = False",
        "pass",
        "hook_of_a_session",
    ),
    Mutant(
        "hops-share-a-call",
        f"{SESSION}::_sending.resolve_redirects",
        "hops.next_is_redirect = True",
        "pass",
        "for_each_hop",
    ),
    Mutant(
        "plugins-get-a-clone",
        f"{MESSAGES}::ServiceMessages.adopt",
        "clone = self._copy(request)",
        "clone = request",
    ),
    Mutant(
        "client-keeps-its-request",
        f"{HTTPX_MESSAGES}::HttpxResponse.unwrapped",
        "native.request = request.native",
        "pass",
        "callers_request_back",
    ),
    Mutant(
        "attempts-start-unmarked",
        f"{CHAIN}::Around.__init__",
        "layer.stage <= Stage.AUTH",
        "False",
    ),
    Mutant(
        "attempts-start-unmarked",
        f"{CHAIN}::Send.__call__",
        "response.request = message",
        "pass",
        "further_in",
    ),
    Mutant("guard-inward-shares", f"{CHAIN}::Around.__init__", "layer.stage <= Stage.AUTH", "True"),
    Mutant(
        "environments-credential-is-last",
        f"{REQUESTS_MESSAGES}::RequestsMessages._copy",
        "del native.headers['Authorization']",
        "pass",
        "netrc_replaces_no_credential",
    ),
    Mutant(
        "environments-credential-is-last",
        f"{SESSION}::session_class",
        "prepared.headers['Authorization'] = own",
        "pass",
        "netrc_replaces_no_credential",
    ),
    Mutant(
        "own-origin-only",
        f"{HOP}::hop",
        "if wire.messages.owns(request):",
        "if True:",
        "gets_a_bare_request",
    ),
    Mutant(
        "own-origin-only",
        f"{HTTPX_WIRE}::HttpxWire._context",
        "self._service.cert if own else None",
        "self._service.cert",
        "client_certificate",
    ),
    Mutant(
        "origins-are-compared-whole",
        f"{HTTPX_MESSAGES}::HttpxMessages.owns",
        "return (url.raw_scheme, url.raw_host, url.port) == self._origin or self._is_own(url)",
        "return str(url).startswith(self._service.base_url)",
    ),
    Mutant(
        "origins-are-compared-whole",
        f"{REQUESTS_MESSAGES}::beginning",
        'return f"{url.scheme}://{url.netloc}/"',
        'return f"{url.scheme}://{url.netloc}"',
        "compares_origins",
    ),
    Mutant(
        "no-turning-elsewhere",
        f"{TYPES}::Request",
        'raise PluginError("request.url cannot be replaced: a request keeps its address")',
        "self._url = None",
    ),
    Mutant(
        "url-is-as-sent",
        f"{HTTPX_MESSAGES}::HttpxRequest._target",
        'target.decode("ascii")',
        'target.decode("ascii").replace("%2F", "/")',
    ),
    Mutant(
        "url-is-as-sent",
        f"{REQUESTS_MESSAGES}::RequestsRequest._target",
        "self.native.path_url",
        'self.native.path_url.partition("?")[0]',
    ),
    Mutant(
        "whose-answer-it-is",
        f"{CHAIN}::Send.__call__",
        "self._before is not None and message.fields() != self._before",
        "self._before is not None",
    ),
    Mutant(
        "whose-answer-it-is",
        "_chain/layer.py::identifying.note",
        "request.fields() != before",
        "False",
    ),
    Mutant(
        "whose-answer-it-is",
        f"{MESSAGES}::ServiceMessages.identified",
        "is_secret(name) or name in self._secret_headers",
        "is_secret(name)",
    ),
    Mutant(
        "host-among-headers",
        f"{REQUESTS_WIRE}::RequestsWire._dispatch",
        'del request.headers["Host"]',
        "pass",
    ),
    Mutant(
        "callers-headers-win",
        f"{MESSAGES}::ServiceMessages.adopt",
        "headers.get(name) in (None, self._defaults.get(name.lower()))",
        "headers.get(name) != 0",
    ),
    Mutant(
        "proxy-for-each-origin",
        f"{LIBRARY}::HttpxLibrary.proxy_for",
        "frozenset(getproxies().items())",
        "frozenset()",
        "environment_proxies",
    ),
    Mutant(
        "credentials-stay-here",
        "_config/proxies.py::carrier",
        "if not proxy:",
        "if True:",
    ),
    Mutant(
        "credentials-stay-here",
        f"{GATE}::GatedWire._leaves_machine",
        "if who := self._credentials.get(service.name):",
        "if False:",
        "later_gets_no_credentials",
    ),
    Mutant(
        "plain-without-plugins",
        f"{HTTPX_MESSAGES}::HttpxMessages._copied",
        """
        self._lib.Request(
            native.method,
            native.url,
            headers=native.headers,
            stream=stream,
            extensions=request.extensions,
        )
        """,
        """
        self._lib.Request(
            native.method,
            native.url,
            headers=dict(native.headers),
            stream=stream,
            extensions=request.extensions,
        )
        """,
        "plain_one_does",
    ),
    Mutant(
        "plain-without-plugins",
        f"{UPLOADS}::shareable",
        "is_buffer(body)",
        "isinstance(body, bytes)",
        "body_of_any_kind",
    ),
    Mutant(
        "plain-without-plugins",
        f"{RAW}::Raw._reading",
        "what_is_left and self.is_passed_over",
        "False",
        "whose_body_breaks",
    ),
    Mutant(
        "sending-again",
        f"{BODIES}::can_seek",
        'hasattr(file, "seekable")',
        "True",
        "what_can_go_back",
    ),
    Mutant(
        "sent-once",
        f"{UPLOADS}::File.__iter__",
        "self._source.seek(self._place)",
        "self._source.seek(0)",
        "what_can_go_back",
    ),
    Mutant(
        "proxy-for-each-origin",
        f"{LIBRARY}::HttpxLibrary.proxy_for",
        "_way(self.module, said, url.scheme, url.host, url.port) if said else None",
        "standard_proxy_for(url)",
        "reads_it",
    ),
    Mutant(
        "proxy-for-each-origin",
        f"{REQUESTS_WIRE}::_chosen",
        'getattr(hops_under_way.get(), "trusts_environment", True)',
        "True",
        "without_the_environment",
    ),
    Mutant(
        "proxy-for-each-origin",
        f"{REQUESTS_WIRE}::_chosen",
        'getattr(hops_under_way.get(), "trusts_environment", True)',
        "False",
        "environments_(proxy|authorities)",
    ),
    Mutant(
        "credentials-stay-here",
        "_config/proxies.py::proxy_for",
        "any((_is_in(url.host, each.strip()) for each in proxies.get('no', '').split(',')))",
        "False",
        "some_library_reaches",
    ),
    Mutant(
        "own-origin-only",
        "http.py::Origin.of",
        "_WEBSOCKETS.get(parts.scheme, parts.scheme)",
        "parts.scheme",
        "websocket",
    ),
    Mutant(
        "own-origin-only",
        f"{HTTPX_WIRE}::HttpxWire._pool",
        "url.scheme in _SECURE",
        'url.scheme == "https"',
        "its_tls",
    ),
]

SAME_FAILURES = [
    Mutant(
        "connect-means-unsent",
        "_clients/requests/failures.py::_broken",
        "any((_in_handshake(each) for each in inside))",
        "False",
        "same_event",
    ),
    Mutant("failure-kinds", f"{RAW}::Reader.read", "size < -1", "False", "same_event"),
    Mutant("failure-kinds", f"{RAW}::Reader.readline", "len(line) == size", "False", "same_event"),
    Mutant(
        "failure-kinds",
        "_clients/requests/failures.py::failure_of",
        "any((isinstance(each, exceptions.InvalidHeader) for each in inside))",
        "False",
        "same_event",
    ),
    Mutant(
        "failure-kinds",
        f"{LIBRARY}::HttpxLibrary.__init__",
        "(*failures, (ssl.SSLError, Failure.READ))",
        "(*failures,)",
        "same_event",
    ),
]

COOKIES = [
    Mutant(
        "plain-without-plugins",
        f"{HTTPX}::_cookies.extract_cookies",
        'own or "set-cookie" in response.headers or "set-cookie2" in response.headers',
        '"set-cookie" in response.headers or "set-cookie2" in response.headers',
        "jar_of_ones_own",
    ),
]

ORDER = [
    Mutant(
        "stages-order",
        "_composition/order.py::arranged",
        "sorted(candidates, key=lambda each: each.stage)",
        "candidates",
        "stages_order_plugins",
    ),
    Mutant(
        "order-within-a-stage",
        "_composition/order.py::arranged",
        "if said:",
        "if False:",
        "explicit_order",
    ),
    Mutant(
        "neighbours-by-wish",
        "_composition/order.py::wishes",
        "yield Wish(other.name, each.name, each.name)",
        "pass",
    ),
    Mutant(
        "neighbours-by-wish",
        "_composition/order.py::wishes",
        "yield Wish(each.name, other.name, each.name)",
        "pass",
    ),
    Mutant(
        "neighbours-by-wish",
        "_composition/order.py::arranged",
        "names.append(free[0])\nleft.remove(free[0])",
        "names.append(free[-1])\nleft.remove(free[-1])",
    ),
    Mutant(
        "wishes-within-a-stage",
        f"{COMPOSITION}::_wish_problems",
        "if outer > inner:",
        "if False:",
    ),
    Mutant(
        "answer-without-sending",
        f"{SMALL_HOOKS}::_Run.answer",
        "self._layers[:place]",
        "self._layers",
        "spares_the_service",
    ),
    Mutant(
        "superseded-is-closed",
        f"{CHAIN}::Send._again",
        "if self.response is not None:",
        "if False:",
    ),
    Mutant(
        "superseded-is-closed",
        f"{LAYER}::supersede",
        "await discard(scope.wire, response)",
        "pass",
    ),
    Mutant("sending-again", f"{CHAIN}::Send.__call__", "if self._busy:", "if False:", "returned"),
    Mutant(
        "sending-again",
        f"{CHAIN}::Send._again",
        "if not wire.messages.sendable(message):",
        "if False:",
        "replayed",
    ),
    Mutant(
        "sync-awaits-the-connection-only",
        f"{DRIVE}::_unwound",
        "warned.add(frame)",
        "coroutine.close(); raise error",
        "foreign",
    ),
]

FAILURE = [
    Mutant(
        "wire-errors-pass",
        f"{CHAIN}::Around.__call__",
        "if send.is_own(error) or not isinstance(error, Exception):",
        "if not isinstance(error, Exception):",
    ),
    Mutant(
        "plugin-errors-name-the-plugin",
        f"{SMALL_HOOKS}::_Run.blame",
        "place, shape = self.steps[at]",
        "place, shape = self.steps[0]",
        "among_neighbours",
    ),
    Mutant(
        "plugin-errors-name-the-plugin",
        f"{LAYER}::blame",
        "_add_place(error, layer, hook)",
        "pass",
        "host_notices",
    ),
    Mutant(
        "nothing-is-no-answer",
        f"{CHAIN}::Around.__call__",
        "if response is not send.response or response is None:",
        "if response is not send.response:",
        "neither_sends",
    ),
    Mutant(
        "nothing-is-no-answer",
        f"{LAYER}::refuse_coroutine",
        "if isinstance(result, CoroutineType):",
        "if False:",
        "coroutine",
    ),
    Mutant(
        "only-requests-are-sent",
        f"{CHAIN}::Send.__call__",
        "around.check(message, self._scope)",
        "pass",
        "line",
    ),
    Mutant(
        "only-requests-are-sent",
        f"{CHAIN}::Around.check",
        "not isinstance(message, Operation)",
        "False",
        "operation",
    ),
    Mutant(
        "responses-are-of-the-exchange",
        f"{LAYER}::checked",
        "not scope.wire.messages.is_response(answer)",
        "not hasattr(answer, 'status_code')",
    ),
    Mutant(
        "responses-are-of-the-exchange",
        f"{MESSAGING}::Messaging.respond",
        "if not isinstance(content, bytes):",
        "if False:",
        "cannot_be_made",
    ),
    Mutant(
        "responses-are-of-the-exchange",
        f"{HTTPX_MESSAGES}::HttpxMessages.is_response",
        "isinstance(value.native, self._lib.Response)",
        "True",
        "made_outside",
    ),
    Mutant(
        "closing-replaces-no-error",
        f"{LAYER}::discard",
        "if error is not None:",
        "if False:",
        "is_a_note",
    ),
    Mutant(
        "closing-replaces-no-error",
        "_errors.py::note_failures",
        "error.add_note(f'{doing} raised {type(failed).__name__}')",
        "raise",
    ),
    Mutant(
        "closing-replaces-no-error",
        f"{LAYER}::discard",
        "isinstance(error, GeneratorExit) and wire.asynchronous",
        "isinstance(error, GeneratorExit)",
        "again_and_again",
    ),
    Mutant(
        "errors-at-composing-are-told",
        "_errors.py::account_of",
        "_line(masked(text_of(error)))",
        "_line(text_of(error))",
        "spelling",
    ),
    Mutant(
        "errors-at-composing-are-told",
        f"{COMPOSITION}::_mask",
        "texts += [value for _, value in leaves(table) if isinstance(value, str)]",
        "pass",
        "spelling",
    ),
    Mutant(
        "errors-at-composing-are-told",
        "_composition/catalog.py::Catalog.load",
        "account_of(error, place, masked)",
        "type(error).__name__",
        "import",
    ),
    Mutant(
        "errors-at-composing-are-told",
        "_config/validation.py::validated",
        "account_of(error, place, lambda text: redact(_without(text, table)))",
        "account_of(error, place, redact)",
        "something_odd",
    ),
    Mutant(
        "errors-at-composing-are-told",
        f"{COMPOSITION}::_Draft._instance",
        "place_of(error, packages_of(self.plugin_class.kind))",
        "''",
        "constructor",
    ),
    Mutant(
        "only-its-own-send-passes",
        f"{CHAIN}::Around.__call__",
        "if send.is_own(error) or not isinstance(error, Exception):",
        "if True:",
    ),
    Mutant(
        "errors-show-no-secret",
        f"{REQUESTS_WIRE}::RequestsWire._dispatch",
        "error.request = None",
        "pass",
        "further_out",
    ),
    Mutant(
        "frames-hold-no-secret",
        f"{CONNECTION}::Connection.request",
        "del headers, content, json",
        "pass",
        "frame_of_ours",
    ),
    Mutant(
        "frames-hold-no-secret",
        f"{REQUESTS_WIRE}::RequestsWire._dispatch",
        "native = adapter.send(request.native, stream=True, **self._options(request, left, own))",
        """options = self._options(request, left, own)
native = adapter.send(request.native, stream=True, **options)""",
        "frame_of_ours",
    ),
    Mutant(
        "library-logs-show-no-secret",
        "_clients/httpx/__init__.py",
        'filter_loggers((self.name, *(f"{core}.{each}" for each in _CORE_LOGGERS)), redact_value)',
        "filter_loggers((self.name, core), redact_value)",
        "logger_of_a_client",
    ),
    Mutant(
        "library-logs-show-no-secret",
        f"{LOGGING}::mask_value",
        "value if isinstance(value, int) else MASK",
        "redact_value(value)",
        "packs_the_headers",
    ),
    Mutant(
        "unsendable-is-told",
        f"{SECRETS}::HeaderSecret.get_secret_value",
        "is_header_value(value)",
        'value.strip() == value and "\\n" not in value',
        "no_header_can_carry",
    ),
    Mutant(
        "unsendable-is-told",
        f"{SECRETS}::Secret.get_secret_value",
        "value.isascii() or _is_text(value)",
        "True",
        "not_text",
    ),
    Mutant(
        "line-ends-are-no-secret",
        f"{SECRETS}::_from_variable",
        'value.rstrip("\\r\\n")',
        "value",
        "line_ends_after",
    ),
    Mutant(
        "line-ends-are-no-secret",
        f"{SECRETS}::Secret._from_file",
        'open(path, encoding="utf-8-sig")',
        'open(path, encoding="utf-8")',
        "with_which_windows",
    ),
    Mutant(
        "secret-files-may-be-gone",
        f"{SECRETS}::Secret._from_file",
        'if value := value.rstrip("\\r\\n"):',
        "if True:",
        "stays_in_use",
    ),
    Mutant(
        "secret-files-may-be-gone",
        f"{SECRETS}::Secret._from_file",
        "if self._read is None or is_wrong:",
        "if True:",
        "stays_in_use",
    ),
    Mutant(
        "service-errors-are-masked",
        f"{SERVICE_ERRORS}::_masked",
        "return mask(value)",
        "return value",
        "nobodys_secret",
    ),
    Mutant(
        "service-errors-are-masked",
        f"{MASKING}::_credentials",
        'yield shown.partition(" ")[2]',
        "pass",
        "without_its_scheme",
    ),
    Mutant(
        "service-errors-are-masked",
        f"{MASKING}::masking",
        "for each in [each for each in plain.values() if each in data]:",
        "for each in ():",
        "every_spelling",
    ),
    Mutant(
        "service-errors-are-masked",
        f"{MASKING}::masking",
        "len(parts) > most",
        "False",
        "too_many_secrets",
    ),
    Mutant(
        "service-errors-are-masked",
        "_health.py::_words",
        "mask(each)",
        "each",
        "not_in_its_health",
    ),
    Mutant(
        "service-errors-are-masked",
        f"{MASKING}::_forms",
        "yield pair",
        "pass",
        "pair_in_base64",
    ),
    Mutant(
        "service-errors-wait-for-nothing",
        f"{SERVICE_ERRORS}::_body",
        "if raw is None or raw.closed:",
        "if True:",
        "in_requests",
    ),
]

REFUSAL = [
    Mutant(
        "refusal-is-native",
        f"{HOP}::_native",
        "return native(error, library.refused)",
        "return error",
    ),
    Mutant(
        "refusal-keeps-its-class",
        "_errors.py::_native_class",
        'body = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": reduce}',
        'body = {"__module__": kind.__module__, "__doc__": kind.__doc__}',
    ),
    Mutant(
        "refusal-says-whether-sent",
        f"{GATE}::GatedWire._admitted",
        """
        call.sent = True
        response = await self._dispatch(request, call, None, permit, own=own)
        """,
        "response = await self._dispatch(request, call, None, permit, own=own)",
        "later_attempt",
    ),
    Mutant(
        "refusal-says-whether-sent",
        f"{GATE}::GatedWire._admitted",
        """
        left, limit = (call.check(waiting_for), Limit(call, waiting_for))
        call.sent = True
        """,
        "left, limit = (call.check(waiting_for), Limit(call, waiting_for))",
        "later_attempt",
    ),
    Mutant(
        "refusal-says-whether-sent",
        f"{GATE}::GatedWire._admitted",
        """
        if self._closed:
            raise self._drained(call)
        answerer = call.service if own else _host(request)
        """,
        """
        if self._closed:
            raise Refused('the host is closed')
        answerer = call.service if own else _host(request)
        """,
        "closes_between",
    ),
    Mutant(
        "refusal-says-whether-sent",
        "_errors.py::Refused.add_context",
        "self.sent = call.sent",
        "pass",
        "later_attempt",
    ),
    Mutant(
        "refusal-says-whether-sent",
        "_chain/layer.py::blame",
        "return blamed.add_context(call=call)",
        "return blamed",
        "whoever_sees",
    ),
    Mutant(
        "refusal-says-whether-sent",
        "_errors.py::_native_class",
        "error.plain.sent = error.sent",
        "pass",
        "client_in_a_plugin",
    ),
    Mutant(
        "refusal-says-whether-sent",
        f"{CHAIN}::_to_work",
        "scope.call.sent = True",
        "pass",
        "operation",
    ),
    Mutant(
        "refusal-says-whether-sent",
        f"{CHAIN}::_to_work",
        "scope.wire is None or not getattr(operation, 'idempotent', False)",
        "True",
        "on_the_way",
    ),
    Mutant(
        "earlier-failure-comes-first",
        f"{CHAIN}::Send._again",
        "self._errors += (self.error,)",
        "pass",
    ),
]

OBSERVER = [
    Mutant(
        "observer-hurts-nobody",
        f"{CHAIN}::Observed.__call__",
        "if error is not send.error:",
        "if error is not send.error: raise",
        "observer_that_raises",
    ),
    Mutant(
        "observer-hurts-nobody",
        f"{CHAIN}::Observed.__call__",
        "await send(message)",
        "pass",
        "observer_that_raises",
    ),
    Mutant(
        "observer-hurts-nobody",
        f"{CHANNEL}::Channel.report",
        "self.runtime.occasions.take((self.service.name, layer.name, hook)) is not None",
        "True",
        "observer_that_raises",
    ),
    Mutant(
        "observer-hurts-nobody",
        f"{CHANNEL}::Channel._log_failure",
        "self.masked(text)",
        "text",
        "masked",
    ),
    Mutant(
        "observer-hurts-nobody",
        f"{CHANNEL}::Channel._log_failure",
        "hasattr(each, 'headers')",
        "False",
        "masked",
    ),
    Mutant(
        "telling-is-harmless",
        "_logging.py::log",
        "harmless(_log, level, message, values, fields)",
        "_log(level, message, values, fields)",
        "goes_wrong",
    ),
    Mutant(
        "telling-is-harmless",
        "_connections/log.py::ServiceLog.tell",
        "harmless(self._tell, event)",
        "self._tell(event)",
        "goes_wrong",
    ),
    Mutant(
        "receivers-are-inside-the-call",
        f"{CHANNEL}::Channel.finish_call",
        "token = scope.set(Scope(call, wire))",
        "token = scope.set(None)",
    ),
    Mutant(
        "hop-end-is-told",
        f"{CHANNEL}::Channel.exchange",
        "self._tell(HopFinished(call, outcome, passed, sends))",
        "pass",
    ),
    Mutant(
        "hop-end-is-told",
        f"{CHANNEL}::Channel.exchange",
        "call._resends - before + 1",
        "call.attempt",
        "are_its_own",
    ),
    Mutant(
        "hop-end-is-told",
        f"{CHAIN}::Send._again",
        "call._resends += around.closes",
        "call._resends += 1",
        "no_attempt_of_the_hop",
    ),
    Mutant(
        "call-end-is-told-once",
        f"{HOP}::hop",
        "await channel.exchange(request, wire, call, ends_call=hops is None)",
        "await channel.exchange(request, wire, call, ends_call=True)",
        "redirect_is_two_hops",
    ),
    Mutant(
        "call-end-is-told-once",
        "_call.py::Hops.__exit__",
        "self.channel.finish_call(self.call, self.wire, error, passed)",
        "self.channel.finish_call(self.call, self.wire, None, passed)",
        "what_came_of_it",
    ),
    Mutant(
        "call-end-is-told-once",
        f"{HOP}::hop",
        "hops.channel, hops.wire = channel, wire",
        "pass",
        "what_came_of_it",
    ),
    Mutant(
        "bare-transport-ends-each-hop",
        f"{HOP}::hop",
        "await channel.exchange(request, wire, call, ends_call=hops is None)",
        "await channel.exchange(request, wire, call, ends_call=False)",
    ),
    Mutant(
        "resends-are-told",
        f"{CHAIN}::Send._again",
        "around.receiver.emit(Retried(call, around.layer.name, self._reason(), delay))",
        "pass",
    ),
    Mutant(
        "resends-are-told",
        f"{CHAIN}::Send._reason",
        "return failure.value if failure else type(self.error).__name__",
        "return type(self.error).__name__",
        "first_came_to",
    ),
    Mutant(
        "resends-are-told",
        f"{CHAIN}::Send.__call__",
        "self._ended = time.monotonic()",
        "pass",
        "delay_is_counted",
    ),
    Mutant(
        "lines-cannot-be-forged",
        "redaction.py::printable",
        "if not shown.isprintable():",
        "if False:",
    ),
    Mutant(
        "observer-changes-nothing",
        f"{CHAIN}::Observed.__call__",
        """
        if send.error is not None:
            raise send.error
        """,
        "pass",
        "change_an_outcome",
    ),
    Mutant(
        "observer-changes-nothing",
        f"{LAYER}::refuse_answer",
        "if result is not None and all(result is not each for each in own):",
        "if False:",
        "change_an_outcome",
    ),
    Mutant(
        "operations-of-a-call",
        f"{CONNECTION}::Connection",
        "call or self.begin_call()",
        "self.begin_call()",
    ),
    Mutant(
        "operations-of-a-call",
        f"{CONNECTION}::Connection.begin_call",
        "return self.call or new_call(self.service)",
        "return new_call(self.service)",
    ),
    Mutant(
        "observer-changes-nothing",
        f"{LAYER}::essence",
        "message.method if isinstance(message, Request) else message.status_code",
        "None",
        "marks_headers",
    ),
    Mutant(
        "observer-changes-nothing",
        f"{CHAIN}::Send.__call__",
        "self.put_back()",
        "pass",
        "marks_headers",
    ),
    Mutant(
        "nothing-waits-in-tests",
        f"{CONNECTION}::Connection.permit",
        "always or self.waits",
        "self.waits",
        "only_so_much_of",
    ),
    Mutant(
        "closed-host-refuses",
        f"{CHANNEL}::Channel._refuse_closed",
        "if is_over or (self._closed and not self.is_changing):",
        "if False:",
        "lent_refuses",
    ),
    Mutant(
        "closed-host-refuses",
        f"{CHANNEL}::Channel._refuse_closed",
        "self._closed and not self.is_changing",
        "self._closed",
        "last_operation",
    ),
    Mutant(
        "closed-host-refuses",
        f"{CHANNEL}::Channel.operate.at_work",
        "self._refuse_closed(call)",
        "pass",
        "between_two_attempts",
    ),
    Mutant(
        "fork-starts-afresh",
        f"{CHANNEL}::Channel.is_inherited",
        "self._origin is not self.runtime.channels",
        "False",
        "childs_own_plugins",
    ),
    Mutant(
        "sync-awaits-the-connection-only",
        f"{CONNECTION}::Connection",
        "lacks_loop(error)",
        "False",
        "in_an_operation",
    ),
    Mutant(
        "resources-by-type-and-name",
        "_connections/resource.py::Resources.provide",
        "if not is_one(resource.value, resource.kind):",
        "if False:",
        "of_its_type",
    ),
    Mutant("refusal-says-when", "_errors.py::_seconds", "max(seconds, 0)", "seconds"),
    Mutant(
        "refusal-says-when",
        "_errors.py::_seconds",
        "if not -math.inf < seconds < math.inf:",
        "if False:",
    ),
    Mutant(
        "timeouts-fit-the-deadline",
        f"{CONNECTION}::Connection",
        "return least(seconds, None if left is None else left + ROUNDING)",
        "return seconds",
    ),
    Mutant(
        "operation-names-its-plugin",
        f"{CONNECTION}::Connection.add_context",
        """
        return error.add_context(
            service=self._channel.service.name,
            plugin=layer.name,
            distribution=layer.distribution,
            call=self.call,
        )
        """,
        "return error",
        "outside_of_operations",
    ),
    Mutant(
        "events-reach-every-receiver",
        f"{CONNECTION}::Connection.has_receivers",
        "return self._channel.has_receivers",
        "return True",
        "would_hear",
    ),
    Mutant(
        "observer-changes-nothing",
        f"{CHAIN}::Send._again",
        'raise PluginError("an observer cannot send twice", around.name)',
        "pass",
        "send_twice",
    ),
    Mutant(
        "status-from-any-thread",
        f"{CHANNELS}::Channels.open",
        "(self._sync, *loops)",
        "(self._sync,)",
    ),
    Mutant(
        "status-from-any-thread",
        f"{CHANNELS}::Channels.open",
        "[each for each in channels if each.is_open]",
        "channels",
        "being_opened",
    ),
    Mutant(
        "status-is-an-observer",
        f"{CHANNEL}::Channel.status",
        'self.report(layer, "flext_status", error)',
        "raise",
    ),
    Mutant(
        "status-is-an-observer",
        f"{CHANNEL}::_status",
        "if not isinstance(value, Status):",
        "if False:",
    ),
]

CANCELLATIONS = [
    Mutant(
        "cancellation-unwinds",
        f"{GATE}::GatedWire._admitted",
        "permit.release()",
        "pass",
        "unwinds_every_layer",
    ),
    Mutant(
        "cancellation-unwinds",
        f"{HTTPX_WIRE}::Loan.send",
        "await shielded(self.transport.handle_async_request(native), _discard)",
        "await self.transport.handle_async_request(native)",
        "stream_of_http2_harms_no_other",
    ),
    Mutant(
        "cancellation-ends-at-once",
        f"{HTTPX_WIRE}::Transports.take_back",
        "is_whole and not self._is_closed",
        "True",
        "ends_at_once",
    ),
    Mutant(
        "cancellation-is-put-off",
        f"{CANCELLATION}::steady",
        "yield from _landing(end.value, discard)",
        "pass",
        "put_off",
    ),
    Mutant(
        "cancellation-is-put-off",
        f"{CANCELLATION}::steady",
        """
        if put_off:
            yield
        """,
        "pass",
        "put_off",
    ),
    Mutant(
        "cancellation-is-put-off",
        f"{CANCELLATION}::steady",
        "not str(error).startswith(ANYIO)",
        "True",
        "anyio",
    ),
    Mutant(
        "cancellation-is-put-off",
        f"{CANCELLATION}::steady",
        "shield is not None and shield.shield is not (held := 0 < turns <= TURNS)",
        "False",
        "no_mere_turn",
    ),
    Mutant(
        "cancellation-ends-at-once",
        f"{CANCELLATION}::steady",
        """
        if shield is not None and shield.shield is not (held := 0 < turns <= TURNS):
            shield.shield = held
        try:
            yield waited
        except CancelledError as error:
        """,
        """
        try:
            yield waited
        except CancelledError as error:
            if waited is None and str(error).startswith(ANYIO):
                continue
        """,
        "so_does_one",
    ),
    Mutant(
        "cancellation-ends-at-once",
        f"{CANCELLATION}::steady",
        "0 < turns <= TURNS",
        "0 < turns",
        "waits_for_nothing",
    ),
    Mutant(
        "cancellation-ends-at-once",
        f"{CANCELLATION}::steady",
        "put_off < TURNS",
        "True",
        "waits_for_nothing",
    ),
]

DEADLINE = [
    Mutant(
        "deadline-is-nobodys-failure",
        "_deadline.py::Limit.__exit__",
        "if (error is None or isinstance(error, Exception)) and self._passed:",
        "if False:",
        "slow_answer",
    ),
    Mutant(
        "deadline-ends-a-flood",
        f"{WATCHDOG}::Watch.tracing",
        "event.endswith('connect_tcp.complete')",
        "False",
        "whatever_trickles",
    ),
    Mutant(
        "deadline-ends-a-flood",
        f"{CONNECTIONS}::Watched",
        """
        self._sock = sock
        self._show()
        """,
        "self._sock = sock",
        "whatever_trickles",
    ),
    Mutant(
        "deadline-ends-a-flood",
        f"{CONNECTIONS}::Watched.putrequest",
        "self._show()",
        "pass",
        "was_kept",
    ),
    Mutant(
        "deadline-ends-a-flood",
        f"{HTTPX_WIRE}::Loan.watch",
        "watch.see(stream.get_extra_info('socket'))",
        "pass",
        "was_kept",
    ),
    Mutant(
        "deadline-ends-a-flood",
        f"{HTTPX_WIRE}::HttpxWire._new_pool",
        "if not own and self.asynchronous:",
        "if not own:",
        "at_another_origin",
    ),
    Mutant(
        "deadline-ends-a-flood",
        "_deadline.py::Limit.__exit__",
        "error is None or isinstance(error, Exception)",
        "isinstance(error, Exception)",
        "whatever_trickles",
    ),
    Mutant(
        "deadline-cuts-its-own",
        f"{HTTPX_WIRE}::Loan.close",
        "if self._watch is not None and self._watch.end():",
        "if False:",
        "not_cut_with",
    ),
    Mutant(
        "deadline-cuts-its-own",
        f"{RAW}::_end",
        "if watches.pop().end() and connection is not None:",
        "if False:",
        "not_cut_with",
    ),
    Mutant(
        "deadline-cuts-its-own",
        f"{WATCHDOG}::Watch._take",
        "return False",
        "return True",
        "comes_first",
    ),
    Mutant(
        "deadline-cuts-its-own",
        f"{HTTPX_WIRE}::Loan.send",
        "response.status_code == SWITCHED",
        "False",
        "no_longer_of_http",
    ),
    Mutant(
        "deadline-takes-a-thread",
        f"{WATCHDOG}::Watchdog._goes_on",
        "if not self._watches:",
        "if False:",
        "ends_by_itself",
    ),
    Mutant(
        "deadline-takes-a-thread",
        "_connections/channels.py::Channels._close_sync",
        "self._runtime.watchdog.close()",
        "pass",
        "none_before_or_after",
    ),
    Mutant(
        "deadline-takes-a-thread",
        f"{WATCHDOG}::Watchdog.watch",
        "self._is_closed",
        "False",
        "when_it_is_closed",
    ),
    Mutant(
        "closing-drains",
        f"{WATCHDOG}::Watchdog.close",
        "not each.outlasts",
        "True",
        "session_read_on",
    ),
    Mutant(
        "fork-starts-afresh",
        f"{RUNTIME}::Runtime.renew",
        "self.watchdog = self.watchdog.renewed()",
        "pass",
        "watchdog_of_its_own",
    ),
    Mutant(
        "deadline-ends-a-body",
        f"{BODIES}::Body._limited",
        "with self._limit:",
        "with NO_LIMIT:",
        "still_read",
    ),
    Mutant(
        "deadline-ends-a-body",
        f"{BODIES}::Body._chunk",
        "async with self._limit:",
        "async with NO_LIMIT:",
        "still_read",
    ),
    Mutant(
        "deadline-ends-a-body",
        f"{RAW}::Reader._wait",
        "with self._limit:",
        "if True:",
        "still_read",
    ),
    Mutant(
        "deadline-frees",
        f"{GATE}::GatedWire._admitted",
        "await discard(self, response, error)",
        "pass",
        "is_given_up",
    ),
]

BODY = [
    Mutant(
        "answers-stream",
        f"{GATE}::GatedWire._admitted",
        "response = await self._dispatch(request, call, None, permit, own=own)",
        """
        response = await self._dispatch(request, call, None, permit, own=own)
        await self.read(response)
        """,
    ),
    Mutant(
        "body-end-is-told-once",
        f"{RAW}::Raw.passed",
        "self.reader.size",
        "0",
        "all_worlds",
    ),
    Mutant(
        "sizes-before-reading",
        f"{MESSAGES}::ServiceMessages.size",
        "not is_request and _has_no_body(message)",
        "False",
    ),
    Mutant(
        "bodies-are-replaced",
        f"{MESSAGES}::ServiceMessages.replace",
        'message.headers.pop("Transfer-Encoding", None)',
        "pass",
    ),
    Mutant("bodies-are-replaced", f"{RAW}::Raw.replaced", "self.hand_over(again)", "pass"),
    Mutant(
        "bodies-are-transformed",
        f"{BODIES}::Transformed.__iter__",
        "current = self._start()",
        "current = self._kept = getattr(self, '_kept', None) or self._start()",
    ),
    Mutant(
        "bodies-are-transformed",
        f"{BODIES}::Pipeline.end",
        "(each.feed(rest) if rest else rest)",
        "rest",
    ),
    Mutant(
        "bodies-are-transformed",
        f"{RAW}::Raw.stream",
        "not isinstance(self.reader, Filter)",
        "True",
        "arrives_as_it_comes",
    ),
    Mutant("broken-for-all", f"{BODIES}::Body._check", "raise self._broken", "pass", "no_other"),
    Mutant(
        "observer-changes-nothing",
        f"{MESSAGING}::Messaging._refuse_observer",
        "if self._layer.observer:",
        "if False:",
        "changes_no_body",
    ),
    Mutant(
        "permit-comes-back",
        f"{MESSAGING}::Messaging.watch",
        "(response.request,)",
        "(response,)",
        "no_cyclic_collector",
    ),
    Mutant(
        "transformations-are-blamed",
        "_chain/transformation.py::Blamed._blaming",
        "blame(error, self._layer, _HOOK, self._service, self._call)",
        "error",
    ),
    Mutant(
        "permit-comes-back",
        f"{BODIES}::Body.__del__",
        "self._permit.drop(self)",
        "pass",
        "collected",
    ),
    Mutant(
        "permit-comes-back",
        f"{GATE}::GatedWire._admitted",
        "if self._gate.dropped:",
        "if False:",
        "collected",
    ),
    Mutant(
        "permit-comes-back",
        f"{RAW}::Reader.close",
        "self._end()",
        "pass",
        "collected",
    ),
    Mutant(
        "library-objects-are-its-own",
        f"{RAW}::watched",
        "return cast('Raw', raw)",
        """
        class Wrapped:
            def __getattr__(self, name):
                return getattr(raw, name)
        return Wrapped()
        """,
        "plain_requests",
    ),
    Mutant(
        "broken-for-all",
        f"{BODIES}::Body.__iter__",
        "self.close()",
        "pass",
        "nobody_closes_it",
    ),
]

FINDING = [
    Mutant(
        "only-files-name-classes",
        "_config/load.py::_lay_variables",
        "if names_class(inner):",
        "if False:",
    ),
    Mutant(
        "only-files-name-classes",
        "_config/load.py::names_class",
        "place[2:] if place[:1] == ('services',) else place",
        "place",
    ),
    Mutant(
        "denied-is-not-imported",
        f"{CATALOG}::Catalog.named_class",
        "raise ConfigError(why)",
        "pass",
        "denied_class",
    ),
    Mutant(
        "denied-is-not-imported",
        "_discovery.py::find",
        "{'incompatible', 'denied'}",
        "{'incompatible'}",
        "denied_plugin",
    ),
    Mutant(
        "denied-is-not-imported",
        f"{CATALOG}::_matches",
        "accumulate(module.split('.'), '{}.{}'.format)",
        "[module]",
        "denied_class",
    ),
]
LOAD, FORMATS = "_config/load.py", "_config/formats.py"
YAML = "_config/yaml_loader.py"
DECODING = "_clients/decoding.py"
READING = [
    Mutant(
        "library-objects-are-its-own",
        f"{RAW}::Memory.isclosed",
        "self._has_begun",
        "0 < self.size",
        "without_a_body",
    ),
    Mutant(
        "permit-comes-back",
        f"{BODIES}::Body.close",
        """
        try:
            self._end(None, self._size)
        finally:
            if self._loan is not None:
                self._loan.close(is_whole=is_whole)
        """,
        """
        self._end(None, self._size)
        if self._loan is not None:
            self._loan.close(is_whole=is_whole)
        """,
        "ends_the_thread",
    ),
    Mutant(
        "nothing-grows",
        f"{TLS}::shared_context",
        "len(runtime.tls) > MOST",
        "False",
        "names_a_file",
    ),
    Mutant(
        "reads-are-bounded",
        f"{DECODING}::Within.feed",
        "self._left < 0",
        "False",
        "too_long_an_answer",
    ),
    Mutant(
        "reads-are-bounded",
        f"{DECODING}::Output.add",
        "self.room <= 0",
        "False",
        "too_long_an_answer",
    ),
    Mutant(
        "reads-are-bounded",
        f"{MESSAGING}::Messaging.read",
        "isinstance(message, Response) and message.service",
        "None",
        "by_the_service_that_answers",
    ),
    Mutant(
        "husks-hide-nothing",
        "_discovery.py::_distributions",
        "_has_metadata(each[1])",
        "True",
        "left_of_an_older",
    ),
    Mutant(
        "formats-refuse-alike",
        f"{YAML}::Loader.compose_mapping_node",
        "str(key.value) in seen",
        "False",
        "twice_in_yaml",
    ),
    Mutant(
        "formats-refuse-alike",
        f"{FORMATS}::_table_of",
        "len(table) < len(pairs)",
        "False",
        "twice_in_a_variable",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{FORMATS}::_bounded",
        "number >= MOST",
        "False",
        "python_would_choke",
    ),
    Mutant(
        "unreadable-is-a-problem",
        "_config/models.py",
        "Field(gt=0, le=LONGEST, allow_inf_nan=False)",
        "Field(gt=0, allow_inf_nan=False)",
        "no_machine_can_use",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{LOAD}::_variable",
        "len(parts) > DEEPEST",
        "False",
        "python_would_choke",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{YAML}::Loader._count",
        "self._nodes > 2 * MOST",
        "False",
        "python_would_choke",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{YAML}::Loader.compose_scalar_node",
        "len(node.value) > LONGEST_NUMBER",
        "False",
        "python_would_choke",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{YAML}::Loader.construct_object",
        "Exception",
        "OSError",
        "python_would_choke",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{FORMATS}::_toml",
        "_DEEP_KEY.search(text)",
        "False",
        "python_would_choke",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{FORMATS}::_text_of",
        "(OSError, ValueError)",
        "OSError",
        "can_be_none_is_told",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{LOAD}::_beside",
        "ValueError",
        "OSError",
        "names_no_file",
    ),
]
TEXTS = [
    Mutant(
        "texts-spoil-nothing",
        "redaction.py::printable",
        "most is None or len(shown) <= most",
        "True",
        "spoils_the_page",
    ),
    Mutant(
        "texts-spoil-nothing",
        "_config/models.py::_named",
        "name != printable(name, LONGEST_NAME) or not name.strip()",
        "False",
        "no_name",
    ),
    Mutant(
        "unreadable-is-a-problem",
        f"{YAML}::Loader.flatten_mapping",
        "node.value = [*last.values()]",
        "pass",
        "python_would_choke",
    ),
]
HEALTH, STATUS_APP = "_health.py", "_status_app.py"
LOOKING_IN = [
    Mutant(
        "health-passes-guards",
        f"{HEALTH}::_guards",
        "e.stage in GUARDS",
        "False",
        "those_that_guard",
    ),
    Mutant(
        "health-passes-guards",
        f"{HEALTH}::_ask",
        "call.answered_by is not None",
        "False",
        "answer_of_a_plugins",
    ),
    Mutant("health-heeds-answers", "_health.py::_complaint", "said.lower() in BAD", "False"),
    Mutant(
        "health-heeds-answers", "_health.py::_complaint", "isinstance(found, Exception)", "False"
    ),
    Mutant(
        "health-ends-in-time",
        f"{HEALTH}::check_all",
        "wait_for_all(asked.values(), rounds * (seconds + GRACE))",
        "wait_for_all(asked.values())",
        "left_behind",
    ),
    Mutant(
        "health-ends-in-time",
        f"{HEALTH}::_check",
        "return ServiceHealth(False, _sentence(error), time.time())",
        "raise",
        "cannot_be_composed",
    ),
    Mutant(
        "status-wants-the-token",
        f"{STATUS_APP}::StatusApp.read",
        "not is_known or scheme.lower() != 'bearer'",
        "False",
        "without_the_token",
    ),
    Mutant(
        "status-wants-the-token",
        f"{STATUS_APP}::StatusApp._is_for_us",
        "return False",
        "return True",
        "elses_dns",
    ),
]
OPENING = [
    Mutant(
        "opening-is-all-or-nothing",
        f"{CHANNEL}::Channel._open",
        "with_notes(error, await self._release(), self.masked)",
        "pass",
        "third_plugin",
    ),
    Mutant(
        "opening-is-all-or-nothing",
        f"{CHANNEL}::Channel._open",
        "if await self._call(layer, 'flext_connect', view):",
        "if await self._call(layer, 'flext_connect', view) or True:",
        "could_not_connect",
    ),
    Mutant(
        "disconnect-comes-first",
        f"{CHANNEL}::Channel._ends",
        "self._connected.pop()",
        "self._connected.pop(0)",
        "innermost_first",
    ),
    Mutant(
        "disconnect-comes-first",
        f"{CHANNEL}::Channel._disconnect",
        "scope.set(None)",
        "scope.set(scope.get())",
        "no_call",
    ),
    Mutant(
        "disconnect-may-send",
        f"{CHANNELS}::_Group.close",
        "each.service.name not in targets",
        "each is each",
        "closes_after_those",
    ),
    Mutant(
        "disconnect-may-send",
        f"{CHANNELS}::Channels.get",
        "(self.closed or self.refuses_new()) and not is_last",
        "self.closed",
        "was_not_open",
    ),
    Mutant(
        "disconnect-may-send",
        f"{CHANNEL}::Channel.wire",
        "if self._closed and not self.is_changing:",
        "if self._closed:",
        "its_own_service",
    ),
    Mutant(
        "opens-once",
        f"{CHANNEL}::Channel.is_changing",
        "self._is_changing and self in _changing.get()",
        "self._is_changing",
        "nobody_gets_through",
    ),
    Mutant(
        "disconnected-takes-no-part",
        f"{CHANNEL}::Channel._disconnect",
        "self.gone |= {id(layer.plugin)}",
        "pass",
    ),
    Mutant(
        "disconnected-takes-no-part",
        f"{CHANNEL}::Channel._disconnect",
        "self._receivers = [each for each in self._receivers if each[0] is not layer]",
        "pass",
    ),
    Mutant(
        "callers-mistake",
        f"{HTTPX_MESSAGES}::HttpxMessages.waits",
        "seconds <= 0",
        "False",
        "cannot_be_made",
    ),
    Mutant(
        "callers-mistake",
        "_wire.py::failure_of",
        "getattr(error, OF_CALLER, False)",
        "False",
        "what_a_body_raises",
    ),
    Mutant(
        "callers-mistake",
        f"{HTTPX_WIRE}::HttpxWire._dispatch",
        "isinstance(native.stream, self._lib.ByteStream)",
        "True",
        "what_a_file_raises",
    ),
    Mutant(
        "plain-without-plugins",
        f"{REQUESTS_WIRE}::_is_whole",
        'not (hasattr(body, "__iter__") or hasattr(body, "__getitem__"))',
        "False",
        "body_of_any_kind",
    ),
    Mutant(
        "callers-mistake",
        f"{REQUESTS_WIRE}::_is_whole",
        "isinstance(body, (bytes, str, type(None)))",
        "True",
        "what_a_body_raises",
    ),
    Mutant(
        "callers-mistake",
        f"{REQUESTS_WIRE}::_check",
        'not TOKEN.fullmatch(name.decode("latin-1") if isinstance(name, bytes) else name)',
        "False",
        "header_that_cannot_be_sent",
    ),
    Mutant(
        "callers-mistake",
        "_connections/log.py::outcome_of",
        "{None, Failure.CALLER}",
        "{None}",
        "header_that_cannot_be_sent",
    ),
    Mutant(
        "failure-is-logged",
        "_connections/log.py::ServiceLog.failed",
        "failure is not Failure.CALLER",
        "True",
        "callers_is_no_warning",
    ),
    Mutant(
        "failure-is-logged",
        "_connections/log.py::ServiceLog._warn",
        "logging.DEBUG if passed_over is None else logging.WARNING",
        "logging.WARNING",
        "warning_once",
    ),
    Mutant(
        "failure-is-logged",
        f"{CHANNEL}::Channel._end_body",
        "hops_under_way.get() is None",
        "True",
        "told_once_whoever",
    ),
    Mutant(
        "permit-wait-is-told",
        f"{PERMITS_OF}::tell_wait",
        "state = 'timed out'",
        "pass",
        "in_vain",
    ),
    Mutant(
        "permit-wait-is-told",
        f"{PERMITS_OF}::tell_wait",
        "emit = inside(call, emit)",
        "pass",
        "elsewhere",
    ),
    Mutant(
        "permit-wait-is-told",
        f"{PERMITS_OF}::Permits.acquire",
        "with line(): await self._wait(me, until, tidy)",
        "await self._wait(me, until, tidy)",
        "with_its_end",
    ),
    Mutant(
        "drained-call-is-told",
        "_connections/log.py::tell_drained",
        "call._is_drained = True",
        "pass",
        "told_once",
    ),
    Mutant(
        "drained-call-is-told",
        "_connections/channels.py::Channels.refused",
        "tell_drained(call, channel.emit)",
        "pass",
        "it_cuts",
    ),
    Mutant(
        "drained-call-is-told",
        f"{GATE}::GatedWire._drained",
        "tell_drained(call, self.receiver.emit)",
        "pass",
        "it_cuts",
    ),
    Mutant(
        "drained-call-is-told",
        f"{CHANNEL}::Channel._refuse_closed",
        "tell_drained(call, self.emit)",
        "pass",
        "operation",
    ),
    Mutant(
        "closing-drains",
        "_connections/channels.py::Channels.refuses_new",
        "self.is_draining and scope.get() is None",
        "False",
        "new_calls_are_refused",
    ),
    Mutant(
        "closing-drains",
        f"{GATE}::GatedWire._admitted",
        "not (self._closed and is_failure)",
        "True",
        "nobodys_failure",
    ),
    Mutant(
        "closing-drains",
        f"{GATE}::GatedWire.explained",
        "not (self._closed and isinstance(error, self.library.refused))",
        "True",
        "body_under_way",
    ),
    Mutant(
        "closing-drains",
        f"{CHANNEL}::Channel.exchange",
        "self.calls.append(None)",
        "pass",
        "time_that_it_needs",
    ),
    Mutant(
        "closing-runs-everything",
        f"{CHANNEL}::Channel._ends",
        "self.resources.pop()",
        "self.resources.pop(0)",
    ),
    Mutant(
        "disconnect-failures-are-told",
        f"{CHANNEL}::Channel._release",
        "interruption = interruption or error",
        "raise",
        "cancellation",
    ),
    Mutant(
        "disconnect-failures-are-told",
        f"{CHANNEL}::Channel._call",
        "if layer.observer and not opens:",
        "if False:",
        "observer",
    ),
    Mutant(
        "disconnect-failures-are-told",
        f"{CHANNELS}::_Group._with_loop",
        "raise ExceptionGroup('closing with the event loop', failures)",
        "pass",
        "exception_handler",
    ),
    Mutant(
        "no-disconnect-without-closing",
        f"{HOST}::_after_fork",
        "runtime.renew(closed=runtime.channels.closed)",
        "pass",
        "forked_child",
    ),
    Mutant(
        "closing-runs-everything",
        f"{CHANNEL}::Channel._release",
        "failed.append(error)",
        "failed.append(error); break",
    ),
]

LIFETIMES = [
    Mutant(
        "files-of-tls-are-followed",
        f"{TLS}::FileContext._look",
        "self._current, self._state = (made, state)",
        "self._state = state",
        "new_client_certificate",
    ),
    Mutant(
        "files-of-tls-are-followed",
        f"{TLS}::_state_of_file",
        "os.stat(path)",
        "os.lstat(path)",
        "kubernetes",
    ),
    Mutant(
        "files-of-tls-are-followed",
        f"{TLS}::_state",
        "Path(path).is_dir()",
        "False",
        "folder_of_authorities",
    ),
    Mutant(
        "files-of-tls-are-followed",
        f"{AIOHTTP}::AiohttpTransport.handle_async_request",
        "await asyncio.to_thread(self._files.look)",
        "self._files.look()",
        "event_loop",
    ),
    Mutant(
        "half-written-files-wait",
        f"{TLS}::FileContext._look",
        "tell_stale(self._occasions, ', '.join(self._paths), account(error))\nreturn",
        "raise",
        "not_whole",
    ),
    Mutant(
        "half-written-files-wait",
        f"{TLS}::FileContext._look",
        "if not all(state): raise FileNotFoundError",
        "pass",
        "empty_folder",
    ),
    Mutant(
        "half-written-files-wait",
        f"{REQUESTS_WIRE}::_Adapter.build_connection_pool_key_attributes",
        'host["scheme"] == "https"',
        "False",
        "not_whole",
    ),
    Mutant(
        "own-transport",
        "_clients/transports.py::_chosen",
        "service.transport_is_default",
        "True",
        "session_is_refused",
    ),
    Mutant(
        "own-transport",
        f"{HTTPX_WIRE}::HttpxWire.aclose",
        "for pool in pools if self._transport is None else [self._transport]:",
        "for pool in pools:",
        "closed_with_the_host",
    ),
    Mutant(
        "over-aiohttp",
        "_clients/transports.py::_chosen",
        "is_default and beyond_aiohttp(service)",
        "False",
        "leaves_what_it_cannot_do",
    ),
    Mutant(
        "over-aiohttp",
        f"{AIOHTTP}::Exchange.send",
        "raise ended",
        "raise aiohttp.ClientOSError",
        "nothing_is_sent_again",
    ),
    Mutant(
        "over-aiohttp",
        f"{AIOHTTP}::AiohttpTransport._url",
        "made.raw_path_qs != target",
        "False",
        "or_the_request_is_refused",
    ),
    Mutant(
        "over-aiohttp",
        f"{AIOHTTP}::Exchange.send",
        "sending.headers.clear()",
        "pass",
        "in_its_order_and_case",
    ),
    Mutant(
        "last-in-first-out",
        f"{AIOHTTP}::Connector.connect",
        '_is_readable(transport.get_extra_info("socket"))',
        "False",
        "that_the_service_has_closed",
    ),
    Mutant(
        "last-in-first-out",
        f"{HTTPX_WIRE}::Transports.lend",
        "self._idle.pop()",
        "self._idle.popleft()",
        "used_last",
    ),
    Mutant(
        "last-in-first-out",
        f"{HTTPX_WIRE}::Transports.take_back",
        "self._idle[0][0] < until",
        "False",
        "nobody_uses",
    ),
    Mutant(
        "last-in-first-out",
        f"{HTTPX_WIRE}::Loan.close",
        "each.close()",
        "pass",
        "nobody_uses",
    ),
    Mutant(
        "last-in-first-out",
        f"{HTTPX_WIRE}::SharedTransports.lend",
        "calls < self.most_calls",
        "True",
        "beyond_a_hundred",
    ),
    Mutant(
        "last-in-first-out",
        f"{HTTPX_WIRE}::SharedTransports.take_back",
        "self._is_closed or not is_whole",
        "self._is_closed",
        "leave_room",
    ),
    Mutant(
        "permits-bound-exchanges",
        f"{HTTPX_WIRE}::SharedTransports._admit",
        "sum(self._leaving.values()) + alone",
        "sum(self._leaving.values()) + self._most",
        "every_connection_of_http2_full",
    ),
    Mutant(
        "permits-bound-exchanges",
        f"{HTTPX_WIRE}::HttpxWire._over",
        'version == b"HTTP/2"',
        "True",
        "as_many_as_its_connections",
    ),
    Mutant(
        "connect-means-unsent",
        "_clients/httpx/connecting.py::Handshake.trace",
        'self.stream = details["return_value"]',
        "pass",
        "wrong_there",
    ),
    Mutant(
        "deadline-ends-a-flood",
        "_clients/requests/connections.py::WatchedSocks._connected",
        "_see(sock)",
        "pass",
        "proxy_trickles",
    ),
    Mutant(
        "deadline-frees",
        f"{HTTPX_WIRE}::HttpxWire._new_pool",
        "Elsewhere(make, expiry, most, self._gate)",
        "make()",
        "leaves_the_pool",
    ),
    Mutant(
        "cancellation-unwinds",
        "_clients/httpx/connecting.py::Connecting.aclose",
        "await steady(each.aclose())",
        "pass",
        "leaves_no_socket",
    ),
    Mutant(
        "cancellation-unwinds",
        f"{HTTPX_WIRE}::HttpxWire._too_late",
        "await stream.aclose()",
        "pass",
        "closes_while_calls_connect",
    ),
    Mutant(
        "await-comes-first",
        f"{HOST}::Pending",
        "raise AttributeError(f'no {name!r} there yet: await {self._what} first')",
        "raise AttributeError(name)",
        "says_so",
    ),
    Mutant(
        "await-comes-first",
        f"{HOST}::Pending.__init__",
        "coroutine.__qualname__ = what",
        "pass",
        "warning",
    ),
    Mutant(
        "provided-before-it-is-asked-for",
        f"{RUNTIME}::Runtime.provide",
        "if kind in kinds:",
        "if False:",
        "too_late",
    ),
    Mutant(
        "provided-before-it-is-asked-for",
        f"{RUNTIME}::Runtime._compose",
        "if len(self._shared) > made:",
        "if True:",
        "asks_anew",
    ),
    Mutant(
        "provided-before-it-is-asked-for",
        f"{RUNTIME}::Runtime._compose",
        "if len(self._shared) > made:",
        "if False:",
        "all_services_share",
    ),
    Mutant(
        "provided-once-and-fitting",
        f"{RUNTIME}::Runtime.provide",
        "if kind in self._provided:",
        "if False:",
        "stands_for_one",
    ),
    Mutant(
        "provided-once-and-fitting",
        f"{RUNTIME}::Runtime.provide",
        "is_one(value, kind)",
        "True",
        "is_an_instance",
    ),
    Mutant(
        "connections-end-with-their-loop",
        f"{CHANNELS}::Channels.get",
        "await group.keep()",
        "pass",
        "three_asyncio_runs",
    ),
    Mutant(
        "connections-end-with-their-loop",
        f"{CHANNELS}::_Group._with_loop",
        "sys.set_asyncgen_hooks(firstiter=None)",
        "pass",
        "may_still_send",
    ),
    Mutant(
        "state-per-connection",
        f"{CHANNEL}::Channel._open",
        "view.state.clear()",
        "pass",
    ),
    Mutant(
        "closing-from-elsewhere",
        f"{CHANNELS}::Channels.aclose",
        "await asyncio.to_thread(self._close_sync) if self._sync else []",
        "self._close_sync()",
        "loop_goes_on",
    ),
    Mutant(
        "fork-starts-afresh",
        f"{HOST}::_after_fork",
        "runtime.renew(closed=runtime.channels.closed)",
        "pass",
        "forked_children",
    ),
    Mutant(
        "fork-starts-afresh",
        f"{HOST}::_after_fork",
        "runtime.renew(closed=runtime.channels.closed)",
        "runtime.renew(closed=False)",
        "closed_before_a_fork",
    ),
]

ONCE = [
    Mutant(
        "once-survives-its-leader",
        f"{SINGLEFLIGHT}::SingleFlight._lead",
        """
        flight.land()
        restore(_leading, token)
        """,
        """
        _leading.reset(token)
        flight.land()
        """,
        "half_done",
    ),
    Mutant(
        "once-survives-its-leader",
        f"{SINGLEFLIGHT}::Flight.is_lost",
        "not self._loop.is_running()",
        "False",
        "half_done",
    ),
    Mutant(
        "once-survives-its-leader",
        f"{SINGLEFLIGHT}::SingleFlight.once",
        "if not flight.abandoned:",
        "if True:",
        "leader",
    ),
    Mutant(
        "once-key",
        "_connections/connection.py::Connection.once",
        "type(plugin) if shared else self._name",
        "type(plugin)",
        "instance_or_if_shared",
    ),
    Mutant(
        "once-key",
        "_connections/connection.py::Connection.once",
        "type(plugin) if shared else self._name",
        "self._name",
        "instance_or_if_shared",
    ),
    Mutant(
        "once-never-deadlocks",
        f"{SINGLEFLIGHT}::SingleFlight._would_deadlock",
        "return stuck or not needs.isdisjoint(mine)",
        "return stuck",
        "wait_for_itself|wait_for_each_other",
    ),
    Mutant(
        "once-never-deadlocks",
        f"{SINGLEFLIGHT}::SingleFlight._would_deadlock",
        "return stuck or not needs.isdisjoint(mine)",
        "return not needs.isdisjoint(mine)",
        "own_loop_thread",
    ),
    Mutant(
        "once-never-deadlocks",
        f"{SINGLEFLIGHT}::SingleFlight._would_deadlock",
        "if each.loop_thread in self._blocked:",
        "if False:",
        "at_one_remove",
    ),
]

PERMITS = [
    Mutant("permit-bounds", f"{PERMITS_OF}::Permits.take", "self._free.pop()", "pass", "capacity"),
    Mutant(
        "permit-bounds",
        f"{PERMITS_OF}::Holding.release",
        "permits = self._permits.pop()",
        "permits = self._permits[0]; permits.give()",
        "exceed_the_capacity",
    ),
    Mutant(
        "permit-key",
        f"{CONNECTION}::Connection.permit",
        "type(plugin) if shared else self._name",
        "type(plugin)",
        "instance_or_if_shared",
    ),
    Mutant(
        "permit-key",
        f"{CONNECTION}::Connection.permit",
        "type(plugin) if shared else self._name",
        "self._name",
        "instance_or_if_shared",
    ),
    Mutant(
        "permit-key",
        f"{PERMITS_OF}::KeyedPermits.of",
        "if permits.capacity != capacity:",
        "if False:",
        "another_capacity",
    ),
    Mutant(
        "permit-key",
        f"{PERMITS_OF}::KeyedPermits.__init__",
        "deque(maxlen=REMEMBERED)",
        "deque()",
        "forgotten",
    ),
    Mutant(
        "permit-in-turn",
        f"{PERMITS_OF}::Permits.take",
        "if self._line:",
        "if False:",
        "newcomer",
    ),
    Mutant(
        "permit-in-turn",
        f"{PERMITS_OF}::Permits._grant",
        "(each for each in self._line if self._hears(each))",
        "(each for each in reversed(self._line) if self._hears(each))",
        "first",
    ),
    Mutant(
        "permit-refuses",
        f"{PERMITS_OF}::Permits._join",
        "raise LineFull",
        "pass",
        "queue_allows",
    ),
    Mutant(
        "permit-refuses",
        f"{PERMITS_OF}::hold",
        "wait = least(seconds, left)",
        "wait = seconds",
        "deadline",
    ),
    Mutant(
        "permit-refuses",
        f"{PERMITS_OF}::hold",
        "current is not None and left is not None and (wait == left)",
        "False",
        "deadline",
    ),
    Mutant(
        "permit-comes-back-once",
        f"{PERMITS_OF}::Holding.release",
        "permits = self._permits.pop()",
        "permits = self._permits[0]",
        "however_often",
    ),
    Mutant(
        "permit-comes-back-once",
        f"{PERMITS_OF}::Permit.__del__",
        "self._holding.release()",
        "pass",
        "dropped_comes_back",
    ),
    Mutant(
        "permit-comes-back-once",
        f"{PERMITS_OF}::Permits._settle",
        "self._lock.acquire(blocking=False)",
        "self._lock.acquire(timeout=1) or self._lock.acquire(timeout=60)",
        "waits_for_nobody",
    ),
    Mutant(
        "permit-comes-back-once",
        f"{PERMITS_OF}::Permits._settle",
        "while not self._is_settled and self._lock.acquire(blocking=False):",
        "if self._lock.acquire(blocking=False):",
        "looks_again",
    ),
    Mutant(
        "permit-comes-back-once",
        f"{PERMITS_OF}::Permits._take_back",
        "each.release()",
        "pass",
        "was_closed",
    ),
    Mutant(
        "permit-waiters-may-leave",
        f"{PERMITS_OF}::Permits.acquire",
        "self._leave(me)",
        "pass",
        "cancelled|too_long",
    ),
    Mutant(
        "permit-waiters-may-leave",
        f"{PERMITS_OF}::Permits._strike_out",
        "self._free_one()",
        "pass",
        "while_it_is_cancelled",
    ),
    Mutant(
        "permit-passes-over",
        f"{PERMITS_OF}::Permits._settle",
        "if self._granted:",
        "if False:",
        "passed_over",
    ),
    Mutant(
        "permit-passes-over",
        f"{PERMITS_OF}::Permits._hears",
        "each not in self._late",
        "True",
        "passed_over",
    ),
    Mutant(
        "permit-passes-over",
        f"{PERMITS_OF}::Permits._pass_over",
        "self._line.move_to_end(one)",
        "pass",
        "keeps_its_place",
    ),
    Mutant(
        "permit-never-deadlocks",
        f"{PERMITS_OF}::hold",
        "permits.are_all_in(loop)",
        "False",
        "holds_all",
    ),
    Mutant(
        "permit-never-deadlocks",
        f"{WAITING}::AsyncWaker.is_away",
        "self.loop in _standing",
        "False",
        "behind_the_loop",
    ),
    Mutant(
        "permit-never-deadlocks",
        f"{PERMITS_OF}::hold",
        "any((each.is_of(permits) for each in current.held))",
        "False",
        "gets_it_again",
    ),
    Mutant(
        "permit-never-deadlocks",
        f"{CHANNEL}::Channel.exchange",
        "outer.held if outer else ()",
        "()",
        "gets_it_again",
    ),
    Mutant(
        "permit-never-deadlocks",
        f"{CHANNEL}::Channel.operate",
        "outer.held if outer else ()",
        "()",
        "gets_it_again",
    ),
    Mutant(
        "permit-never-deadlocks",
        f"{CHANNEL}::Channel.exchange",
        "restore(scope, token)",
        "pass",
        "not_for_the_next_call",
    ),
    Mutant(
        "fork-starts-afresh",
        f"{RUNTIME}::Runtime.renew",
        "self.permits = KeyedPermits()",
        "self.permits = getattr(self, 'permits', None) or KeyedPermits()",
        "all_permits",
    ),
]

OTHER_SERVICES = [
    Mutant(
        "no-part-in-its-own",
        f"{CONNECTION}::Connection.request",
        "(outer.absent if outer else frozenset()) | {id(self._layer.plugin)}",
        "(outer.absent if outer else frozenset()) | set()",
        "log_in_at_itself",
    ),
    Mutant("no-login-loops", f"{RUNTIME}::Runtime._compose", "if name in path:", "if False:"),
]

OPERATIONS = [
    Mutant(
        "operation-failures",
        "_wire.py::failure_of",
        "wire.messages.failure(error)",
        "Failure.READ if isinstance(error, OSError) else None",
        "class_says_nothing",
    ),
    Mutant(
        "operation-failures",
        "testing/_conformance/exchanges.py::_sign_of_the_wire",
        "each is OSError or OF_THE_WIRE.search(each.__name__)",
        "each is OSError",
        "looks_like_the_wires",
    ),
    Mutant(
        "sync-resources-are-driven",
        f"{CONNECTION}::Connection.iterate",
        "self.drive(items.aclose())",
        "pass",
        "page_by_page",
    ),
    Mutant(
        "sync-resources-are-driven",
        f"{CONNECTION}::Connection.drive",
        "if self.asynchronous:",
        "if False:",
        "event_loop",
    ),
    Mutant(
        "operation-work",
        f"{WORK}::apply_any",
        "await result if inspect.isawaitable(result) else result",
        "result",
        "awaited_if_it_can_be",
    ),
    Mutant(
        "operation-deadline",
        "_deadline.py::Limit.__exit__",
        "error is None or isinstance(error, Exception)",
        "error is None",
        "is_the_cause",
    ),
    Mutant(
        "operation-deadline",
        "_deadline.py::Limit.__exit__",
        "error is None or isinstance(error, Exception)",
        "isinstance(error, Exception)",
        "whatever_came_of_it",
    ),
    Mutant(
        "operation-deadline",
        "_deadline.py::Limit.__exit__",
        "isinstance(error, DeadlineExceeded)",
        "False",
        "is_believed",
    ),
    Mutant(
        "operation-names-its-plugin",
        f"{CONNECTION}::Connection._attribute",
        "blame(error, layer, 'perform', service, self.call, self._channel)",
        "pass",
        "names_the_plugin|told_as_a_refusal",
    ),
    Mutant(
        "operation-names-its-plugin",
        f"{CONNECTION}::Connection._attribute",
        "error.add_note(note)",
        "pass",
        "by_a_note",
    ),
    Mutant(
        "operation-names-its-plugin",
        f"{CONNECTION}::Connection._attribute",
        "with suppress(Exception):",
        "if True:",
        "takes_no_notes",
    ),
]

CALL = [
    Mutant("call-on-everything", f"{HOP}::hop", "response.extensions[CALL] = call", "pass"),
    Mutant(
        "call-on-everything", f"{HOP}::hop", "harmless(setattr, error, 'flext_call', call)", "pass"
    ),
    Mutant(
        "correlation-id-is-sent",
        f"{MESSAGES}::ServiceMessages.adopt",
        "headers[CORRELATION] = call.correlation_id",
        "pass",
        "id_of_its_own",
    ),
    Mutant(
        "options-nest",
        "_call.py::options",
        "_options.set(still)",
        "pass",
        "whichever_ends_first",
    ),
    Mutant(
        "options-are-checked",
        "_call.py::_seconds",
        "isinstance(deadline, bool) or not isinstance(deadline, Real)",
        "not isinstance(deadline, Real)",
        "no_number",
    ),
    Mutant(
        "options-are-checked",
        "_call.py::_seconds",
        "-math.inf if deadline < 0 else math.inf",
        "1.0",
        "nothing_can_end",
    ),
    Mutant(
        "options-are-checked",
        "_call.py::_seconds",
        "0 < seconds <= threading.TIMEOUT_MAX",
        "0 < seconds",
        "nothing_can_end",
    ),
    Mutant(
        "options-are-checked",
        "_call.py::options",
        "not isinstance(value, str)",
        "False",
        "no_text",
    ),
    Mutant(
        "correlation-id-is-checked",
        f"{MESSAGES}::ServiceMessages.adopt",
        "(own := correlation(headers[CORRELATION])) is not None",
        "(own := headers[CORRELATION]) is not None",
        "header_that_is_none",
    ),
    Mutant(
        "correlation-id-is-checked",
        "_call.py::_bound",
        "found = correlation(value)",
        "found = str(value)",
        "came_from_outside",
    ),
]

WAITING = [
    Mutant(
        "awaitables-are-awaited",
        "testing/_conformance/rules.py::_own_garbage",
        "warnings.filterwarnings('always', NEVER_AWAITED, RuntimeWarning)",
        "warnings.filterwarnings('ignore', NEVER_AWAITED, RuntimeWarning)",
        "misses_each_awaitable",
    ),
    Mutant(
        "awaitables-are-awaited",
        "testing/_conformance/remains.py::Remains.test_what_connection_offers_is_awaited",
        "sys.set_coroutine_origin_tracking_depth(16)",
        "pass",
        "misses_each_awaitable",
    ),
    Mutant(
        "nothing-waits-in-tests",
        f"{CONNECTION}::Connection.sleep",
        "if not self.waits: seconds = 0",
        "pass",
        "at_once",
    ),
    Mutant(
        "nothing-waits-in-tests",
        f"{CONNECTION}::Connection.waits",
        "self._channel.runtime.waits",
        "True",
        "counts_nothing",
    ),
    Mutant(
        "nothing-waits-in-tests",
        f"{CONNECTION}::Connection.permit",
        "hold(permits, queue, timeout, waiting_for, tidy, line, asynchronous=asynchronous) "
        "if always or self.waits else hold_nothing()",
        "hold(permits, queue, timeout, waiting_for, tidy, line, asynchronous=asynchronous)",
        "gets_a_permit",
    ),
    Mutant(
        "nothing-waits-in-tests",
        "testing/_waiting.py::without_waiting",
        "runtime.waits = before",
        "pass",
        "outermost_block",
    ),
]

PLUGINS = [
    Mutant("ldap", f"{LDAP}/entry.py::spell", "name.lower()", "name", "attribute_is_found"),
    Mutant(
        "ldap",
        f"{LDAP}/naming.py::_spelled",
        "name if fold(before + name + after) == fold(value) else None",
        "None",
        "that_the_directory_spells_whatever",
    ),
    Mutant(
        "ldap",
        f"{LDAP}/session.py::_whole",
        "while last is not None:",
        "while False:",
        "comes_in_ranges",
    ),
    Mutant(
        "ldap",
        f"{LDAP}/session.py::_speaking",
        "not self.has_sent and (not isinstance(error, LDAPCommunicationError))",
        "False",
        "cannot_be_sent_is_told_at_the_call",
    ),
    Mutant(
        "meltano",
        f"{MELTANO}/pipelines.py::_submit",
        "is_header_value(key)",
        "True",
        "no_header_can_carry",
    ),
    Mutant(
        "metrics",
        f"{METRICS}/instruments.py",
        "len(self._values) >= MOST",
        "False",
        "however_many_routes",
    ),
    Mutant(
        "metrics",
        f"{METRICS}/instruments.py",
        "len(known) >= MOST_SERIES",
        "False",
        "the_values_of_labels_combine",
    ),
    Mutant(
        "oracle",
        f"{ORACLE}/transaction.py::_bound",
        "all((isinstance(name, str) and name for name in bound))",
        "True",
        "cannot_be_sent_is_told_at_the_call",
    ),
]

MUTANTS = [
    *(*REQUEST, *COOKIES, *ORDER, *SAME_FAILURES, *FAILURE, *REFUSAL, *OBSERVER, *CANCELLATIONS),
    *(*DEADLINE, *BODY, *FINDING, *OPENING, *LIFETIMES, *ONCE, *PERMITS, *OTHER_SERVICES),
    *(*CALL, *WAITING, *OPERATIONS, *READING, *TEXTS, *LOOKING_IN, *PLUGINS),
]
