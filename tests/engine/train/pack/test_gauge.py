"""What is free, from files as Linux writes them, and what tensors take."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.train.pack import gauge
from engine.train.pack.device import Device
from engine.train.pack.gauge import CudaGauge, HostGauge, Storages

MIB = 2**20


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 900 MiB to give, and no limit."""
    monkeypatch.setattr(gauge, "PROC", tmp_path / "proc")
    monkeypatch.setattr(gauge, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY,) * 2)
    write(tmp_path / "proc" / "meminfo", f"MemTotal:  9999999 kB\nMemFree: 5 kB\nMemAvailable: {900 * 1024} kB\n")
    write(tmp_path / "proc" / "self" / "status", f"Name: x\nVmSize:\t{30 * 1024} kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_of_a_machine_without_limits_what_the_kernel_can_give(system: Path) -> None:
    assert HostGauge().free() == 900 * MIB
    write(system / "cgroup" / "memory.max", "max\n")
    write(system / "cgroup" / "memory.current", "5\n")
    assert HostGauge().free() == 900 * MIB
    (system / "proc" / "meminfo").unlink()  # another system than Linux
    assert HostGauge().free() == math.inf


def test_a_control_group_bounds_it_and_cached_files_are_given_up(system: Path) -> None:
    write(system / "proc" / "self" / "cgroup", "0::/a/job\n")
    job = system / "cgroup" / "a" / "job"
    write(job / "memory.max", f"{300 * MIB}\n")
    write(job / "memory.current", f"{120 * MIB}\n")
    assert HostGauge().free() == 180 * MIB
    write(job / "memory.stat", f"anon 7\ninactive_file {20 * MIB}\nactive_file 99\n")
    assert HostGauge().free() == 200 * MIB
    write(system / "cgroup" / "memory.max", f"{100 * MIB}\n")  # in a container its own group is the root
    write(system / "cgroup" / "memory.current", f"{30 * MIB}\n")
    assert HostGauge().free() == 70 * MIB
    write(system / "cgroup" / "memory.current", f"{130 * MIB}\n")
    assert HostGauge().free() == 0


def test_groups_of_version_1_and_their_word_for_no_limit(system: Path) -> None:
    write(system / "proc" / "self" / "cgroup", "4:cpu,cpuacct:/x\n3:memory:/y\n")
    group = system / "cgroup" / "memory" / "y"
    write(group / "memory.limit_in_bytes", "9223372036854771712\n")
    write(group / "memory.usage_in_bytes", f"{10 * MIB}\n")
    assert HostGauge().free() == 900 * MIB
    write(group / "memory.limit_in_bytes", f"{50 * MIB}\n")
    assert HostGauge().free() == 40 * MIB


def test_a_limit_of_the_address_space_bounds_it(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (130 * MIB, resource.RLIM_INFINITY))
    assert HostGauge().free() == 100 * MIB


def test_of_this_machine_it_is_some_number() -> None:
    assert 0 < HostGauge().free() < 2**50


def test_storages_count_from_their_first_tensor_to_their_last() -> None:
    before = torch.ones(1000)
    with Storages() as found:
        view = before[10:].view(-1)
        assert found.bytes == 0  # it was there
        one = torch.empty(1000)
        part, other = one[5:], one + 1  # 4,000 bytes each
        assert found.bytes == 8000
        other.mul_(2)
        del one
        assert found.bytes == 8000  # a view holds it
        del part
        assert found.bytes == 4000
        torch.add(view, 1, out=torch.empty(990))
        assert (found.bytes, found.most) == (4000, 8000)
        net = torch.nn.Linear(1000, 10, bias=False)
        net(before[None]).sum().backward()
        assert found.bytes == 4000 + 2 * 40_000  # the weights and their gradient
    assert found.most > 4000 + 80_000
    del net, other
    assert found.bytes == 0
    with HostGauge().watched() as taken:
        kept = torch.empty(500)
        torch.empty(1500)
    assert (taken.most, taken.end) == (8000, 2000)
    assert len(kept) == 500


class Cuda(SimpleNamespace):
    """Stands for torch.cuda on a device of 1,000 bytes, of which others have 300."""

    allocated = reserved = peak = 0

    def take(self, size: int) -> None:
        self.allocated += size
        self.reserved = max(self.reserved, self.allocated)
        self.peak = max(self.peak, self.allocated)

    def mem_get_info(self) -> tuple[int, int]:
        return 700 - self.reserved, 1000

    def memory_allocated(self) -> int:
        return self.allocated

    def memory_reserved(self) -> int:
        return self.reserved

    def max_memory_allocated(self) -> int:
        return self.peak

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.allocated

    def synchronize(self) -> None:
        pass


def test_of_a_gpu_its_allocator_says_it() -> None:
    cuda: Any = Cuda()
    cuda.take(400)
    cuda.take(-250)
    assert CudaGauge(1.0, cuda).free() == 550  # 300 are the device's, 250 are kept
    assert CudaGauge(0.25, cuda).free() == 100  # of its quarter
    with CudaGauge(1.0, cuda).watched() as taken:
        cuda.take(200)
        cuda.take(-120)
    assert (taken.most, taken.end) == (200, 80)


def test_each_device_has_its_own() -> None:
    assert isinstance(gauge.of(Device("cpu", torch.device("cpu"), "32-true"), 1.0), HostGauge)
    assert isinstance(gauge.of(Device("gpu", torch.device("cuda"), "32-true"), 0.5), CudaGauge)
