"""What a hyperparameter may be, and that every place that names them takes them from the declaration."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edged.contract.commands import RetrainArgs
from edged.contract.hyperparameters import Hyperparameters
from edged.settings import RetrainSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", 0.0),
        ("lr", -0.1),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("epochs", 0),
        ("batch", 0),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("l2", -1e-9),
        ("l2", float("nan")),
        ("patience", 0),
        ("seed", -1),
        ("min_accuracy", 1.1),
    ],
)
def test_a_value_out_of_range_is_refused_under_its_name(name: str, value: float) -> None:
    with pytest.raises(ValidationError) as caught:
        Hyperparameters.model_validate({name: value})
    assert caught.value.errors()[0]["loc"] == (name,)


def test_a_command_changes_what_it_names_and_nothing_else() -> None:
    configured = Hyperparameters(lr=0.5, epochs=7, seed=3)
    args = RetrainArgs.model_validate({"lr": 0.1, "epochs": None, "backbone": "inception_v3"})
    assert args.over(configured) == Hyperparameters(lr=0.1, epochs=7, seed=3)
    assert RetrainArgs().over(configured) == configured
    limited = RetrainArgs.model_validate({"backbone": "auto", "within_ms": 20, "memory_mb": None})
    assert (limited.within_ms, limited.memory_mb) == (20.0, None)
    assert limited.over(configured) == configured


def test_the_configuration_and_the_command_have_all_of_them() -> None:
    names = set(Hyperparameters.model_fields)
    assert names <= set(RetrainSettings.model_fields)
    assert names <= set(RetrainArgs.model_fields)
    assert RetrainSettings().hyperparameters == Hyperparameters()
    assert all(field.description for field in Hyperparameters.model_fields.values())
