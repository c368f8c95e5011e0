"""The words of the report, one line each."""

from __future__ import annotations

GLOSSARY = {
    "audited case": "a test image with its prediction, on which text and other regions were removed, shown and pasted",
    "flagged": "removing the text moves the probability by at least audit.min_effect, and by more than at the controls",
    "marker, text": "any letters, digits or signs burned into the film",
    "effect":
        "probability as it is less probability after the intervention: positive where what was removed spoke for "
        "it",
    "control": "the same done at places of the same shape where there is no text; what any disturbance would do",
    "difference": "effect less control, on the same images",
    "separation": "how much larger that difference is on the class's own images than on those of the other classes",
    "absence of text": "pasting markers of other images into films without any; a class may be known by having none",
    "inpainted, smoothed over, filled from the other side":
        "three ways to remove text: from its surroundings (Telea), as evenly as possible, with the other half of "
        "the chest; the one that costs the class most counts, on controls alike",
    "text only": "the text alone on a heavily blurred film",
    "saliency": "what a decision rests on, 0 to 1; shown scaled to its own peak",
    "inserted, deleted": "the most salient pixels put into the blurred film, or taken out of the sharp one",
    "deletion, insertion":
        "area under the probability's curve while pixels are deleted (low is good) or inserted (high)",
    "original, cleaned, control (models)":
        "trained on films as they are, without their text, and with as much inpainted away from text",
    "dfr, reweight, group_dro, paste (models)":
        "repairs: the last layer learned anew with groups balanced; trained with groups counting alike; for the group "
        "that fares worst; with the text of random films pasted in; clean+: the same on cleaned films",
    "reversed": "a test set of the synthetic data in which each class carries another class's marker",
    "swap test": "markers of another class pasted: how often the decision follows the marker",
    "interval":
        "where the figure would lie in 95 of 100 repetitions with other images (patients, where they are known)",
    "p": "how often chance alone would give such a difference; below 0.05 counts",
    "Holm": "p raised for the number of questions asked, so that one of many is not right by luck",
    "Rüger":
        "p-values of several seeds combined without assuming that they are independent: the middle one, raised (1978)",
    "McNemar": "test on the images that only one of two models got right",
    "permutation p": "p from labels shuffled many times",
    "accuracy, macro F1, precision, recall":
        "right decisions of all; and means over the classes, each counting the same",
    "sensitivity, positive predictive value":
        "of a class's images those found; of those called the class those that are",
    "AUROC": "how often an image of the class scores above one of the others; a half is chance",
    "AUPRC": "mean precision over all thresholds, of the class's images found; the class's share is chance",
    "sensitivity at specificity 90 %": "the share of a class found where at most one in ten of the others is called it",
    "group": "images of one source, or of one value of an attribute; with a class: those of them that are of it",
    "overconfidence": "mean confidence less accuracy; above zero the model is surer than it is right",
    "mean recall, balanced accuracy": "share right within each class, averaged over classes; chance is 1 / classes",
    "AUC": "how often a case of the one kind scores above one of the other; a half is chance",
    "calibration error, Brier score": "how far confidence and accuracy lie apart; squared error of the probabilities",
    "repaired": "text was erased by inpainting; nothing else in the film was touched",
    "not shown": "this many images do not show it; that is not the same as shown to be absent",
}
ONLY_WITH = {
    "reversed": lambda report: any(row["test_set"] == "reversed" for row in report["table4"]),
    "dfr, reweight, group_dro, paste (models)": lambda report: bool(report.get("repairs")),
}


def glossary(report: dict) -> list[tuple[str, str]]:
    """(word, what it means), of the words that this report uses."""
    return [(word, line) for word, line in GLOSSARY.items() if ONLY_WITH.get(word, lambda report: True)(report)]
