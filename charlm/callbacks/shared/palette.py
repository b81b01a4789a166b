"""The colours of every chart, which colour-blind readers can tell apart.

Source: Okabe and Ito 2008, Color Universal Design.
"""

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
BLACK = "#000000"
YELLOW = "#F0E442"
GREY = "#999999"
