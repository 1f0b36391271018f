"""The looks: dark, light, high contrast; and how dark the terminal is."""

from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="drama-dark", dark=True, primary="#7aa2f7", secondary="#9d7cd8", accent="#e0af68", foreground="#d5dbf0",
    background="#16171f", surface="#1c1e29", panel="#262938", success="#9ece6a", warning="#e0af68", error="#f7768e",
)  # fmt: skip
LIGHT = Theme(
    name="drama-light", dark=False, primary="#2557c7", secondary="#7a3fb0", accent="#9a5b00", foreground="#1d2130",
    background="#fbfaf7", surface="#f2f0ea", panel="#e5e2d9", success="#2f7d32", warning="#9a5b00", error="#b3261e",
)  # fmt: skip
CONTRAST = Theme(
    name="drama-contrast", dark=True, primary="#ffff00", secondary="#00ffff", accent="#ffff00", foreground="#ffffff",
    background="#000000", surface="#000000", panel="#000000", success="#00ff00", warning="#ffff00", error="#ff8080",
    luminosity_spread=0.0, text_alpha=1.0,
)  # fmt: skip
THEMES = {theme.name: theme for theme in (DARK, LIGHT, CONTRAST)}


def choose_theme(wanted: str, environment: Mapping[str, str], background: str = "") -> str:
    """Returns the name of the theme for a setting.

    "auto" follows what the terminal said of its background ("light" or "dark"), else COLORFGBG, which some terminals
    set to "foreground;background" (0 to 6 and 8 are dark); without it dark.
    """
    if wanted == "auto" and background:
        wanted = background
    elif wanted == "auto":
        number = environment.get("COLORFGBG", "").rpartition(";")[2]
        wanted = "light" if number in ("7", "9", "10", "11", "12", "13", "14", "15") else "dark"
    return f"drama-{wanted}"
