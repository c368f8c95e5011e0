"""Paths at which no file can be read: (fault in words, which reader, how the path is made)."""


def missing(root):
    return root / "no-such-thing"


def folder(root):
    (root / "folder").mkdir()
    return root / "folder"


def below_a_file(root):
    (root / "file").write_text("x")
    return root / "file" / "thing"


def dangling(root):
    (root / "link").symlink_to(root / "gone")
    return root / "link"


def loop(root):
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    return root / "a"


def long(root):
    return root / ("x" * 300)


def nul(root):
    return root / "a\0b"


PLACES = {"nothing": missing, "folder": folder, "path below a file": below_a_file, "link to nothing": dangling,
          "loop of links": loop, "name of 300 bytes": long, "NUL in a name": nul}  # fmt: skip
# a folder may hold masks or a model; a review file that is missing is made
SOUND = {("regions", "folder"), ("review file", "nothing"), ("review file", "link to nothing")}
READERS = ("image", "label file", "regions", "pipeline", "model", "review file")
REFUSED = [
    (f"{place} in place of {'an' if reader == 'image' else 'the'} {reader}", reader, make)
    for reader in READERS for place, make in PLACES.items() if (reader, place) not in SOUND
]  # fmt: skip
