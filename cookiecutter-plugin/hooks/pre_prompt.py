"""Offers the name that git knows as the author."""

import json
import subprocess
from pathlib import Path

try:
    asked = subprocess.run(
        ["git", "config", "user.name"], capture_output=True, encoding="utf-8", check=False
    )
    author = asked.stdout.strip()
except (OSError, UnicodeError):  # there is no git
    author = ""
if author:
    file = Path("cookiecutter.json")
    answers = json.loads(file.read_text(encoding="utf-8"))
    answers["author"] = author
    file.write_text(json.dumps(answers), encoding="utf-8")
