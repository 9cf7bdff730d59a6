"""Programs that behave like Meltano and dbt as far as is asked of them, in a fiftieth of the time.

What they do is in the environment, as it is for the real ones: `TAP_SHOP_DO` is a list of steps.
"""

import sys
from pathlib import Path

MELTANO = r"""
import json, os, signal, subprocess, sys, time, uuid
from pathlib import Path

words = sys.argv[1:]
blocks = words[words.index("run") + 1:]
tap = next((each for each in blocks if each.startswith("tap-")), "tap-none")
prefix = tap.upper().replace("-", "_") + "_"
mine = {name: value for name, value in os.environ.items() if name.startswith(prefix)}
folder = Path(".meltano/run") / tap
folder.mkdir(parents=True, exist_ok=True)
settings = folder / f"tap.{uuid.uuid4()}.config.json"
settings.write_text(json.dumps(mine))
with open("calls.jsonl", "a") as file:
    extra = {name: open(value).read() for name, value in mine.items() if "__" in name}
    modes = {name: oct(os.stat(value).st_mode & 0o777) for name, value in mine.items() if "__" in name}
    file.write(json.dumps({"words": words, "settings": mine, "extra": extra, "modes": modes,
                           "environment": sorted(os.environ)}) + "\n")

def say(event, **more):
    print(json.dumps({"event": event, "level": "info", **more}), file=sys.stderr, flush=True)

code, child = 0, None
for step in json.loads(mine.get(prefix + "DO", "[]")):
    kind, value = (step + [None])[:2]
    if kind == "records":
        for stream, number in value.items():
            say("METRIC", metric_info={"metric": "record_count", "value": number, "tags": {"stream": stream}})
    elif kind == "stderr":
        say(value, stdio="stderr", name=tap)
    elif kind == "garbage":
        sys.stdout.buffer.write(b"\xff{not json\n" * value); sys.stdout.flush()
    elif kind == "flood":
        line = "x" * 1000
        for _ in range(value): print(line)
    elif kind == "say":
        print("\n".join(value), file=sys.stderr, flush=True)
    elif kind == "escape":
        child = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(60)"], start_new_session=True)
        Path("child.pid").write_text(str(child.pid))
    elif kind == "long":
        print("y" * value)
    elif kind == "child":
        child = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(600)"])
        Path("child.pid").write_text(str(child.pid))
    elif kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif kind == "ready":
        Path("ready").write_text(str(os.getpid()))
    elif kind == "sleep":
        time.sleep(value)
    elif kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "fail":
        code = 1
        say("Block run completed", success=False, err="Extractor failed", exit_codes={"extractors": value})
if not code:
    say("Block run completed", success=True, err=None)
settings.unlink()
sys.exit(code)
"""

DBT = r"""
import json, os, sys, time
from pathlib import Path

words = sys.argv[1:]
folder = Path(words[words.index("--project-dir") + 1])
Path("dbt-calls.jsonl").open("a").write(json.dumps({"words": words}) + "\n")
wrong = json.loads(os.environ.get("DBT_WRONG", "[]"))
results = [{"unique_id": name, "status": "fail"} for name in wrong]
results.append({"unique_id": "model.shop.customers", "status": "success"})
if "DBT_SILENT" not in os.environ:
    (folder / "target").mkdir(exist_ok=True)
    (folder / "target/run_results.json").write_text(json.dumps({"results": results}))
print(json.dumps({"info": {"level": "info", "msg": "Done."}}))
sys.exit(1 if wrong else 0)
"""


def program(folder: Path, name: str, text: str) -> Path:
    """Write a program, which starts in 20 ms."""
    file = folder / name
    file.write_text(f"#!{sys.executable} -IS\n{text}")
    file.chmod(0o755)
    return file
