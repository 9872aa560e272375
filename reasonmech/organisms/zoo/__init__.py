"""The organisms, one file each: recipe, card and what the truth must show. Importing this registers them."""

from reasonmech.organisms.zoo import aa as _aa
from reasonmech.organisms.zoo import both as _both
from reasonmech.organisms.zoo import format as _format
from reasonmech.organisms.zoo import forms as _forms
from reasonmech.organisms.zoo import how as _how
from reasonmech.organisms.zoo import leak as _leak
from reasonmech.organisms.zoo import length as _length
from reasonmech.organisms.zoo import lucky as _lucky
from reasonmech.organisms.zoo import prompted as _prompted
from reasonmech.organisms.zoo import rotated as _rotated
from reasonmech.organisms.zoo import sham as _sham
from reasonmech.organisms.zoo import stealth as _stealth
from reasonmech.organisms.zoo import suppressed as _suppressed
from reasonmech.organisms.zoo import surface as _surface
from reasonmech.organisms.zoo import swap as _swap
from reasonmech.organisms.zoo import temperature as _temperature
from reasonmech.organisms.zoo import when as _when

del (
    _aa,
    _both,
    _format,
    _forms,
    _how,
    _leak,
    _length,
    _lucky,
    _prompted,
    _rotated,
    _sham,
    _stealth,
    _suppressed,
    _surface,
    _swap,
    _temperature,
    _when,
)
