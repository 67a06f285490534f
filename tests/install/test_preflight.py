"""The preflight and the installation of the environments, on machines that are made up and without a network."""

import ast
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from suite.errors import MachineError
from suite.install import environments as envs
from suite.install.bootstrap import alone, install, steps
from suite.install.environments import FrameworkEnvironment, Python, choose, environments, probe, pythons
from suite.install.preflight import COSTS, ROOT, Machine, enough_disk, machine, summary, support

LINUX = Machine(
    system="Linux",
    processor="x86_64",
    libc="glibc 2.36",
    release="",
    avx=True,
    free_mb={"/home": 50_000},
    compiler="/usr/bin/g++",
    clients=("npm", "apt-get"),
)
MAC = replace(LINUX, system="Darwin", processor="arm64", libc="", release="14.5", avx=None)
GOOD = Python("/usr/bin/python3.12", (3, 12, 1))
OLD = Python("/usr/bin/python3", (3, 8, 18), flaw="is not 3.11, 3.12 or 3.13")


def test_linux_on_x86_64_is_tested() -> None:
    assert support(LINUX) == "tested"
    assert support(replace(LINUX, avx=None)) == "tested"


@pytest.mark.parametrize("other", [replace(LINUX, processor="aarch64", avx=None), MAC])
def test_arm_machines_should_work_but_are_said_to_be_untested(other: Machine) -> None:
    assert support(other) == "should work, untested"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (replace(LINUX, system="Windows"), "WSL2 or Docker"),
        (replace(LINUX, system="MINGW64_NT-10.0"), "WSL2 or Docker"),
        (replace(LINUX, processor="i686"), "no builds for Linux on i686"),
        (replace(LINUX, processor=""), "an unknown processor"),
        (replace(LINUX, system="FreeBSD"), "no builds for FreeBSD"),
        (replace(LINUX, libc=""), "not glibc"),
        (replace(LINUX, libc="glibc 2.17"), "this is glibc 2.17"),
        (replace(LINUX, avx=False), "AVX"),
        (replace(MAC, processor="x86_64"), "no builds for Darwin on x86_64"),
        (replace(MAC, release="13.6"), "macOS 14 or later"),
    ],
)
def test_a_machine_that_cannot_work_is_refused_with_the_reason(other: Machine, says: str) -> None:
    with pytest.raises(MachineError, match=says) as refused:
        support(other)
    assert refused.value.way_out


def test_every_file_system_that_is_written_needs_room() -> None:
    enough_disk(LINUX, 50_000)
    with pytest.raises(MachineError, match=r"/cache: 1\.0 GB are free and 9\.6 GB are needed"):
        enough_disk(replace(LINUX, free_mb={"/home": 50_000, "/cache": 1_000}), 9_600)


def test_the_first_interpreter_that_can_be_used_is_chosen() -> None:
    assert choose([OLD, GOOD, replace(GOOD, path="/opt/python3.11")]) is GOOD


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ([], "no Python runs here"),
        ([OLD], r"Python 3\.8\.18 at /usr/bin/python3 is not 3\.11, 3\.12 or 3\.13"),
        ([OLD, replace(GOOD, flaw="lacks the module ensurepip")], r"apt-get install python3\.12-venv"),
    ],
)
def test_without_a_usable_interpreter_the_refusal_names_the_way_out(candidates: list[Python], says: str) -> None:
    with pytest.raises(MachineError, match=says):
        choose(candidates)


def test_a_shim_without_a_target_is_no_interpreter(tmp_path: Path) -> None:
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho no such version >&2\nexit 127\n", encoding="utf-8")
    shim.chmod(0o755)
    assert probe(str(shim)) is None
    assert probe(str(tmp_path / "absent")) is None


def test_the_running_interpreter_is_asked_first() -> None:
    first = next(pythons())
    assert first.version == sys.version_info[:3]
    assert not first.flaw


def test_the_summary_says_what_it_will_cost_and_what_will_be_missing() -> None:
    lines = summary(replace(LINUX, compiler=None, clients=()), GOOD, "tested", ["core", "torch", "toy"])
    assert lines["install"] == "core, torch, toy: 3.2 GB to download, 6.5 GB on disk, toy of unknown size"
    assert "torch.compile will be unsupported" in lines["compiler"]
    assert "skipped" in lines["clients"]
    assert "python3.12-dev" in summary(LINUX, replace(GOOD, headers=False), "tested", ["core"])["compiler"]


