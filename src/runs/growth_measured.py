"""The coefficients of `growth.py`. Written by `make bench-growth BENCH_ARGS=--write`: not by hand."""

from runs.growth import Growth, RoundLine, Seen, SizeLine, StartLine, StepLine, TaskLine, ValidationLine

MEASURED = Growth(
    date="2026-11-21",
    machine="AMD EPYC, 2 cores",
    points=18,
    held_back=8,
    start=StartLine(base_s=5.431, s_per_data_mb=0.0, s_per_parameter_mb=0.001153),
    first_round=SizeLine(base_s=0.5537, s_per_parameter_mb=0.008169),
    round=RoundLine(base_s=0.01842, s_per_worker=0.01011, s_per_mb=0.0007024),
    step=StepLine(
        base_s=0.000304,
        s_per_value=2.093e-09,
        s_per_parameter_beyond=9.271e-09,
        s_per_parameter_example=1.051e-10,
    ),
    validation=ValidationLine(first_s=0.2206, s_per_worker=0.003636),
    finish=SizeLine(base_s=0.4759, s_per_parameter_mb=0.03871),
    task=TaskLine(base_s=0.006693, s_per_mb=0.0007217),
    cold_s=3.744,
    build_s=0.2066,
    errors={
        "time": Seen(median=0.01752, worst=0.09857),
        "bytes": Seen(median=0.0004571, worst=0.001524),
        "requests": Seen(median=0.002266, worst=0.02197),
        "dollars": Seen(median=0.005749, worst=0.0536),
    },
)
