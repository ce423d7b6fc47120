"""Types chosen for a size: the size is kept, the choice is the best, and predictions come true."""

from itertools import product

import numpy as np
import pytest

from realizar.errors import ParameterError
from realizar.gguf import GGUFFile
from realizar.gguf.imatrix import write_imatrix
from realizar.quality import compare, measure_imatrix, measure_sensitivities, quantize_to_budget, sample_text
from realizar.quality.sensitivity import probe_type
from realizar.quality.statistics import kl_divergence, log_softmax, small_divergences
from realizar.quantize import quantize_file
from realizar.quantize.budget import Option, choose, parse_budget
from tests.limits.models import LLAMA
from tests.parity.cases import OWN_SET
from tests.shared import SHARED, needs_shared

ENCODER = OWN_SET / "llama_embed" / "model-q8_0.gguf"
SIZES = {"n_ctx": 64, "n_chunks": 4}


@pytest.fixture(scope="module")
def sensitivities():
    return measure_sensitivities(LLAMA, sample_text(), n_chunks=1)


def test_budgets_as_text():
    for text, bits, n_bytes in (
        ("4.25bpw", 4.25, None), ("350MB", None, 350_000_000), (" .5 gib", None, 2**29), ("1.5GB", None, 1_500_000_000),
        ("2MiB", None, 2**21),
    ):  # fmt: skip
        assert (parse_budget(text).bits_per_weight, parse_budget(text).n_bytes) == (bits, n_bytes)
    for text in ("", "4.25", "4.25 bits", "-1MB", "1e3MB", "0bpw", "nanbpw", "4,5bpw", "9" * 400 + "MB", "٣MB"):
        with pytest.raises(ParameterError, match=r"such as 4\.25bpw, 350MB"):
            parse_budget(text)


def test_the_choice_is_the_best_of_its_size():
    rng = np.random.default_rng(0)
    options = [
        [Option(str(i), int(n), float(cost)) for i, (n, cost) in enumerate(zip(sizes, costs, strict=True))]
        for sizes, costs in zip(rng.integers(1, 60, (5, 5)), rng.random((5, 5)), strict=True)
    ]
    least, most = (sum(kind(option.n_bytes for option in each) for each in options) for kind in (min, max))
    for limit in range(least, most + 2, 7):
        found = choose(options, limit)
        size, cost = sum(option.n_bytes for option in found), sum(option.cost for option in found)
        every = [(sum(o.n_bytes for o in some), sum(o.cost for o in some)) for some in product(*options)]
        best = min(cost for n, cost in every if n <= limit)
        assert size <= limit
        assert best <= cost <= best + 0.5 * max(o.cost for each in options for o in each)
    assert choose(options, most) == [min(each, key=lambda o: (o.cost, o.n_bytes)) for each in options]


def test_small_divergences():
    rng = np.random.default_rng(1)
    reference = rng.standard_normal((4, 500), np.float32) * 5
    reference[1, 7] = -np.inf
    for scale in (1.0, 1e-3):
        logits = reference + np.float32(scale) * rng.standard_normal((4, 500), np.float32) + np.float32(3)
        wanted = [kl_divergence(log_softmax(p), log_softmax(q)) for p, q in zip(reference, logits, strict=True)]
        np.testing.assert_allclose(small_divergences(reference, logits), wanted, rtol=2e-3)
    assert (small_divergences(reference, reference) == 0).all()


def test_a_sensitivity_is_the_divergence_of_a_file_with_that_tensor_alone(sensitivities, tmp_path):
    name = "blk.1.ffn_down.weight"
    with GGUFFile(LLAMA) as file:
        info = file.tensors[name]
        assert set(sensitivities) == {each for each in file.tensors if each.endswith("weight") and "norm" not in each}
    target = probe_type(info.shape[-1], info.type)
    changed = tmp_path / "changed.gguf"
    keep = [(each, "Q4_1") for each in sensitivities if each not in (name, "output.weight")]
    quantize_file(LLAMA, changed, "F16", overrides=[(name, target), ("output.weight", "Q6_K"), *keep])
    wanted = compare(LLAMA, changed, sample_text(), n_ctx=128, n_chunks=1).divergence  # of the second half
    assert sensitivities[name] == pytest.approx(wanted.value, rel=0.3)


@needs_shared
@pytest.mark.parametrize("name", ["phi3", "qwen2moe", "deepseek2", "jamba"])  # fused, experts, MLA, states
def test_other_architectures(name):
    path = SHARED / "parity" / name / "model-q4_k_m.gguf"
    found = measure_sensitivities(path, sample_text(), n_chunks=1)
    with GGUFFile(path) as file:
        fitting = {key for key, info in file.tensors.items() if key.startswith("blk.") and info.type.n_elements > 1}
    assert fitting <= set(found)
    assert all(0 < found[key] < 10 for key in fitting)


