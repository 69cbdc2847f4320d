"""`lambdafit dashboard`: its options."""

from __future__ import annotations

import click

from cli.flags import Command, Flags, option
from cli.place import place_options

EXAMPLE = "lambdafit dashboard\nlambdafit dashboard latest --read-only\nlambdafit dashboard --engine aws --port 9000"
SERVER = "The server"


@click.command(cls=Command, example=EXAMPLE, short_help="Start, watch and understand runs in the browser.")
@click.argument("run", required=False)
@option(SERVER, "--port", type=click.IntRange(0, 65535), metavar="N", help="0: any.  [default: 8501 or the next free]")
@option(SERVER, "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where it listens.")
@option(SERVER, "--read-only", is_flag=True, help="Starting, stopping and removing are switched off.")
@option(SERVER, "--allow", multiple=True, metavar="EMAIL", help="Who may come in after a login; repeatable.")
@option(SERVER, "--open/--no-open", "opens", default=None, help="A browser window.  [default: on a terminal]")
@place_options()
@click.pass_obj
def dashboard(
    flags: Flags,
    /,
    run: str | None,
    port: int | None,
    host: str,
    read_only: bool,
    allow: tuple[str, ...],
    opens: bool | None,
) -> int:
    """Open the dashboard, on RUN if one is named. Ctrl-C ends it; runs go on.

    It shows this machine's runs, or with --engine aws those of a deployed stack. Only this machine can reach it, unless
    --host says otherwise: then it needs --allow (with a login, see docs/dashboard.md) or --read-only.
    """
    from cli.dashboard_server import serve

    return serve(flags, run, port, host, read_only=read_only, allow=allow, opens=opens)
