"""Who may come in, where the dashboard is shared: a login by the browser's provider, and a list of addresses."""

from __future__ import annotations

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from dashboard.options import Options
from dashboard.parts.messages import plain, show_empty


def admitted(options: Options) -> bool:
    """Whether the visitor may see the dashboard; False after the page has said what is missing.

    Without a list everybody who reaches the page may. Passwords are never asked for here: see docs/dashboard.md.
    """
    if not options.allow:
        return True
    if not _login_is_set_up():
        show_empty(
            "Logging in is not set up",
            "The dashboard was started with `--allow`, which needs an OpenID Connect provider in "
            "`.streamlit/secrets.toml`: `docs/dashboard.md` shows how.",
        )
        return False
    if not st.user.is_logged_in:
        show_empty("Please log in", "This dashboard is for invited people.")
        st.button("Log in", on_click=st.login, type="primary", icon=":material/login:")
        return False
    address = str(st.user.get("email") or "")
    if not st.user.get("email_verified", True) or address.casefold() not in map(str.casefold, options.allow):
        show_empty("No access", f"{plain(address) or 'This account'} is not on the list of this dashboard.")
        st.button("Log out", on_click=st.logout, icon=":material/logout:")
        return False
    return True


def _login_is_set_up() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False