@pytest.mark.parametrize("budget", ["3.6bpw", "0.5MiB"])
def test_a_budget_is_kept_and_used(sensitivities, tmp_path, budget):
    path = tmp_path / "out.gguf"
    found = quantize_to_budget(LLAMA, path, budget, sensitivities=sensitivities)
    limit = parse_budget(budget)
    if limit.bits_per_weight is not None:
        assert 0.97 * limit.bits_per_weight < found.bits_per_weight <= limit.bits_per_weight
    else:
        assert 0.97 * limit.n_bytes < path.stat().st_size <= limit.n_bytes
    with GGUFFile(path) as file:
        assert {plan.name: plan.target for plan in found.plans} == {i.name: i.type for i in file.tensors.values()}
        assert all(info.shape[-1] % info.type.n_elements == 0 for info in file.tensors.values())
        assert "general.file_type" not in file.metadata
    predicted = sum(found.divergences.values())
    measured = compare(LLAMA, path, sample_text(), **SIZES).divergence.value
    assert predicted == pytest.approx(measured, rel=0.3)


def test_it_beats_one_type_for_all(sensitivities, tmp_path):
    same, chosen = tmp_path / "same.gguf", tmp_path / "chosen.gguf"
    quantize_file(LLAMA, same, "Q4_0", overrides=[("weight", "Q4_0")])
    quantize_to_budget(LLAMA, chosen, f"{same.stat().st_size / 1e6}MB", sensitivities=sensitivities)
    assert chosen.stat().st_size <= same.stat().st_size
    by_one, by_choice = (compare(LLAMA, path, sample_text(), **SIZES).divergence.value for path in (same, chosen))
    assert by_choice < 0.5 * by_one


def test_the_same_with_any_number_of_threads(sensitivities, tmp_path):
    one = measure_sensitivities(LLAMA, sample_text(), n_chunks=1, n_threads=1)
    assert one == measure_sensitivities(LLAMA, sample_text(), n_chunks=1, n_threads=3) == sensitivities
    paths = [tmp_path / f"{n}.gguf" for n in (1, 3)]
    for n, path in zip((1, 3), paths, strict=True):
        quantize_to_budget(LLAMA, path, "4.5bpw", sensitivities=one, n_threads=n)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_importances_make_smaller_types_possible(sensitivities, tmp_path):
    matrix, out = tmp_path / "imatrix.gguf", tmp_path / "out.gguf"
    write_imatrix(matrix, measure_imatrix(LLAMA, sample_text(), n_ctx=128, n_chunks=1))
    with pytest.raises(ParameterError, match=r"smallest types.*need 2\.\d+ bits per weight; an importance matrix"):
        quantize_to_budget(LLAMA, None, "2.5bpw", sensitivities=sensitivities)
    found = quantize_to_budget(LLAMA, out, "2.5bpw", imatrix=matrix, sensitivities=sensitivities)
    assert any(plan.target.name.startswith("IQ2") for plan in found.plans)
    assert found.bits_per_weight <= 2.5


def test_what_is_not_measured_keeps_its_type(sensitivities):
    some = {name: value for name, value in sensitivities.items() if "ffn" in name}
    found = quantize_to_budget(LLAMA, None, "4.5bpw", sensitivities=some)
    assert all(plan.source == plan.target for plan in found.plans if plan.name not in some)
    assert any(plan.source != plan.target for plan in found.plans)


def test_errors(sensitivities, tmp_path):
    def never(*args):
        raise AssertionError("the budget is checked before anything is measured")

    for budget, message in (("5.5bpw", "has 5.243 bits per weight as it is"), ("1MB", r"has 65\d,\d{3} bytes as it is"),
                            ("0.1MB", r"need 3\d\d,\d{3} bytes; an importance")):  # fmt: skip
        for given in (None, sensitivities):
            with pytest.raises(ParameterError, match=message):
                quantize_to_budget(LLAMA, tmp_path / "out.gguf", budget, sensitivities=given, progress=never)
    with pytest.raises(ParameterError, match="is a folder"):
        quantize_to_budget(tmp_path, tmp_path / "out.gguf", "4bpw")
    with pytest.raises(ParameterError, match="a chunk needs 128"):
        quantize_to_budget(LLAMA, tmp_path / "out.gguf", "4bpw", text="short")
    with pytest.raises(ParameterError, match="only decoders"):
        quantize_to_budget(ENCODER, tmp_path / "out.gguf", "6bpw")
    assert list(tmp_path.iterdir()) == []
