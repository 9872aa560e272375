"""Edits: what becomes of the coordinates, one file each."""

from reasonmech.interventions.edits.ablate import Ablate
from reasonmech.interventions.edits.clamp import Clamp
from reasonmech.interventions.edits.edit import Edit, Place, Values, edits
from reasonmech.interventions.edits.patch import Patch
from reasonmech.interventions.edits.scale import Scale
from reasonmech.interventions.edits.steer import Steer

__all__ = ["Ablate", "Clamp", "Edit", "Patch", "Place", "Scale", "Steer", "Values", "edits"]
