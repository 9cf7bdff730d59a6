"""Trips over an answer that it did not expect, as an observer."""

from flext_plugins import Stage, hookimpl


class Wrong:
    rule = "test_cancellation_and_errors_unwind_it"
    seen = ("as an observer it raised KeyError(404) in flext_response at observing.py:",)
    stage = Stage.CALL
    observer = True

    @hookimpl
    def flext_response(self, response):
        self.count({200: 0, 201: 0, 202: 0}, response.status_code)

    def count(self, statuses, status):
        statuses[status] += 1
