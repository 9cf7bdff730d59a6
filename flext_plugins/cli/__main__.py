"""`python -m flext_plugins.cli` is `flext-plugins`."""

from . import main

main()
