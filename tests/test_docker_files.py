"""Images and services as their files state them; no engine is needed."""

import hashlib
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from suite.runners import base

ROOT = Path(__file__).parents[1]
TOKENS = sorted(path.stem for path in (ROOT / "docker" / "locks").glob("*.txt") if path.stem in base.tokens())
DOCKERFILES = [*sorted(ROOT.glob("Dockerfile.*")), *sorted((ROOT / "docker").glob("Dockerfile.*"))]
OVERRIDES = [*sorted((ROOT / "docker").glob("compose.*.yml"))]
SCRIPTS = [*sorted((ROOT / "docker").glob("*.sh"))]


class Resetting(YAML):  # type: ignore[misc]
    """Reads Compose's own tag !reset as the value after it."""

    def __init__(self) -> None:
        super().__init__(typ="safe", pure=True)
        self.constructor.add_constructor("!reset", lambda constructor, node: "reset")


def read(path: Path) -> dict[str, Any]:
    return dict(Resetting().load(path.read_text(encoding="utf-8")))


def services() -> dict[str, dict[str, Any]]:
    return dict(read(ROOT / "docker-compose.yml")["services"])


def instructions(path: Path) -> list[str]:
    """The instructions of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def mounts(instruction: str) -> list[dict[str, str]]:
    found = re.findall(r"--mount=(\S+)", instruction)
    return [dict(part.partition("=")[::2] for part in mount.split(",")) for mount in found]


every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
every_service = pytest.mark.parametrize("name", services())


def test_a_framework_has_an_image_and_a_service_that_works_for_it():
    for token in TOKENS:
        service = services()[token]
        assert service["build"]["dockerfile"] == f"Dockerfile.{token}"
        assert service["command"] == ["python", "-m", "suite.run.worker", "/reports/.compose", token]


@every_dockerfile
def test_the_base_is_an_argument_with_a_pinned_tag(path):
    first = instructions(path)[0]
    base_image = re.fullmatch(r"ARG BASE=([a-z0-9./-]+):([\w.-]+)", first)
    assert base_image
    assert base_image[2] != "latest"
    assert re.search(r"\d+\.\d+", base_image[2])
    stages = [line for line in instructions(path) if line.startswith("FROM")]
    assert stages == ["FROM ${BASE} AS tools", "FROM ${BASE}"]


@every_dockerfile
def test_no_syntax_line_pulls_a_parser(path):
    assert not re.search(r"^#\s*syntax\s*=", path.read_text(encoding="utf-8"), re.MULTILINE)


@every_dockerfile
def test_what_is_installed_is_pinned_by_hash(path):
    installing = [line for line in instructions(path) if re.search(r"pip (install|sync)", line)]
    assert len(installing) == 2
    for line in installing:
        assert "--require-hashes" in line
        assert "--only-binary :all:" in line


@every_dockerfile
def test_every_file_that_a_build_takes_is_there_and_sent_to_the_engine(path):
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in instructions(path):
        for mount in mounts(line):
            if mount["type"] == "bind" and "from" not in mount:
                assert (ROOT / mount["source"]).is_file()
                assert any(mount["source"].startswith(prefix) for prefix in allowed)


def test_an_image_holds_the_whole_suite_so_that_its_digest_is_the_checkouts():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if "suite" in line] == ["!suite"]
    assert {line for line in lines if not line.startswith("!")} == {"*", "**/__pycache__", "**/*.pyc"}


@every_dockerfile
def test_facts_that_change_with_every_commit_come_last(path):
    """A layer after them would be built again with every commit."""
    lines = instructions(path)
    first = min(lines.index(f"ARG {name}=") for name in ("BASE_DIGEST", "COMMIT", "INPUTS", "LOCK"))
    assert {line.split()[0] for line in lines[first:]} == {"ARG", "ENV", "LABEL"}


@every_dockerfile
def test_a_result_can_tell_its_image(path):
    text = "\n".join(line for line in instructions(path) if line.startswith(("ENV", "LABEL")))
    facts = "BASE", "BASE_DIGEST", "COMMIT", "INPUTS", "CUDA"
    labels = "org.opencontainers.image.revision", "parity.lock", "parity.base", "parity.inputs"
    for name in (
        "PARITY_PLACE=container",
        *(f"PARITY_{fact}=${{" for fact in facts),
        *(f"{label}=${{" for label in labels),
    ):
        assert name in text


@every_dockerfile
def test_an_image_is_not_made_for_root(path):
    user = [line for line in instructions(path) if line.startswith("USER")][-1]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", user)


@every_dockerfile
def test_caches_lie_where_any_user_can_write(path):
    env = " ".join(line for line in instructions(path) if line.startswith("ENV"))
    caches = re.findall(r"(\w*(?:CACHE\w*|HOME|CONFIGDIR))=(\S+)", env)
    assert {name for name, _ in caches} >= {"HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"}
    assert {value.split("/")[1] for _, value in caches} == {"tmp"}


def test_an_image_asks_for_what_computing_and_metering_need_of_the_driver():
    for path in DOCKERFILES:
        env = " ".join(line for line in instructions(path) if line.startswith("ENV"))
        assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in env


@every_service
def test_a_service_has_no_power_that_it_does_not_need(name):
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["user"] == "${PARITY_UID:-1000}:${PARITY_GID:-1000}"
    assert not {"privileged", "cap_add", "pid", "ipc", "ports", "devices", "restart"} & service.keys()
    assert service["pids_limit"] > 0
    for limit in ("mem_limit", "shm_size", "stop_grace_period", "cpuset"):
        assert limit in service
    assert [mount for mount in service["tmpfs"] if mount.startswith("/tmp:") and "exec" in mount and "size=" in mount]


@every_service
def test_only_the_first_service_has_a_network(name):
    assert (services()[name]["network_mode"] == "none") == (name != "prepare")


def test_workers_wait_for_the_plan_and_the_report_for_the_workers():
    found = services()
    workers = {name for name, service in found.items() if "suite.run.worker" in service["command"]}
    assert workers == {*TOKENS, "null"}
    done = {"condition": "service_completed_successfully"}
    for name in workers:
        assert found[name]["depends_on"] == {"prepare": done}
    failing = dict.fromkeys(workers, done | {"required": False})
    assert found["report"]["depends_on"] == {"prepare": done, **failing}
    assert found["verdict"]["depends_on"] == {"report": done}


def test_an_image_is_built_by_one_service_and_pulled_by_none():
    """Compose marks an image with the service that built it: built by two, it would be two images."""
    built = [service["image"] for service in services().values() if "build" in service]
    assert len(built) == len(set(built)) == len(DOCKERFILES)
    for service in services().values():
        assert service["image"] in built
        assert "build" in service or service["pull_policy"] == "never"


def test_every_service_that_computes_or_plans_reserves_the_gpu():
    for name, service in services().items():
        reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
        assert bool(reserved) == (name not in ("report", "verdict"))


def test_without_a_gpu_nothing_reserves_one_and_no_image_is_shared_with_those_that_do():
    override = read(ROOT / "docker" / "compose.cpu.yml")["services"]
    assert override.keys() == services().keys()
    for name, service in services().items():
        assert override[name].get("deploy") == ("reset" if "deploy" in service else None)
        assert override[name].get("build", {}).get("args", {}).get("CUDA") == ("0" if "build" in service else None)
        assert override[name]["image"] == service["image"].replace(":cuda", ":cpu")


def test_without_a_registry_every_image_starts_from_one_that_is_there():
    override = read(ROOT / "docker" / "compose.local.yml")["services"]
    assert override.keys() == {name for name, service in services().items() if "build" in service}
    made = re.search(r"^RELEASE=(\w+)\nBASE=(\S+):\$RELEASE", (ROOT / "docker/engine.sh").read_text(), re.MULTILINE)
    assert made
    for service in override.values():
        assert service["build"]["args"]["BASE"] == f"${{PARITY_LOCAL_BASE:-{made[2]}:{made[1]}}}"


def test_ones_own_files_are_seen_by_all_under_their_own_path_and_written_by_none():
    override = read(ROOT / "docker" / "compose.files.yml")["services"]
    assert override.keys() == services().keys()
    for service in override.values():
        (mount,) = service["volumes"]
        assert (mount["type"], mount["read_only"]) == ("bind", True)
        assert re.match(r"\$\{PARITY_FILES\b", mount["source"])
        assert mount["target"] == "${PARITY_FILES}"
    assert override["prepare"]["environment"] == {"PARITY_FILES": "${PARITY_FILES}"}


@pytest.fixture
def script(tmp_path):
    """docker/compose.sh called from a folder, with an engine that says what it was asked and told."""
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\n[ "$1" = compose ] || exit 1\nprintf "%s\\n" "$@"\nenv | grep ^PARITY_\n')
    fake.chmod(0o755)

    def call(folder, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PARITY_")}
        env = {**kept, "PATH": f"{fake.parent}:{os.environ['PATH']}", "PARITY_DEVICE": "cpu", **variables}
        command = [str(ROOT / "docker" / "compose.sh"), "config"]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    return call


def test_the_script_mounts_the_folder_of_ones_own_profile_and_takes_paths_from_where_it_is_called(tmp_path, script):
    study = tmp_path / "my study: a, ü"
    study.mkdir()
    (study / "profile.yaml").touch()
    given = {"PARITY_PROFILE": "my study: a, ü/profile.yaml", "PARITY_REPORTS": "out", "PARITY_DATA": "./cache"}
    told = script(tmp_path, **given).stdout.splitlines()
    assert "docker/compose.files.yml" in told
    assert f"PARITY_FILES={study}" in told
    assert f"PARITY_PROFILE={study}/profile.yaml" in told
    assert f"PARITY_REPORTS={tmp_path}/out" in told
    assert f"PARITY_DATA={tmp_path}/cache" in told
    assert (
        f"PARITY_FILES={tmp_path}"
        in script(study, PARITY_PROFILE="profile.yaml", PARITY_FILES="..").stdout.splitlines()
    )


@pytest.mark.parametrize("profile", ["quick", "/data/mine/profile.yaml"])
def test_the_script_mounts_nothing_for_a_profile_that_containers_see_already(tmp_path, script, profile):
    told = script(tmp_path, PARITY_PROFILE=profile, PARITY_DATA="volume").stdout.splitlines()
    assert "docker/compose.files.yml" not in told
    assert {f"PARITY_PROFILE={profile}", "PARITY_DATA=volume"} <= {*told}


@pytest.mark.parametrize("folder", ["/", "/opt", "/usr/", "/data", "nowhere"])
def test_the_script_refuses_a_folder_that_would_hide_one_of_the_images(tmp_path, script, folder):
    done = script(tmp_path, PARITY_FILES=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PARITY_FILES=" in done.stderr


def test_the_script_names_the_bases_that_the_overrides_choose():
    script = (ROOT / "docker" / "compose.sh").read_text(encoding="utf-8")
    for path in OVERRIDES:
        built = [service["build"] for service in read(path)["services"].values() if "build" in service]
        bases = [build["args"].get("BASE") for build in built]
        for name in filter(None, bases):
            assert f"base={name}\n" in script


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_read_and_run(path):
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_engine_script_refuses_what_it_does_not_know():
    done = subprocess.run([str(ROOT / "docker" / "engine.sh"), "restart"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr


def test_the_engine_script_never_ends_an_engine_that_it_did_not_start(tmp_path):
    """Its note names a process that is no engine: that one goes on."""
    if os.getuid() != 0:
        pytest.skip("only root ends an engine")
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "dockerd.pid").write_text(f"{other.pid}\n")
        command = [str(ROOT / "docker" / "engine.sh"), "stop"]
        env = {**os.environ, "PARITY_ENGINE_STATE": str(tmp_path)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert other.poll() is None
        other.kill()
    assert (done.returncode, "none was started" in done.stderr) == (0, True)


def compose() -> bool:
    docker = shutil.which("docker")
    return (
        bool(docker) and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not compose(), reason="Compose is not on this machine")
@pytest.mark.parametrize(("device", "local"), list(product(("cuda", "cpu"), ("", "1"))))
def test_compose_reads_its_files_with_every_override(device, local):
    env = {**os.environ, "PARITY_DEVICE": device, "LOCAL": local}
    command = [str(ROOT / "docker" / "compose.sh"), "config"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    torch = Resetting().load(done.stdout)["services"]["torch"]
    assert ("deploy" in torch) == (device == "cuda")
    assert (torch["build"].get("network") == "host") == bool(local)
    assert torch["image"] == f"parity-torch:{device}"


@pytest.mark.skipif(not compose(), reason="Compose is not on this machine")
@pytest.mark.parametrize(("device", "lock"), [("cuda", "tf-cuda"), ("cpu", "tf")])
def test_a_build_by_the_script_is_told_its_lock_and_its_caller(device, lock):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "DOCKER_"))}
    command = [str(ROOT / "docker" / "compose.sh"), "config"]
    env |= {"PARITY_DEVICE": device, "PARITY_COMMIT": "stated", "DOCKER_HOST": "unix:///nowhere"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    tf = Resetting().load(done.stdout)["services"]["tf"]
    content = (ROOT / "docker" / "locks" / f"{lock}.txt").read_bytes()
    told = tf["build"]["args"]
    assert told["LOCK"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert told["COMMIT"] == "stated"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", told["INPUTS"])
    assert tf["user"] == f"{os.getuid()}:{os.getgid()}"


@every_dockerfile
def test_the_linter_finds_nothing(path):
    linter = shutil.which("hadolint", path=str(ROOT / ".envs" / "core" / "bin")) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("the linter is in the core's environment")
    done = subprocess.run([linter, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
