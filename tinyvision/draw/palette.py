"""The one palette: Okabe and Ito's colours, which colour-blind readers tell apart."""

INK = "#222222"
GREY = "#9a9a9a"
LINE = "#d0d0d0"
PAPER = "#ffffff"
ACCENT = "#d55e00"      # what the reader should look at; nothing else has this colour
POSITIVE = "#56b4e9"
NEGATIVE = "#e69f00"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#7f5fc0", "#8c6d46")


def rgb(colour):
    """(r, g, b) in [0, 1] of "#rrggbb"."""
    return tuple(int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5))


def tint(colour, amount):
    """`colour` mixed with white: amount 0 is white, 1 the colour; (r, g, b) in [0, 1]."""
    return tuple(1 - amount * (1 - part) for part in rgb(colour))


def category(k):
    """The colour of category k; after the eighth they begin again."""
    return COLOURS[k % len(COLOURS)]


def signed(value, largest):
    """The fill of a cell: white at 0, blue above, orange below, pale enough to read on."""
    if not value or not largest:
        return rgb(PAPER)
    return tint(POSITIVE if value > 0 else NEGATIVE, 0.12 + 0.5 * min(1, abs(value) / largest))
