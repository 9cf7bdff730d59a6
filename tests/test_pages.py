"""Every page works for its reader, who has an empty environment, what it installs and starts."""

from __future__ import annotations

import os

import httpx
import pytest
import reader
from environments import ROOT, Broken, Environments, run

pytestmark = pytest.mark.slow

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("contrib/*/README.md")]
LONGEST_FIRST = sorted(filter(reader.is_run, PAGES), key=lambda page: -page.stat().st_size)
NOT_HERE = ("flext_plugins_devstack.NotInstalled: ", "curl: not found")

CORE = "$ pip install dist/flext_plugins-1.0.0-py3-none-any.whl"
DEVSTACK = f"{CORE} dist/flext_plugins_devstack-1.0.0-py3-none-any.whl"
GET = "import httpx\nhttpx.get('http://localhost:8080/health').raise_for_status()"


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """One for all processes of a run."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with Environments(shared / "environments").open() as opened:
        yield opened


@pytest.fixture
def read(environments, tmp_path):
    """Reads a page of those blocks: `kind`, a line end, the text."""

    def read_(*blocks):
        page = tmp_path / "page.md"
        page.write_text("# Page\n\n" + "\n".join(f"```{block}\n```\n" for block in blocks))
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        environments.read(page, folder)
        return folder

    return read_


@pytest.mark.parametrize("page", LONGEST_FIRST, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_works_with_what_it_installs_and_starts(page, environments, tmp_path):
    problem = ""
    try:
        environments.read(page, tmp_path)
    except Broken as broken:
        problem = str(broken)
    if any(each in problem for each in NOT_HERE) and not os.environ.get("CI"):
        pytest.skip("a program is not installed; see tools/servers.sh")
    if problem:
        pytest.fail(problem, pytrace=False)


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        (
            [f"console\n{CORE}", "python\nimport flext_plugins_devstack"],
            r"page.md\", line 8, in <module>\n.*\nModuleNotFoundError: .*'flext_plugins_devstack'",
        ),
        (
            ["console\n$ pip install dist/flext_plugins_retry-1.0.0-py3-none-any.whl"],
            "No matching distribution found for flext-plugins<2,>=1",
        ),
        ([f"console\n{DEVSTACK}", f"python\n{GET}"], r"httpx.ConnectError: .*refused"),
        (
            [f"console\n{CORE}\n$ ruff --version\nruff 0.17.6"],
            r"page.md:5: `ruff --version` prints\n.*ruff: not found",
        ),
        (
            [f"console\n{CORE}", "console\n$ echo one\ntwo"],
            r"page.md:8: `echo one` prints\none\n\nand not\ntwo\n",
        ),
        (
            [f"console\n{CORE}", "cobol\nSTOP RUN."],
            r"nothing runs such a block\n.*page.md:7: the cobol",
        ),
        (
            [f"console\n{CORE}", "toml\n[services.a]\nbase_url = 7"],
            r"base_url: .*\n.*page.md:7: the toml that begins here",
        ),
    ],
    ids=[
        "imports what it does not install",
        "leaves a distribution of ours to an index",
        "talks to a server that it does not start",
        "uses a program that only developers have",
        "shows what is not printed",
        "has a block that nothing runs",
        "configures what is not valid",
    ],
)
def test_a_page_fails_that(read, blocks, problem):
    with pytest.raises(Broken, match=problem):
        read(*blocks)


def test_a_page_has_the_servers_that_it_starts_as_long_as_it_is_read(read):
    folder = read(
        "toml\n[services.flexcore]\nbase_url = 'http://localhost:8080'",
        f"console\n{DEVSTACK}\n$ flext-devstack up --protected &",
        f"python\n{GET}",
        "python\nfrom flext_plugins import Host\n"
        "with Host.from_file('flext.toml') as host:\n"
        "    assert host.connect('flexcore').get('/api/v1/flexcore/plugins').status_code == 401",
        "python\nfrom pathlib import Path\n_ = Path('address').write_text('http://127.0.0.1:8080')",
    )
    address = (folder / "address").read_text()
    assert not address.endswith(":8080")
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_a_page_is_one_program_and_one_shell_in_one_folder(read):
    read(
        f"console\n{CORE}\n$ export COLOUR='dark blue'\n$ mkdir sub && cd sub",
        "python\n# colours.py\nimport os\nCOLOUR = os.environ['COLOUR']",
        "python\nfrom pathlib import Path\nhere = Path.cwd()",
        "python\nfrom colours import COLOUR\nassert (COLOUR, here.name) == ('dark blue', 'sub')",
        "console\n$ cd .. && python -c 'import os; print(os.getenv(\"COLOUR\"), os.listdir())' | sort\n"
        "dark blue ['sub']",
        "console\n$ cat /run/secrets/flext\nflexcore100",
    )


def test_what_others_wrote_is_there_as_constraints_txt_pins_it(environments, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"```console\n{DEVSTACK}\n```\n")
    program = "from importlib.metadata import distributions as all\nfor each in all(): print(f'{each.name}=={each.version}')"
    listed = run([environments.of(page) / "bin/python", "-c", program], tmp_path, {}, 60).split()
    pins = {each.lower() for each in (ROOT / "constraints.txt").read_text().split()}
    others = {each.lower() for each in listed if not each.startswith(("flext-plugins", "pip=="))}
    assert len(others) > 20
    assert others <= pins
    assert {each for each in listed if each.startswith("flext")} == {
        "flext-plugins==1.0.0",
        "flext-plugins-devstack==1.0.0",
    }
