"""Makes a plugin from the template, as cookiecutter itself would."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flext_plugins.cli import _display as display

if TYPE_CHECKING:
    from collections.abc import Mapping

ADVICE = "flext-plugins new needs the extra `new` of flext-plugins"
PACKAGED = Path(__file__).with_name("cookiecutter-plugin")
CHECKOUT = Path(__file__).parents[2] / PACKAGED.name


def make(answers: Mapping[str, str], output: Path, *, asks: bool) -> Path:
    """Make a plugin in a new folder of `output`, and return that folder.

    Args:
        answers: by the names that the template's cookiecutter.json has.
        output: made if it is not there.
        asks: whether to ask for everything, with `answers` offered as defaults.

    Raises:
        SystemExit: it cannot be made; what is wrong has been told.
    """
    for name, answer in answers.items():
        if any(each in answer for each in ("{{", "{%", "{#")):
            display.complain(f"{name}: {{{{, {{% and {{# mean something in a template")
            sys.exit(1)
    cookiecutter, exceptions = _cookiecutter()
    # It logs with a traceback what its hook has told in a line.
    logging.getLogger("cookiecutter").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # for the copies that cookiecutter leaves behind
        template = Path(folder, PACKAGED.name)
        # Without what pip has compiled, which would be taken for a part of the template.
        shutil.copytree(
            PACKAGED if PACKAGED.is_dir() else CHECKOUT,
            template,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        try:
            return Path(
                cookiecutter(
                    str(template),
                    no_input=not asks,
                    extra_context=dict(answers),
                    output_dir=str(output),
                )
            )
        except exceptions.FailedHookException:
            sys.exit(1)
        except exceptions.OutputDirExistsException as error:
            problem = str(error).removeprefix("Error: ")
        except exceptions.CookiecutterException as error:
            problem = str(getattr(error, "message", error))  # its `str` has all of the template
        except OSError as error:  # also of its replay file, in the user's home
            problem = str(error)
        finally:
            tempfile.tempdir = None
    display.complain(display.visible(problem))
    sys.exit(1)


def _cookiecutter() -> tuple[Any, Any]:
    """Cookiecutter's function, and the module of its errors; or say what to install."""
    try:
        from cookiecutter import exceptions, main  # type: ignore[import-untyped]  # noqa: PLC0415 - so that a missing extra is told in one line
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cookiecutter":
            raise
        sys.exit(ADVICE)
    return main.cookiecutter, exceptions
