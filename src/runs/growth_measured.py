"""The coefficients of `growth.py`. Written by `make bench-growth BENCH_ARGS=--write`: not by hand."""

from runs.growth import Growth, RoundLine, Seen, SizeLine, StartLine, StepLine, TaskLine, ValidationLine

MEASURED = Growth(
    date="2026-11-21",
    machine="AMD EPYC, 2 cores (not quiet: to be measured again)",
    points=7,
    held_back=3,
    start=StartLine(base_s=4.079, s_per_data_mb=0.0, s_per_parameter_mb=0.02797),
    first_round=SizeLine(base_s=0.3728, s_per_parameter_mb=0.01209),
    round=RoundLine(base_s=0.006451, s_per_worker=0.01156, s_per_mb=0.0009308),
    step=StepLine(
        base_s=0.0002099,
        s_per_value=2.572e-09,
        s_per_parameter_beyond=1.695e-08,
        s_per_parameter_example=0.0,
    ),
    validation=ValidationLine(first_s=0.207, s_per_worker=0.00646),
    finish=SizeLine(base_s=0.351, s_per_parameter_mb=0.03461),
    task=TaskLine(base_s=0.00333, s_per_mb=0.0009114),
    cold_s=3.019,
    build_s=0.1416,
    errors={
        "time": Seen(median=0.176, worst=0.272),
        "bytes": Seen(median=0.002651, worst=0.0104),
        "requests": Seen(median=0.005036, worst=0.01102),
        "dollars": Seen(median=0.008754, worst=0.09546),
    },
)
