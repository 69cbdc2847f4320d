"""The coefficients of `growth.py`. Written by `make bench-growth BENCH_ARGS=--write`: not by hand."""

from runs.growth import Growth, RoundLine, SizeLine, StartLine, StepLine, TaskLine, ValidationLine

MEASURED = Growth(
    date="2026-11-21",
    machine="AMD EPYC, 2 cores",
    points=0,
    held_back=0,
    start=StartLine(base_s=3.5, s_per_data_mb=0.0, s_per_parameter_mb=0.0),
    first_round=SizeLine(base_s=0.3, s_per_parameter_mb=0.0),
    round=RoundLine(base_s=0.02, s_per_worker=0.003, s_per_mb=0.0),
    step=StepLine(base_s=0.0003, s_per_value=0.0, s_per_parameter_beyond=0.0, s_per_parameter_example=3e-10),
    validation=ValidationLine(first_s=0.2, s_per_worker=0.006),
    finish=SizeLine(base_s=0.5, s_per_parameter_mb=0.0),
    task=TaskLine(base_s=0.01, s_per_mb=0.002),
    cold_s=3.0,
    build_s=0.1,
    errors={},
)
