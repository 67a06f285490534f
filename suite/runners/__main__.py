"""``python -m suite.runners TOKEN [DEVICE]``: what a framework sees on this machine, in a line."""

import sys

from suite.errors import SuiteError
from suite.runners import base

if __name__ == "__main__":
    token, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "cpu"
    try:
        runner = base.find(token)("cuda" if device == "cuda" else "cpu", base.Threads(intra=1, inter=1), 0)
    except SuiteError as error:
        sys.exit(str(error))
    seen = runner.devices()
    modes = [mode if (why := runner.missing(mode)) is None else f"no {mode} ({why})" for mode in runner.modes]
    versions = runner.versions()
    first = next(iter(versions))
    print(f"{first} {versions[first]}: {'; '.join(f'{k}: {v}' for k, v in seen.items())}; modes {', '.join(modes)}")  # noqa: T201
