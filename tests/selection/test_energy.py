import numpy as np
import pytest

from edged.selection.energy import EnergyMeter
from tests.selection.rails import Rails, read_trace


def test_a_ramp_has_the_energy_of_its_triangle():
    meter = EnergyMeter()
    for second in range(11):
        meter.add(1000.0 * second, second)
    assert meter.joules == pytest.approx(50)  # ½ · 10 s · 10 W
    assert meter.take_mean_mw() == pytest.approx(5000)
    assert meter.take_mean_mw() is None
    meter.add(20_000.0, 11.0)
    assert meter.take_mean_mw() == pytest.approx(15_000)


def test_uneven_samples_weigh_by_their_time():
    meter = EnergyMeter()
    for now, power in ((0.0, 2000.0), (9.0, 2000.0), (10.0, 8000.0)):
        meter.add(power, now)
    assert meter.joules == pytest.approx(9 * 2 + 1 * 5)  # the mean of the samples times the time would be 40


def test_what_was_not_read_is_not_invented():
    meter = EnergyMeter()
    assert meter.take_mean_mw() is None
    for now, power in ((0.0, 1000.0), (1.0, 1000.0), (2.0, None), (30.0, 1000.0), (31.0, 1000.0)):
        meter.add(power, now)
    assert (meter.joules, meter.seconds) == (pytest.approx(2), 2.0)


def test_the_rails_of_a_tx2_add_up_to_joules(tmp_path):
    """Through the files of the INA3221 and the sensor that reads them: milliwatts in, joules out."""
    rails, meter, trace = Rails(tmp_path / "root"), EnergyMeter(), read_trace()
    samples = [*trace["idle"], *trace["inception_v3"]]
    for number, milliwatts in enumerate(samples):
        meter.add(rails.read(milliwatts), number / 10)
    assert meter.joules == pytest.approx(
        np.trapezoid(samples, dx=0.1) / 1000 if hasattr(np, "trapezoid") else np.trapz(samples, dx=0.1) / 1000, rel=1e-6
    )
    assert 1.5 * 20 + 4 * 20 < meter.joules < 2.5 * 20 + 6 * 20  # about 2 W for 20 s, then about 5 W for 20 s