def test_this_machine_is_described_without_guesses() -> None:
    here = machine(ROOT)
    assert here.system == os.uname().sysname
    assert min(here.free_mb.values()) > 0


@pytest.mark.parametrize(
    "name", ["__init__", "errors", "install/__init__", "install/environments", "install/preflight", "install/bootstrap"]
)
def test_an_old_interpreter_can_read_the_preflight(name: str) -> None:
    source = (ROOT / "suite" / f"{name}.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))


@pytest.mark.parametrize("name", ["preflight", "bootstrap"])
def test_the_preflight_loads_the_standard_library_alone(name: str) -> None:
    code = f"import suite.install.{name}, sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) - set(sys.stdlib_module_names) <= {"suite", "__main__"}


@pytest.fixture
def here(tmp_path: Path) -> FrameworkEnvironment:
    """An environment named core in an otherwise empty project."""
    environment = FrameworkEnvironment(tmp_path, "core")
    environment.lock.parent.mkdir(parents=True)
    environment.lock.write_text("numpy==1\n", encoding="utf-8")
    return environment


@pytest.fixture
def lock(here: FrameworkEnvironment) -> Iterator[int]:
    with alone(here.root / ".envs") as descriptor:
        yield descriptor


@pytest.fixture
def python() -> Python:
    return next(pythons())


def venv(environment: FrameworkEnvironment) -> list[str]:
    return [sys.executable, "-m", "venv", "--without-pip", str(environment.path)]


def test_a_finished_environment_is_ready_and_imports_the_suite(
    here: FrameworkEnvironment, lock: int, python: Python
) -> None:
    assert not here.ready()
    install(here, python, [venv(here)], lock)
    assert here.ready()
    (here.root / "suite").mkdir()
    (here.root / "suite" / "__main__.py").write_text("import sys; print('suite', *sys.argv[1:])", encoding="utf-8")
    command = [here.path / "bin" / "suite", "two words"]
    assert subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout == "suite two words\n"


def test_a_changed_lock_another_place_or_a_dead_interpreter_is_not_ready(
    here: FrameworkEnvironment, lock: int, python: Python, tmp_path: Path
) -> None:
    install(here, python, [venv(here)], lock)
    moved = tmp_path / "moved"
    moved.symlink_to(here.root)
    assert not FrameworkEnvironment(moved, "core").ready()
    here.lock.write_text("numpy==2\n", encoding="utf-8")
    assert not here.ready()
    here.lock.write_text("numpy==1\n", encoding="utf-8")
    assert here.ready()
    here.python.unlink()
    assert not here.ready()


def test_a_failed_installation_shows_its_last_lines_and_leaves_no_stamp(
    here: FrameworkEnvironment, lock: int, python: Python
) -> None:
    install(here, python, [venv(here)], lock)
    fail = [sys.executable, "-c", "print('first'); print('\\n' * 9); raise SystemExit('hash mismatch')"]
    with pytest.raises(MachineError, match="hash mismatch") as failed:
        install(here, python, [venv(here), fail], lock)
    assert "UV_DEFAULT_INDEX" in failed.value.way_out
    assert not here.ready()


def test_an_interrupted_installation_is_stopped_and_made_again(
    here: FrameworkEnvironment, lock: int, python: Python
) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        install(here, python, [venv(here), sleep], lock)
    timer.join()
    assert not here.ready()
    install(here, python, [venv(here)], lock)
    assert here.ready()


def test_two_installations_take_turns(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from suite.install.bootstrap import alone\n"
        "with alone(pathlib.Path(sys.argv[1])): print('in')"
    )
    with ExitStack() as stack:
        held = stack.enter_context(ExitStack())
        held.enter_context(alone(tmp_path))
        command = [sys.executable, "-c", code, str(tmp_path)]
        second = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert second.stdout is not None
        assert "waiting" in second.stdout.readline()
        assert second.poll() is None
        held.close()
        assert second.stdout.readline() == "in\n"
        assert second.wait() == 0


def test_what_is_installed_is_pinned_by_hash(here: FrameworkEnvironment, python: Python) -> None:
    for name in ("uv", "core"):
        last = steps(FrameworkEnvironment(here.root, name), python)[-1]
        assert "--require-hashes" in last
        assert ":all:" in last


def test_a_framework_is_found_by_its_runner_and_lock(here: FrameworkEnvironment) -> None:
    for name in ("torch", "null"):
        (here.root / "suite" / "runners" / name).mkdir(parents=True)
        (here.root / "suite" / "runners" / name / "runner.py").touch()
    for name in ("torch", "tf", "uv"):
        (here.lock.parent / f"{name}.txt").touch()
    assert [environment.name for environment in environments(here.root)] == ["core", "torch"]


def test_other_frameworks_than_the_usual_are_wanted_where_they_are_named_or_installed(
    here: FrameworkEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("jax", "tf", "torch"):
        (here.root / "suite" / "runners" / name).mkdir(parents=True)
        (here.root / "suite" / "runners" / name / "runner.py").touch()
        (here.lock.parent / f"{name}.txt").touch()
    wanted = {}
    for stated in ("", "jax", "torch, jax", "all"):
        monkeypatch.setenv("PARITY_FRAMEWORKS", stated)
        wanted[stated] = envs.chosen(here.root)
    every = ["jax", "tf", "torch"]
    assert wanted == {"": ["tf", "torch"], "jax": ["jax"], "torch, jax": ["jax", "torch"], "all": every}
    monkeypatch.delenv("PARITY_FRAMEWORKS")
    (here.root / ".envs" / "jax").mkdir(parents=True)
    assert envs.chosen(here.root) == every
    monkeypatch.setenv("PARITY_FRAMEWORKS", "torch jaxx")
    with pytest.raises(MachineError, match="no framework 'jaxx'") as refused:
        environments(here.root)
    assert refused.value.way_out == "There are: jax, tf, torch; all stands for each of them."


def test_cuda_libraries_are_wanted_where_that_is_stated_or_a_driver_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = tmp_path / "nvidiactl"
    monkeypatch.setattr(envs, "DRIVERS", (str(driver),))
    wanted = []
    for stated in ("", "1", "0"):
        monkeypatch.setenv("PARITY_CUDA", stated)
        wanted.append(envs.cuda())
    driver.touch()
    for stated in ("", "0"):
        monkeypatch.setenv("PARITY_CUDA", stated)
        wanted.append(envs.cuda())
    assert wanted == [False, True, False, True, False]


def test_an_environment_takes_the_lock_with_cuda_where_there_is_one_and_it_is_wanted(
    here: FrameworkEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tf", "tf-cuda", "torch"):
        (here.lock.parent / f"{name}.txt").write_text(name)
    taken = []
    for stated in ("0", "1"):
        monkeypatch.setenv("PARITY_CUDA", stated)
        taken.append([FrameworkEnvironment(here.root, name).lock.stem for name in ("tf", "torch")])
    assert taken == [["tf", "torch"], ["tf-cuda", "torch"]]


def test_an_environment_without_the_cuda_libraries_is_made_again_when_they_are_wanted(
    here: FrameworkEnvironment, lock: int, python: Python, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.lock.with_name("core-cuda.txt").write_text("numpy==1\ncuda==1\n")
    monkeypatch.setenv("PARITY_CUDA", "0")
    install(here, python, [venv(here)], lock)
    assert here.ready()
    monkeypatch.setenv("PARITY_CUDA", "1")
    assert not here.ready()


def test_a_lock_with_cuda_holds_the_plain_one_and_nothing_else_but_cuda_for_linux() -> None:
    def pins(path: Path) -> set[str]:
        return {line.removesuffix(" \\") for line in path.read_text().splitlines() if "==" in line and line[0] != " "}

    for path in (ROOT / "docker" / "locks").glob("*-cuda.txt"):
        plain = pins(path.with_name(path.name.replace("-cuda", "")))
        added = pins(path) - plain
        assert plain < pins(path)
        assert all(pin.startswith(("nvidia-", "jax-cuda")) and "sys_platform == 'linux'" in pin for pin in added)


def test_the_cost_of_every_lock_is_known() -> None:
    assert COSTS.keys() == {path.stem for path in (ROOT / "docker" / "locks").glob("*.txt")} - {"uv"}


def test_the_environments_agree_on_what_they_share() -> None:
    """The reference and the weights must come out the same in each, so the shared packages are the same."""
    pins: dict[str, set[str]] = {}
    for path in (ROOT / "docker" / "locks").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "==" in line and ";" not in line:
                name, version = line.removesuffix(" \\").split("==")
                pins.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}
