"""What others offer for the same work, put together as their documentations say.

A peer has `sync(signals, stack, url)`, which gives a function that gets `url` once, or
`asynchronous(signals, stack, url, runner)`, which gives one to await, or both. What they open is
closed with `stack`; spans and series go to `signals`. Where there is `asking`, it makes of a client
what sends the request in place of `client.get`.
"""

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = f"Bearer {TOKEN}"
