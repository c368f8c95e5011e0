"""Training in which text tells nothing: images without theirs get the text of others, drawn at random.

What the audit's swap test asks of a trained model is made the augmentation. Text is the difference between an image and
the same cleaned, in what the model sees. What is pasted comes from a random image of the training, whatever its class
and also from one without text, in every epoch from another one. The best epoch is chosen on cleaned images.
"""

from __future__ import annotations

from xray_debug.models.repairs.base import REPAIRS, Training


@REPAIRS.register("paste", help="trained anew on cleaned images into which the text of others is pasted at random")
class Paste(Training):
    needs_groups = False
    needs_markers = True
    balance = ""
