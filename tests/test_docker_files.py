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
from tests.support import compose

ROOT = Path(__file__).parents[1]
TOKENS = sorted(path.stem for path in (ROOT / "docker" / "locks").glob("*.txt") if path.stem in base.tokens())
DOCKERFILES = [*sorted(ROOT.glob("Dockerfile.*")), *sorted((ROOT / "docker").glob("Dockerfile.*"))]
OPTIONS = ROOT / "docker" / "compose.options.yml"
SCRIPTS = [*sorted((ROOT / "docker").glob("*.sh"))]


def services(**variables: str) -> dict[str, dict[str, Any]]:
    return compose.services(ROOT, **variables)


def instructions(path: Path) -> list[str]:
    """The instructions of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def mounts(instruction: str) -> list[dict[str, str]]:
    found = re.findall(r"--mount=(\S+)", instruction)
    return [dict(part.partition("=")[::2] for part in mount.split(",")) for mount in found]


every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
every_service = pytest.mark.parametrize("name", services())


def test_a_framework_has_an_image_and_a_service_that_is_its_parent():
    for token in TOKENS:
        service = services()[token]
        assert service["build"]["dockerfile"] == f"Dockerfile.{token}"
        assert service["command"] == ["python", "-m", "suite.run.parent", "/reports/.compose", token]


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
    assert service["user"] == "1000:1000"
    assert services(PARITY_UID="5", PARITY_GID="6")[name]["user"] == "5:6"
    assert not {"privileged", "cap_add", "pid", "ipc", "ports", "devices", "restart"} & service.keys()
    assert service["pids_limit"] > 0
    for limit in ("mem_limit", "shm_size", "stop_grace_period", "cpuset"):
        assert limit in service
    assert [mount for mount in service["tmpfs"] if mount.startswith("/tmp:") and "exec" in mount and "size=" in mount]


@every_service
def test_only_the_first_service_has_a_network(name):
    assert (services()[name]["network_mode"] == "none") == (name != "prepare")


def test_parents_and_the_conductor_start_beside_each_other_when_there_is_a_plan():
    found = services()
    parents = {name for name, service in found.items() if "suite.run.parent" in service["command"]}
    assert parents == {*TOKENS, "null"}
    assert found.keys() == {"prepare", *parents, "conductor", "verdict"}
    done = {"condition": "service_completed_successfully"}
    for name in (*parents, "conductor"):
        assert found[name]["depends_on"] == {"prepare": done}
    assert found["verdict"]["depends_on"] == {"conductor": done}


def test_the_conductor_is_the_reporters_image_and_sees_what_parents_see():
    found = services(PARITY_FILES="/my/study")
    conductor = found["conductor"]
    assert conductor["command"] == ["python", "-m", "suite", "conduct", "/reports/.compose"]
    assert conductor["image"] == found["prepare"]["image"] == found["null"]["image"]
    for name in (*TOKENS, "null"):
        assert conductor["user"] == found[name]["user"], "a socket of one user's"
        assert conductor["volumes"] == found[name]["volumes"]


def test_by_default_the_standard_profile_runs():
    assert services()["prepare"]["command"][4] == "standard"
    assert services(PARITY_PROFILE="quick")["prepare"]["command"][4] == "quick"


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
        assert bool(reserved) == (name not in ("conductor", "verdict"))


def test_without_a_gpu_nothing_reserves_one_and_no_image_is_shared_with_those_that_do():
    without = services(PARITY_DEVICE="cpu")
    assert without.keys() == services().keys()
    for name, service in services().items():
        assert "deploy" not in without[name]
        assert service.get("build", {}).get("args", {}).get("CUDA") == ("1" if "build" in service else None)
        assert without[name].get("build", {}).get("args", {}).get("CUDA") == ("0" if "build" in service else None)
        assert service["image"].endswith(":cuda")
        assert without[name]["image"] == service["image"].replace(":cuda", ":cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_registry_every_image_starts_from_one_that_is_there(device):
    made = re.search(r"^RELEASE=(\w+)\nBASE=(\S+):\$RELEASE", (ROOT / "docker/engine.sh").read_text(), re.MULTILINE)
    assert made
    usual = services(PARITY_DEVICE=device)
    for name, service in services(PARITY_DEVICE=device, PARITY_LOCAL="1").items():
        assert ("build" in service) == ("build" in usual[name])
        if "build" in service:
            assert service["build"]["network"] == "host"
            assert service["build"]["args"]["BASE"] == f"{made[2]}:{made[1]}"
            assert "network" not in usual[name]["build"]


def test_ones_own_files_are_seen_by_all_under_their_own_path_and_written_by_none():
    without = services()
    for name, service in services(PARITY_FILES="/my/study").items():
        (mount,) = [each for each in service["volumes"] if each not in without[name]["volumes"]]
        assert (mount["type"], mount["read_only"]) == ("bind", True)
        assert mount["source"] == mount["target"] == "/my/study"
        assert ("PARITY_FILES" in service.get("environment", {})) == (name == "prepare")


def test_what_services_extend_names_no_framework_and_is_no_service():
    """Another framework changes nothing here."""
    text = OPTIONS.read_text(encoding="utf-8")
    assert not [token for token in TOKENS if re.search(rf"\b{token}\b", text)]
    assert not compose.read(OPTIONS)["services"].keys() & services().keys()


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
        command = [str(ROOT / "docker" / "compose.sh"), "--profile", "*", "config"]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    return call


def test_the_script_mounts_the_folder_of_ones_own_profile_and_takes_paths_from_where_it_is_called(tmp_path, script):
    study = tmp_path / "my study: a, ü"
    study.mkdir()
    (study / "profile.yaml").touch()
    given = {"PARITY_PROFILE": "my study: a, ü/profile.yaml", "PARITY_REPORTS": "out", "PARITY_DATA": "./cache"}
    told = script(tmp_path, **given).stdout.splitlines()
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
    assert not [line for line in told if line.startswith("PARITY_FILES=")]
    assert {f"PARITY_PROFILE={profile}", "PARITY_DATA=volume"} <= {*told}


@pytest.mark.parametrize("folder", ["/", "/opt", "/usr/", "/data", "nowhere"])
def test_the_script_refuses_a_folder_that_would_hide_one_of_the_images(tmp_path, script, folder):
    done = script(tmp_path, PARITY_FILES=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "PARITY_FILES=" in done.stderr


def test_the_script_names_the_bases_that_the_services_choose():
    """It tells the digest of each, which a result records."""
    script = (ROOT / "docker" / "compose.sh").read_text(encoding="utf-8")
    stated = [
        service["build"]["args"].get("BASE")
        for service in compose.read(OPTIONS)["services"].values()
        if "build" in service
    ]
    assert len(set(stated)) == 3, "the Dockerfile's own, one without CUDA, and one that is here already"
    for name in filter(None, stated):
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


def composes() -> bool:
    docker = shutil.which("docker")
    return (
        bool(docker) and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    )


def by_compose(**variables: str) -> dict[str, dict[str, Any]]:
    """The services as Compose itself reads them, called by the script."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "DOCKER_"))}
    command = [str(ROOT / "docker" / "compose.sh"), "--profile", "*", "config"]
    env = {**kept, "DOCKER_HOST": "unix:///nowhere", **variables}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(YAML(typ="safe", pure=True).load(done.stdout)["services"])


