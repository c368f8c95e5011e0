"""Coverage-guided fuzz of what reads a stranger's bytes: label files, images, DICOM. No test, and no part of the suite.

    pip install atheris        # beside the project's packages; Linux or macOS
    python tests/faults/fuzz.py labels|image|dicom --seconds 1200 --finds FOLDER

Each input must be read, or be refused with the house's own error in one sentence that names the file, within
SECONDS of processor time and MEMORY above what is in use. What breaks that is kept as FOLDER/TARGET-KIND.bin with its
traceback beside it, one input of each kind, and the search goes on; so it does after a crash or a hang. The corpus is
kept in FOLDER/corpus-TARGET: the same command goes on where it was. Exit status 1 where there are finds.

A find, once its cause is mended, becomes a case of tests/faults/test_fuzz_finds.py.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEMORY = 5.0, 5 << 29  # processor time and bytes that one small input may take
LONGEST = {"labels": 1 << 14, "image": 1 << 12, "dicom": 1 << 13}  # bytes of an input
LIMITS = ("-timeout=60", "-rss_limit_mb=6000", "-print_final_stats=1", "-verbosity=0")
KILOBYTE = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss


def labels(path: Path, content: bytes) -> None:
    """Lines are rows, or problems; rows that are written again read as themselves."""
    from xray_debug.data.formats.covidx_labels import COLUMNS, LabelError, parse_labels, read_labels, write_labels

    path.write_bytes(content)
    try:
        parsed = parse_labels(path)
        frame = read_labels(path)
    except LabelError as error:
        for problem in error.problems:
            one_sentence(problem, path)
        return
    assert not parsed.problems and len(parsed.rows) == len(frame), "read_labels and parse_labels differ"
    try:
        write_labels(path, frame)
    except LabelError as error:
        return one_sentence(str(error), "cannot be written")
    again = read_labels(path)
    assert again[COLUMNS[:4]].equals(frame[COLUMNS[:4]]), "written and read again, other rows"


def image(path: Path, content: bytes) -> None:
    """Pixels of the size that the header says, and a grey view of them."""
    from xray_debug.data.images import ImageError, image_header, read_film

    header = None
    try:
        header = image_header(path, content)
        film = read_film(path, content)
    except ImageError as error:
        return one_sentence(str(error), path)
    assert film.pixels.dtype.name in ("uint8", "uint16") and film.pixels.ndim in (2, 3), film.pixels.dtype
    assert film.pixels.shape[:2] == (header.height, header.width), f"header {header}, pixels {film.pixels.shape}"
    assert film.gray.shape == film.pixels.shape[:2]


TARGETS = {"labels": labels, "image": image, "dicom": image}


def one_sentence(text: str, names: str | Path) -> None:
    assert str(names) in text, f"does not name the file: {text!r}"
    assert text.isprintable() and len(text) < 1200, f"not one line: {text!r}"


# ------------------------------------------------------------------------------------------------------- seeds


def seeds(target: str) -> list[bytes]:
    """Small sound and damaged files, as the tests make them."""
    from faults import corpus_images, corpus_texts, fuzz_seeds

    if target == "labels":
        return [row[1] for row in corpus_texts.LABELS_READ + corpus_texts.LABELS_REFUSED]
    if target == "dicom":
        return fuzz_seeds.dicom_files()
    return [row[2] for row in corpus_images.READ + corpus_images.REFUSED] + fuzz_seeds.image_files()


def repaired(content: bytes) -> bytes:
    """A PNG whose chunks' checksums are right: no decoder would look behind a wrong one."""
    parts, at = [content[:8]], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : at + 8 + size]
        parts += [content[at : at + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        at += size + 12
    return b"".join(parts) + content[at:]


def mutated(content: bytes, longest: int, seed: int) -> bytes:
    import atheris

    content = atheris.Mutate(content, longest)
    return repaired(content)[:longest] if content[:4] == b"\x89PNG" and seed % 4 else content


# ----------------------------------------------------------------------------------------------------- one run


class Watch:
    """Calls the target with each input and keeps what breaks its promise."""

    def __init__(self, target: str, finds: Path, folder: Path):
        self.name, self.target, self.finds = target, TARGETS[target], finds
        self.path, self.peak = folder / "film", peak()

    def __call__(self, content: bytes) -> None:
        start = time.process_time()
        try:
            self.target(self.path, content)
        except Exception as error:
            self.keep(content, traceback.format_exc(), kind_of(error))
        used, grown = time.process_time() - start, peak() - self.peak
        if used > SECONDS:
            self.keep(content, f"{used:.1f} s of processor time\n", f"slow-{int(used / SECONDS)}")
        if grown > MEMORY:
            self.peak += grown  # the peak of a process never falls
            self.keep(content, f"{grown >> 20} MiB more\n", "memory")

    def keep(self, content: bytes, why: str, kind: str) -> None:
        place = self.finds / f"{self.name}-{kind}.bin"
        if not place.exists():
            place.write_bytes(content)
            place.with_suffix(".txt").write_text(why, encoding="utf-8", errors="replace")
            print(f"find: {place}\n{why.splitlines()[-1]}", file=sys.stderr, flush=True)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE


def kind_of(error: Exception) -> str:
    """The exception's name and a digest of where in the house it came from."""
    places = [f"{Path(frame.filename).name}:{frame.name}" for frame in traceback.extract_tb(error.__traceback__)
              if str(ROOT) in frame.filename]  # fmt: skip
    where = "|".join([*places, str(error)[:20] if isinstance(error, AssertionError) else ""])
    return f"{type(error).__name__}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def search(target: str, finds: Path, seconds: int) -> None:
    """Until the time is over, or something kills this process. Never returns."""
    import logging
    import warnings

    import atheris

    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    with atheris.instrument_imports(include=["xray_debug", "pydicom", "PIL"]):
        import pydicom.pixels  # noqa: F401
        from PIL import Image

        import xray_debug.data.formats.covidx_labels
        import xray_debug.data.images  # noqa: F401
    Image.init()
    logging.disable()
    warnings.simplefilter("ignore")
    corpus = finds / f"corpus-{target}"
    corpus.mkdir(exist_ok=True)
    for content in seeds(target):
        if len(content) <= LONGEST[target]:
            (corpus / hashlib.sha1(content).hexdigest()).write_bytes(content)
    arguments = [*LIMITS, f"-max_total_time={seconds}", f"-max_len={LONGEST[target]}",
                 f"-artifact_prefix={finds}/{target}-killed-", str(corpus)]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(target, finds, Path(folder))
        mutator = {} if target == "labels" else {"custom_mutator": mutated}
        atheris.Setup([sys.argv[0], *arguments], watch, **mutator)
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=1200)
    parser.add_argument("--finds", type=Path, required=True)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    finds = given.finds.resolve()
    finds.mkdir(parents=True, exist_ok=True)
    if given.child:
        search(given.target, finds, given.seconds)
    end = time.monotonic() + given.seconds
    while (left := int(end - time.monotonic())) > 0:  # again after a crash
        command = [sys.executable, __file__, given.target, "--finds", str(finds), "--seconds", str(left), "--child"]
        if subprocess.run(command, check=False).returncode == 1:  # not the search: it could not begin
            return 2
    found = sorted(path.name for path in finds.glob(f"{given.target}-*") if path.suffix != ".txt")
    print(f"{given.target}: {len(found)} finds {' '.join(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
