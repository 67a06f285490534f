"""What a result says about the machine: true where it can be known, null where it cannot."""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from suite.gate import gate
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.results.environment import Environment, Gpu
from tests.faults.specs import SPECS


def test_an_environment_describes_itself_in_full() -> None:
    here = environment.describe("torch")
    assert Environment.model_validate_json(here.model_dump_json()) == here
    assert here.lock == environment.lock_digest("torch") != environment.lock_digest("core")
    assert environment.describe("null").lock == environment.lock_digest("core")
    assert here.packages["numpy"] == importlib.metadata.version("numpy")
    assert 1 <= here.cores <= (os.cpu_count() or 1)
    assert here.memory_bytes > 1 << 28
    assert here.before.load_1min is not None


def test_each_last_level_cache_counts_once_among_the_cores_that_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cores share 32 MiB, a third has 16 of its own, and a fourth may not be used."""
    third = [
        ("0", "3", "Unified", "32768K", "0-1"),
        ("2", "3", "Unified", "16M", "2"),
        ("3", "3", "Unified", "64M", "3"),
    ]
    for core, *third_level in [*third, ("1", *third[0][1:])]:
        levels = [("1", "Instruction", "64K", core), ("1", "Data", "32K", core), third_level]
        for index, words in enumerate(levels):
            folder = tmp_path / f"cpu{core}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, word in zip(("level", "type", "size", "shared_cpu_list"), words, strict=True):
                (folder / name).write_text(f"{word}\n")
    monkeypatch.setattr(environment, "CPU", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert environment.last_level_caches() == 48 << 20
    monkeypatch.setattr(environment, "CPU", tmp_path / "nowhere")
    assert environment.last_level_caches() is None


def test_a_lock_is_named_by_its_content() -> None:
    content = (ROOT / "docker" / "locks" / "core.txt").read_bytes()
    assert environment.lock_digest("core") == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert environment.lock_digest("null") is None


def test_a_framework_with_cuda_libraries_is_named_by_the_lock_that_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {}
    for stated in ("0", "1"):
        monkeypatch.setenv("PARITY_CUDA", stated)
        digests[stated] = environment.lock_digest("tf")
    content = (ROOT / "docker" / "locks" / "tf-cuda.txt").read_bytes()
    assert digests["1"] == f"sha256:{hashlib.sha256(content).hexdigest()}" != digests["0"]


IMAGE = {"BASE": "ubuntu:24.04", "BASE_DIGEST": "", "INPUTS": "sha256:1", "CUDA": "0", "IMAGE": "sha256:2"}


def test_a_process_in_an_image_says_from_what_that_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IMAGE.items():
        monkeypatch.setenv(f"PARITY_{name}", value)
    monkeypatch.setenv("PARITY_PLACE", "container")
    found = environment.describe("torch")
    assert (found.place, found.image) == ("container", "sha256:2")
    assert found.build == {"base": "ubuntu:24.04", "inputs": "sha256:1", "cuda": "0"}


def test_a_native_process_was_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARITY_PLACE", raising=False)
    monkeypatch.setenv("PARITY_CUDA", "0")
    found = environment.describe("torch")
    assert (found.place, found.build) == ("native", {})


def test_the_source_digest_changes_with_any_byte_and_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    (tmp_path / "suite" / "deep").mkdir(parents=True)
    file = tmp_path / "suite" / "deep" / "a.py"

    def digest() -> str:
        environment.source_digest.cache_clear()
        return environment.source_digest()

    found = []
    for content in ("one", "two"):
        file.write_text(content)
        found.append(digest())
    (tmp_path / "suite" / "notes.txt").write_text("no source")
    assert digest() == found[-1]
    file.rename(file.with_name("b.py"))
    found.append(digest())
    assert len(set(found)) == 3
    environment.source_digest.cache_clear()


@pytest.mark.parametrize("folder", sorted(p.parent.name for p in (ROOT / "suite").glob("*/__init__.py")))
def test_a_byte_moves_the_digests_of_what_its_folder_decides(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest of a run's source, and the key of a proof of a runner, each told by folder."""
    shutil.copytree(ROOT / "suite", tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(gate, "SUITE", tmp_path / "suite")
    monkeypatch.setattr(environment, "source_digest", environment.source_digest.__wrapped__)
    changed = "torch/runner.py" if folder == "runners" else "__init__.py"

    def digests() -> tuple[str, ...]:
        proofs = (gate.proof_key(SPECS["mlp"], runner, "eager", "float32", "cpu", None) for runner in ("torch", "tf"))
        return environment.source_digest(), *proofs

    before = digests()
    with (tmp_path / "suite" / folder / changed).open("a") as file:
        file.write("#")
    moved = tuple(a != b for a, b in zip(before, digests(), strict=True))
    assert moved == (
        folder not in {"cli", "report", "compare", "install"},
        folder in {"spec", "inputs", "gate", "runners"},
        folder in {"spec", "inputs", "gate"},
    )


def test_the_machine_is_another_when_what_decides_speed_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here = environment.machine()
    assert environment.machine() == here
    assert environment.machine((Gpu(name="a", uuid="1"),)) != here
    for name, other in (("cores", 1_000), ("cpu_features", ("avx512_vnni",))):
        with monkeypatch.context() as patch:
            patch.setattr(environment, name, lambda other=other: other)
            assert environment.machine() != here


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="needs Linux")
def test_the_processor_tells_what_it_offers() -> None:
    found = environment.cpu_features()
    assert list(found) == sorted(found)
    assert {"x86_64": "sse2", "aarch64": "asimd"}[platform.machine()] in found


