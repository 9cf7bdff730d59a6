"""What tests import from this folder; their fixtures are the kit's, `flext_plugins.testing`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
