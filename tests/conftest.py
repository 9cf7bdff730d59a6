"""What tests import from this folder; their fixtures are the kit's, `flext_plugins.testing`."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
# A property says nothing about time, and a busy machine may take a second for an example.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
