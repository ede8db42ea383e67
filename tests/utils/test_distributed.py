"""What the environment says of other processes; that they work together is in `tests/launch`."""

import pytest

from fairjax.utils import distributed
from fairjax.utils.errors import UserError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in (distributed.COORDINATOR, distributed.COUNT, distributed.INDEX, distributed.DETECT):
        monkeypatch.delenv(name, raising=False)


def test_a_process_alone_is_the_first_and_has_all_work():
    assert distributed.initialize_from_environment() is False
    assert distributed.process() == (0, 1)
    assert distributed.is_first()
    distributed.barrier("nobody else")


def test_auto_leaves_every_device_to_its_process(monkeypatch):
    calls = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *a, **k: calls.append((a, k)))
    monkeypatch.setenv(distributed.DETECT, "auto")
    assert distributed.initialize_from_environment()
    assert calls == [((), {"local_device_ids": []})]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"FAIRJAX_COORDINATOR": "127.0.0.1:1"},
            "FAIRJAX_NUM_PROCESSES, FAIRJAX_PROCESS_ID must be set too",
        ),
        (
            {"FAIRJAX_COORDINATOR": "a:1", "FAIRJAX_NUM_PROCESSES": "2", "FAIRJAX_PROCESS_ID": "2"},
            "below",
        ),
        (
            {
                "FAIRJAX_COORDINATOR": "a:1",
                "FAIRJAX_NUM_PROCESSES": "two",
                "FAIRJAX_PROCESS_ID": "0",
            },
            "number",
        ),
        ({"FAIRJAX_DISTRIBUTED": "yes"}, "must be auto"),
    ],
)
def test_what_is_wrong_in_the_environment_is_said(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        distributed.initialize_from_environment()
