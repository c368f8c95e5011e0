"""Small COVIDx folders for tests."""

import numpy as np

from xray_debug.data.images import write_image

CLASSES = ("normal", "pneumonia", "COVID-19")


def picture(seed: int, shape=(40, 44)) -> np.ndarray:
    """A smooth random uint8 picture, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:shape[0], 0:shape[1]] / 40
    waves = [rng.normal() * np.cos(rng.uniform(1, 16) * rows + rng.uniform(1, 16) * columns + rng.uniform(0, 6))
             for _ in range(12)]
    total = np.sum(waves, axis=0)
    return (255 * (total - total.min()) / np.ptp(total)).astype(np.uint8)


def make_dataset(root, train=18, test=6):
    """train/ test/ and their label files; patient of image i is "P<i // 2>"; returns root."""
    for split, count, start in (("train", train, 0), ("test", test, 1000)):
        (root / split).mkdir(parents=True)
        lines = []
        for i in range(count):
            write_image(root / split / f"{split}-{i:03d}.png", picture(start + i))
            patient = f"{'P' if split == 'train' else 'Q'}{i // 2}"
            lines.append(f"{patient} {split}-{i:03d}.png {CLASSES[i // 2 % 3]} site{i % 2}\n")
        (root / f"{split}_COVIDx.txt").write_text("".join(lines))
    return root


def add_line(root, line: str, split="train") -> None:
    with (root / f"{split}_COVIDx.txt").open("a") as file:
        file.write(line + "\n")