def test_the_commit_is_marked_when_the_checkout_holds_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        identity = "-c", "user.name=a", "-c", "user.email=a@example.org"
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit() -> str | None:
        environment.commit.cache_clear()
        return environment.commit()

    monkeypatch.delenv("PARITY_COMMIT", raising=False)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert commit() is None
    (tmp_path / "a").write_text("a")
    for words in (("init", "-q"), ("add", "a"), ("commit", "-q", "-m", "a")):
        git(*words)
    clean = commit()
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "a").write_text("b")
    assert commit() == clean + "+"
    monkeypatch.setenv("PARITY_COMMIT", "stated")
    assert commit() == "stated"
    environment.commit.cache_clear()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"intel_pstate/no_turbo": "1"}, False),
        ({"intel_pstate/no_turbo": "0"}, True),
        ({"cpufreq/boost": "1\n"}, True),
        ({"cpufreq/boost": "0\n"}, False),
        ({}, None),
    ],
)
def test_turbo_is_known_or_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: bool | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(environment, "CPU", tmp_path)
    assert environment.turbo() is expected


def test_what_sensors_do_not_tell_is_null_and_never_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise NotImplementedError("can't find current frequency file")

    monkeypatch.setattr(psutil, "sensors_temperatures", dict)
    for frequency in (lambda: None, lambda: SimpleNamespace(current=0.0), refuse):
        monkeypatch.setattr(psutil, "cpu_freq", frequency)
        found = environment.processor()
        assert (found.mhz, found.celsius) == (None, None)


def test_the_hottest_sensor_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = {"a": [SimpleNamespace(current=40.0)], "b": [SimpleNamespace(current=71.5)]}
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=2100))
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: readings)
    found = environment.processor()
    assert (found.mhz, found.celsius) == (2100.0, 71.5)


def test_a_distribution_without_a_name_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    some: list[Any] = [SimpleNamespace(metadata={"Name": name}, version="1") for name in ("NumPy", None)]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: some)
    environment.packages.cache_clear()
    assert environment.packages() == {"numpy": "1"}
    environment.packages.cache_clear()


def test_variables_that_decide_speed_are_recorded_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what the suite pins itself, nor caches and logs, nor what only looks alike and may be a secret."""
    taken = {"OMP_PROC_BIND": "true", "TF_ENABLE_ONEDNN_OPTS": "1", "MKL_CBWR": "AVX2", "LD_PRELOAD": "x" * 1000}
    others = (
        "OMP_NUM_THREADS",
        "TORCHINDUCTOR_CACHE_DIR",
        "TORCH_LOGS",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_VAR_password",
        "HOME",
    )
    for name in (*taken, *others):
        monkeypatch.setenv(name, taken.get(name, "value"))
    found = environment.variables()
    assert {name: found[name] for name in taken} == {**taken, "LD_PRELOAD": "x" * 400}
    assert not found.keys() & set(others)
    described = environment.describe("reference")
    assert described.variables == found
    assert (described.cpu_features is None) == (not environment.cpu_features())
