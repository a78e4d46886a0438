"""Numbers as people read them, the same in tables, charts and progress lines."""


def number(value: float) -> str:
    """Up to four significant digits, `1e-5` rather than `1e-05` or `0.00001`."""
    if abs(value) < 1e6 and value == int(value):
        return str(int(value))
    if 0.01 <= abs(value) < 1e6:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def percent(fraction: float) -> str:
    """A share of one with one decimal, without the sign: 0.8649 -> `86.5`."""
    return f"{100 * fraction:.1f}"


def p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def duration(seconds: float) -> str:
    """`45s`, `3m 05s`, `2h 07m`, `1d 04h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 24 else f"{hours // 24}d {hours % 24:02d}h"
