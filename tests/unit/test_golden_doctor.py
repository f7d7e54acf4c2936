"""The doctor's whole text for a machine that never changes."""

import goldens
from glasshive.bpf import doctor, probe
from glasshive.bpf.probe import Answer, Finding, Machine


def test_golden_doctor_text():
    needs = {need for one in doctor.FEATURES for need in (*one.needs, *one.better)}
    names = sorted({one for need in needs for one in probe.alternatives(need)})
    lacking = {"attach:tcx", "link:wireguard", "attach:fentry"}
    found = {
        name: Finding(name, Answer.NOT if name in lacking else Answer.SUPPORTED, "as the test says") for name in names
    }
    machine = Machine("6.1.0-golden", found)
    goldens.check("doctor", doctor.render(machine, doctor.diagnose(machine, doctor.FEATURES), everything=True))
