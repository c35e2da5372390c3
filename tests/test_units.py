"""Quantities: text to numbers and back."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import units
from metagen.units import UnitError


@pytest.mark.parametrize(
    ("text", "count"),
    [("50M", 50_000_000), ("8B", 8 * 10**9), ("1.5T", 1_500_000_000_000), ("0.35b", 350_000_000),
     ("8 B", 8 * 10**9), ("12", 12), (7, 7), (8e9, 8 * 10**9), ("10k", 10_000)],
)  # fmt: skip
def test_a_parameter_count_is_an_exact_integer(text, count):
    parsed = units.parse_count(text)
    assert parsed == count
    assert type(parsed) is int


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512 * 10**6), ("16GB", 16 * 10**9), ("16GiB", 16 * 2**30), ("1.1GB", 1_100_000_000),
     ("16gb", 16 * 10**9), ("2 TiB", 2 * 2**40), ("100B", 100), (4096, 4096)],
)  # fmt: skip
def test_memory_is_bytes_and_gib_is_not_gb(text, size):
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("512", 512), ("8k", 8192), ("256K", 262_144), ("1M", 1_048_576), (2048, 2048), ("0.5k", 512)],
)
def test_a_context_window_counts_in_powers_of_two(text, tokens):
    assert units.parse_context(text) == tokens


@pytest.mark.parametrize("text", ["∞", "inf", "infinite", "Infinite", ".inf"])
def test_an_infinite_context_window_has_one_spelling(text):
    assert units.parse_context(text) == units.INFINITE


@pytest.mark.parametrize(
    ("text", "value", "unit", "spelled"),
    [("120 tok/s", 120, "tok/s", "120 tok/s"), ("120 tokens/s", 120, "tok/s", "120 tok/s"),
     ("2 img/s", 2, "img/s", "2 img/s"), ("30fps", 30, "fps", "30 fps"),
     ("1 meshes/s", 1, "mesh/s", "1 mesh/s"), ("9 env steps/s", 9, "env step/s", "9 env step/s"),
     ("5 Frames/s", 5, "fps", "5 fps"), ("4 passes/s", 4, "pass/s", "4 pass/s"),
     ("1.50 sample/s", 1.5, "sample/s", "1.5 sample/s"),
     ("30s clip/min", 30, "s clip/min", "30s clip/min")],
)  # fmt: skip
def test_a_rate_has_a_value_a_unit_and_one_spelling(text, value, unit, spelled):
    rate = units.parse_rate(text)
    assert (rate.value, rate.unit, str(rate)) == (value, unit, spelled)
    assert units.parse_rate(spelled) == rate


@pytest.mark.parametrize(
    ("text", "seconds", "spelled"),
    [("21 days", 21 * 86400, "21 days"), ("1d", 86400, "1 day"), ("36h", 36 * 3600, "36 hours"),
     ("90 min", 5400, "90 minutes"), ("2 weeks", 14 * 86400, "2 weeks"),
     ("1.5 s", 1.5, "1.5 seconds")],
)  # fmt: skip
def test_a_duration_is_seconds_and_has_one_spelling(text, seconds, spelled):
    assert units.parse_duration(text) == seconds
    assert units.spell_duration(text) == spelled


@pytest.mark.parametrize(
    ("text", "parsed", "spelled"),
    [("10ms", 0.01, "10ms"), ("0.50 s", 0.5, "0.5s"), ("200us", 0.0002, "200us"),
     ("near-real-time", "near-real-time", "near-real-time")],
)  # fmt: skip
def test_a_latency_is_seconds_or_a_class(text, parsed, spelled):
    assert units.parse_latency(text) == parsed
    assert units.spell_latency(text) == spelled


@pytest.mark.parametrize("text", ["380 g/kWh", "0.38 kg/kWh", "380g/kWh", "380.0 g/kwh"])
def test_an_intensity_is_grams_of_co2_a_kwh(text):
    assert units.parse_intensity(text) == 380
    assert units.spell_intensity(text) == "380 g/kWh"


def test_hardware_is_a_number_and_a_name():
    assert units.parse_hardware("256xA100") == (256, "A100")
    assert units.parse_hardware("8 × H100-80GB SXM") == (8, "H100-80GB SXM")  # noqa: RUF001


@pytest.mark.parametrize(
    ("parse", "text", "nearest"),
    [(units.parse_bytes, "16GBs", "16GB"), (units.parse_bytes, "16Gb", "16GB"),
     (units.parse_duration, "3 dayz", "3 day"),
     (units.parse_latency, "near realtime", "near-real-time")],
)  # fmt: skip
def test_a_wrong_unit_gets_the_nearest_one(parse, text, nearest):
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert caught.value.nearest == nearest


REFUSED = {
    units.parse_count: ["0", "-1", "lots", "", "1.5", "1e9", "010", "1_000", "8 B B", "9" * 30, 0.5,
                        float("inf"), "٣", 0, -4, "2000T"],
    units.parse_bytes: ["0B", "0", "-1GB", "lots", "GB", "0.5B", "1e3MB", 0],
    units.parse_context: ["0", "-8k", "8q", "9999999M", "1:30", ""],
    units.parse_rate: ["120", "0 tok/s", "-3 fps", "fast", "tok/s", "1 tok/s/s", "1 tok/min",
                       "1 a b c d/s", "1 t0k/s", "1 " + 21 * "k" + "/s", "1 tok\n/s"],
    units.parse_intensity: ["380", "0 g/kWh", "380 kg/kWh", "2001 g/kWh", "380 g", "low"],
    units.parse_duration: ["21", "0 days", "soon", "1 fortnight"],
    units.parse_latency: ["0ms", "10", "quick", "1 day"],
    units.parse_hardware: ["A100", "0xA100", "256x", "x", "256xA100\\input{x}",
                           "1x../../etc", "1xA\nB"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("parse", "text"), [(parse, text) for parse, texts in REFUSED.items() for text in texts]
)
def test_what_is_no_quantity_is_refused_with_what_is_allowed(parse, text):
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert "such as" in caught.value.allowed


@given(st.integers(1, units.MOST_PARAMETERS))
def test_every_count_survives_its_text(count):
    assert units.parse_count(str(count)) == count


@given(st.integers(1, 999), st.sampled_from("kMBT"))
def test_a_suffix_multiplies_exactly(number, suffix):
    power = {"k": 3, "M": 6, "B": 9, "T": 12}[suffix]
    assert units.parse_count(f"{number}{suffix}") == number * 10**power


@given(st.decimals("0.001", "99999", places=3), st.sampled_from(["tok/s", "fps", "s clip/min"]))
def test_every_rate_survives_its_spelling(number, unit):
    rate = units.Rate(float(number), unit)
    assert units.parse_rate(str(rate)) == rate


@given(st.decimals("0.001", "99999", places=3), st.sampled_from(["s", "min", "h", "d", "w"]))
def test_every_duration_survives_its_spelling(number, unit):
    text = f"{number:f} {unit}"
    assert units.parse_duration(units.spell_duration(text)) == units.parse_duration(text)


@given(st.text(max_size=20))
def test_any_text_is_parsed_or_refused(text):
    for parse in REFUSED:
        try:
            parse(text)
        except UnitError:
            continue


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [(8_030_261_248, 3, "8.03 B"), (999, 3, "999"), (999_999, 3, "1.00 M"),
     (10_012_160, 3, "10.0 M"),
     (349_998_080, 4, "350.0 M"), (1_500_000_000_000, 2, "1.5 T"), (0, 3, "0"),
     (123_456, 1, "100 k"),
     (5 * 10**17, 3, "500000 T")],
)  # fmt: skip
def test_a_count_is_written_to_its_significant_digits(number, digits, text):
    assert units.format_count(number, digits) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(16_060_522_496, "16.1 GB"), (512, "512 B"), (512_000_000, "512 MB"), (999_999, "1.00 MB")],
)
def test_memory_is_written_in_powers_of_ten(number, text):
    assert units.format_bytes(number) == text


@given(st.integers(1000, 10**15), st.integers(2, 6))
def test_a_written_count_is_right_to_its_digits(number, digits):
    value, suffix = units.format_count(number, digits).split()
    scale = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}[suffix]
    assert abs(Decimal(value) * scale / number - 1) <= Decimal(5) / 10**digits


def test_the_nearest_word_ignores_case_and_gives_up_on_nonsense():
    assert units.nearest("Memory_Budgte", ["memory_budget", "latency"]) == "memory_budget"
    assert units.nearest("zzzz", ["memory_budget", "latency"]) == ""
    assert units.nearest("m" * 10**6, ["m"]) == ""
