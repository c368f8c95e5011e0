"""`precision: auto`: what each machine is given."""

import os
import platform
import subprocess
import sys

import pytest
import torch
from training_fixture import settings, tiny

from xray_debug.models import precision
from xray_debug.models.precision import bfloat16_gain, chosen_precision


def test_what_is_asked_for_is_taken():
    assert chosen_precision(settings(precision="16-mixed"), tiny())[0] == "16-mixed"


@pytest.mark.parametrize(("gain", "expected"), [(0.1, "32-true"), (1.4, "32-true"), (1.6, "bf16-mixed")])
def test_a_cpu_takes_bfloat16_where_it_gains(monkeypatch, gain, expected):
    monkeypatch.setattr(precision, "bfloat16_gain", lambda model: gain)
    found, sentence = chosen_precision(settings(precision="auto"), tiny())
    assert found == expected
    assert sentence == f"precision {expected}: on this CPU bfloat16 is {gain} times as fast as float32"


@pytest.mark.parametrize(
    ("hardware", "capability", "expected"),
    [(True, (9, 0), "bf16-mixed"), (False, (7, 5), "16-mixed"), (False, (6, 1), "32-true")],
)
def test_a_gpu_takes_what_it_has(monkeypatch, hardware, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: hardware or including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert chosen_precision(settings(precision="auto", accelerator="auto"), tiny())[0] == expected


def test_the_gain_is_the_ratio_of_the_best_times(monkeypatch):
    times = iter([9.0, 9.0, 0.4, 0.25, 0.3, 0.2, 0.5, 0.1])  # the first of each warms up
    clock = iter([0.0, 0.5, 1.0, 99.0])
    monkeypatch.setattr(precision, "_step", lambda *a: next(times))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(clock))
    assert precision._gain(None, None, 10.0) == pytest.approx(0.3 / 0.1)


def test_measuring_leaves_the_model_and_the_random_state(monkeypatch):
    monkeypatch.setattr(precision, "BUDGET", 0.01)
    monkeypatch.setattr(precision, "HOPELESS", 0.0)
    model, state = tiny().eval(), torch.get_rng_state()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert bfloat16_gain(model) > 0
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items()) and not model.training
    assert torch.equal(torch.get_rng_state(), state) and all(p.grad is None for p in model.parameters())


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="the switches are those of x86")
def test_a_cpu_without_bfloat16_is_not_given_it(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import training_fixture as t\n"
        "from xray_debug.models.precision import chosen_precision\n"
        "print(chosen_precision(t.settings(precision='auto'), t.tiny())[0])"
    )
    laptop = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    folder = os.path.dirname(os.path.dirname(__file__))
    found = subprocess.run([sys.executable, "-c", code, folder], env=laptop, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "32-true"
