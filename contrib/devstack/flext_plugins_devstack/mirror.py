"""Runs seerdb's Mirror with its own command line, in an environment that has seerdb."""

import sys
from typing import Any

OLD, NEW = "ELSE $1 IS JSON END", "ELSE $1 IS NOT NULL END"


def without_is_json(value: Any) -> Any:
    """Replace PostgreSQL 16's IS JSON in a string, or in those of a list or tuple."""
    if isinstance(value, str):
        return value.replace(OLD, NEW)
    if isinstance(value, list | tuple) and any(isinstance(each, str) for each in value):
        return type(value)(without_is_json(each) for each in value)
    return value


def main(arguments: list[str]) -> None:
    """Install the Mirror's functions in the database, and serve.

    Raises:
        SystemExit: they cannot be installed.
    """
    import psycopg  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from seerdb.server import launcher  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from seerdb.server.backends import postgres  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    with psycopg.connect(arguments[-1]) as connection:
        if connection.info.server_version < 160000:
            for name, value in list(vars(postgres).items()):
                if not name.startswith("__"):
                    setattr(postgres, name, without_is_json(value))
        # Sessions would do it, and the first of them, where they are several at once, together.
        launcher.build(arguments).backend_factory().close()
        (made,) = connection.execute("select to_regprocedure('sys.ora_is_json(text)')").fetchone()
    if made is None:
        sys.exit("the Mirror could not install its functions; PostgreSQL's log says why")
    launcher.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