@pytest.mark.skipif(not composes(), reason="Compose is not on this machine")
@pytest.mark.parametrize(("device", "local", "files"), list(product(("cuda", "cpu"), ("", "1"), ("", "/srv"))))
def test_compose_reads_its_files_as_they_are_read_here(device, local, files):
    found = by_compose(PARITY_DEVICE=device, LOCAL=local, PARITY_FILES=files)
    read = services(PARITY_DEVICE=device, PARITY_LOCAL=local, PARITY_FILES=files)
    assert found.keys() == read.keys()
    for name, service in read.items():
        assert (
            ("deploy" in found[name])
            == ("deploy" in service)
            == (device == "cuda" and name not in ("conductor", "verdict"))
        )
        assert found[name]["image"] == service["image"]
        assert len(found[name]["volumes"]) == len(service["volumes"]) == (3 if files else 2)
        assert ("build" in found[name]) == ("build" in service)
        if "build" in service:
            assert found[name]["build"]["args"].keys() == service["build"]["args"].keys()
            assert found[name]["build"]["args"].get("BASE") == service["build"]["args"].get("BASE")
            assert found[name]["build"].get("network") == service["build"].get("network") == ("host" if local else None)
    for token in TOKENS:
        assert found[token]["image"] == f"parity-{token}:{device}"


@pytest.mark.skipif(not composes(), reason="Compose is not on this machine")
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("token", TOKENS)
def test_a_build_by_the_script_is_told_its_lock_and_its_caller(token, device):
    service = by_compose(PARITY_DEVICE=device, PARITY_COMMIT="stated")[token]
    plain, with_cuda = (ROOT / "docker" / "locks" / f"{name}.txt" for name in (token, f"{token}-cuda"))
    lock = with_cuda if device == "cuda" and with_cuda.is_file() else plain
    told = service["build"]["args"]
    assert told["LOCK"] == f"sha256:{hashlib.sha256(lock.read_bytes()).hexdigest()}"
    assert told["COMMIT"] == "stated"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", told["INPUTS"])
    assert service["user"] == f"{os.getuid()}:{os.getgid()}"


@every_dockerfile
def test_the_linter_finds_nothing(path):
    linter = shutil.which("hadolint", path=str(ROOT / ".envs" / "core" / "bin")) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("the linter is in the core's environment")
    done = subprocess.run([linter, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
