"""The engine on Ray: one actor for each worker, on this machine or on a cluster (the extra `ray`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xray_debug.config import EngineConfig
from xray_debug.run.parts import Row
from xray_debug.run.worker import opened, start_process, work_part


class RayWorker:
    """A worker in an actor; opened in `__init__`, one thread."""

    def __init__(self, packed: bytes):
        start_process()
        self.worker = opened(packed)

    def work(self, rows: list[Row]) -> list[Row]:
        return work_part(self.worker, rows)


class RayPool:
    """Parts go to the actor that has least to do; results come back to this process, which writes them.

    `config.address`: of a running cluster ("auto" for the one of this machine); without it a local one is started.
    The images, and this package, must be where the actors are: a shared file system.
    """

    def __init__(self, config: EngineConfig, packed: bytes):
        try:
            import ray
        except ImportError as error:
            raise ImportError("engine ray needs the extra ray: pip install 'xray-debug[ray]'") from error
        self.ray, self.started = ray, not ray.is_initialized()
        if self.started:
            options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
            if config.address:
                options["address"] = config.address
            elif config.workers:
                options["num_cpus"] = config.workers
            ray.init(**options)
        self.workers = config.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor = ray.remote(num_cpus=1)(RayWorker)
        self.actors = [actor.remote(packed) for _ in range(self.workers)]
        self.busy = {actor: 0 for actor in self.actors}
        self.owner: dict[Any, Any] = {}

    def submit(self, rows: list[Row]):
        actor = min(self.actors, key=self.busy.__getitem__)
        reference = actor.work.remote(rows)
        self.busy[actor] += 1
        self.owner[reference] = actor
        return reference

    def first(self, waiting: Sequence) -> list:
        return self.ray.wait(list(waiting), num_returns=1)[0]

    def result(self, reference) -> list[Row]:
        self.busy[self.owner.pop(reference)] -= 1
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None

    def close(self, failure: BaseException | None) -> None:
        for actor in self.actors:
            self.ray.kill(actor)
        if self.started:
            self.ray.shutdown()
