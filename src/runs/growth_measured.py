"""The coefficients of `growth.py`. Written by `make bench-growth BENCH_ARGS=--write`: not by hand."""

from runs.growth import Growth, RoundLine, Seen, SizeLine, StartLine, StepLine, TaskLine, ValidationLine

MEASURED = Growth(
    date="2026-11-21",
    machine="AMD EPYC, 2 cores (not quiet: to be measured again)",
    points=11,
    held_back=5,
    start=StartLine(base_s=4.196, s_per_data_mb=0.0, s_per_parameter_mb=0.03133),
    first_round=SizeLine(base_s=0.377, s_per_parameter_mb=0.0125),
    round=RoundLine(base_s=0.008247, s_per_worker=0.009319, s_per_mb=0.001056),
    step=StepLine(
        base_s=0.0001965,
        s_per_value=0.0,
        s_per_parameter_beyond=1.925e-08,
        s_per_parameter_example=1.748e-10,
    ),
    validation=ValidationLine(first_s=0.2168, s_per_worker=0.006299),
    finish=SizeLine(base_s=0.3495, s_per_parameter_mb=0.03691),
    task=TaskLine(base_s=0.003542, s_per_mb=0.0008742),
    cold_s=3.233,
    build_s=0.2115,
    errors={
        "time": Seen(median=0.3439, worst=0.5025),
        "bytes": Seen(median=0.0104, worst=0.04197),
        "requests": Seen(median=0.003383, worst=0.01102),
        "dollars": Seen(median=0.02049, worst=0.2002),
    },
)
