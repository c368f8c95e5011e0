"""The key of a model given in Python: the same for the same, another for anything it holds that is another."""

import functools
import threading

import pytest
import torch
import torchvision
from torch import nn

from xray_debug.models.own.held import hold

NET = nn.Linear(2, 2)


class Scaled(nn.Module):
    def __init__(self, scale, hook=None):
        super().__init__()
        self.scale, self.inner = scale, NET
        self.register_buffer("shift", torch.full((1,), 3.0 if scale == 9 else 1.0), persistent=False)
        if hook:
            self.inner = nn.Linear(2, 2)
            self.inner.load_state_dict(NET.state_dict())
            self.inner.register_forward_hook(hook)

    def forward(self, images):
        return self.inner(images) * self.scale


class Instance:
    def __init__(self, mean):
        self.mean = mean

    def __call__(self, images):
        return images - self.mean

    def method(self, images):
        return images - self.mean


def shifted(images, mean):
    return images - mean


def closure(mean):
    return lambda images: images - mean


def defaulted(mean):
    def function(images, mean=mean):
        return images - mean

    return function


WAYS = {
    "partial": lambda mean: functools.partial(shifted, mean=mean),
    "instance": Instance,
    "method of an instance": lambda mean: Instance(mean).method,
    "closure": closure,
    "tensor in a closure": lambda mean: closure(torch.tensor([mean])),
    "default": defaulted,
    "torchvision's": lambda mean: torchvision.transforms.Normalize([mean], [0.2]),
    "partial of an instance": lambda mean: functools.partial(Instance(mean)),
    "list in a closure": lambda mean: closure([{"mean": (mean,)}]),
    "a function in a closure": lambda mean: closure(closure(mean)),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_what_a_preprocess_holds_tells_it_from_another(way):
    make = WAYS[way]
    assert hold(NET, make(0.5)) == hold(NET, make(0.5))
    assert len({hold(NET, make(0.5)), hold(NET, make(0.25)), hold(NET)}) == 3


def test_what_a_module_holds_tells_it_from_another():
    def hook(module, given, found):
        return found + 1

    assert hold(Scaled(2)) == hold(Scaled(2))
    models = [Scaled(2), Scaled(3), Scaled([2, 3]), Scaled(9), Scaled(2, hook), Scaled(functools.partial(shifted, 1))]
    assert len({hold(model) for model in models}) == len(models)
    assert hold(Scaled(2).train()) == hold(Scaled(2).eval())
    double = nn.Linear(2, 2).double()
    key = hold(double)
    with torch.no_grad():
        double.weight += 1e-12  # nothing, in single precision
    assert hold(double) != key


def test_a_global_that_a_preprocess_reads_counts():
    spaces = [{"MEAN": mean} for mean in (0.5, 0.5, 0.25)]
    for space in spaces:
        exec("def function(images):\n    return images - MEAN", space)  # as a notebook's cell
    keys = [hold(NET, space["function"]) for space in spaces]
    assert keys[0] == keys[1] != keys[2]


def test_programs_and_networks_are_known_again():
    net = torchvision.models.resnet18(num_classes=2)
    assert hold(net) == hold(net)
    script = torch.jit.script(NET)
    assert hold(script) == hold(script) != hold(NET)


def test_what_cannot_be_read_is_never_the_same():
    lock = closure(threading.Lock())
    assert hold(NET, lock) != hold(NET, lock)
