"""What the names of folders and files say: which part of a data set they are, and what is no class."""

import re

UNLABELED = "unlabeled"
HELD_OUT = ("test", "val")  # in the order of preference

_OF = r"(?:[-_ ]?(?:set|data|dataset|split|images|imgs|pictures|photos))?(?:[-_ ]?\d{1,4})?\Z"  # val2017
_SPLITS = {
    "train": re.compile(r"(?:train|training|trn|trainval)" + _OF, re.IGNORECASE),
    "val": re.compile(r"(?:val|valid|validation|dev|eval|validierung|validacion)" + _OF, re.IGNORECASE),
    "test": re.compile(r"(?:test|testing|tst|hold[-_ ]?out|held[-_ ]?out)" + _OF, re.IGNORECASE),
    UNLABELED: re.compile(r"(?:unlabell?ed|unsup|unsupervised)" + _OF, re.IGNORECASE),
}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+")  # seg_train, trainA, DIV2K_train_HR

_SIZE = r"(?:[-_ ]?\d+(?:x\d+)?)?"
PICTURES = re.compile(
    r"(?:images?|imgs?|pictures?|photos?|jpegimages|jpe?gs?|pngs?|rgb|inputs?|leftimg8bit"
    r"|(?:img|image)s?[-_]?dir)" + _SIZE + r"\Z",
    re.IGNORECASE,
)
CONTAINERS = re.compile(PICTURES.pattern[:-2] + r"|data(?:set)?s?\Z", re.IGNORECASE)
_ABOUT = r"masks?|annotations?|labels?|segmentation\w*|segs?|ground[-_ ]?truth|gt\w*?|depths?|trimaps?|bboxes|edges"
_ABOUT += r"|anns?|(?:ann|seg|mask|label)s?[-_]?dir"
ABOUT_THEM = re.compile(rf"(?:{_ABOUT}|thumb(?:nail)?s?{_SIZE})\Z", re.IGNORECASE)
_VERSIONS = re.compile(
    r"(?:[hl][rq]|high|low|clean|nois[ey]\w*|blur\w*|sharp\w*|orig(?:inal)?s?|aug(?:mented)?|raw|processed|crop(?:ped)?"
    r"|aligned|resized?|colou?r|gr[ae]y(?:scale)?|segmented|rgb|nir|ir|thermal|visible|normals?|inputs?|targets?"
    r"|before|after|(?-i:[AB])|x[248]|\d{2,4}x\d{2,4}|16|32|64|128|256|512|1024|2048)\Z",
    re.IGNORECASE,
)
_COMPANION = re.compile(
    r"(?P<base>.+?)[-_. ]+\(?(?:masks?|seg(?:mentation)?|labels?|gt|ground[-_ ]?truth|depths?|thumb(?:nail)?|trimap"
    r"|annotations?|edges?|normals?|overlay|heatmap|alpha|matte)(?:[-_ ]?\d+)?\)?\Z",
    re.IGNORECASE,
)
_ORIGINALS = ("", "_rgb", "_image", "_img", "_color", "_colour", "_original", "_orig", "_photo")

_NUMBERED = re.compile(r"(?P<word>.*[^\W\d_].*?)[-_. (]*\d+\)?\Z")
_DIGIT_OF = re.compile(r"(\d{1,3})[-_][^\W\d_]+[-_]\d+\Z")  # 7_jackson_32, as spoken digits are called
_OF_CAMERAS = re.compile(
    r"(?:img|image|dsc[nf]?|_dsc|p|pxl|photo|pic|picture|screenshot|screen|frame|scan|file|untitled|cimg|mvi|gopr|dji|vid"
    r"|video|burst|snap|fig|figure|sample|page|whatsapp image|train|test|val|\W*)[-_ ]*\Z",
    re.IGNORECASE,
)


def split_of(name: str) -> str | None:
    """The split that a folder's or a file's name says: `train`, `val`, `test` or `unlabeled`; None: it says none."""
    return next((split for split, pattern in _SPLITS.items() if pattern.match(name)), None)


def split_of_stem(stem: str) -> str | None:
    """The split that a file's name says before its number: `train_001`."""
    found = _NUMBERED.match(stem)
    return None if found is None else split_of(found["word"])


def split_within(name: str) -> tuple[str, str] | None:
    """The split that one word of a name says, and what is left of the name: `seg_train`, `trainA`; None: none says
    one."""
    for word in _WORDS.finditer(name):
        if split := split_of(word[0]):
            return split, (name[: word.start()].rstrip("-_ .") + name[word.end() :]).strip("-_ .")
    return None


def are_versions(names: list[str]) -> bool:
    """Whether these are words for versions of the same pictures, such as `HR` and `LR`, or `64x64` and `128x128`."""
    return len(names) > 1 and all(_VERSIONS.match(name) or ABOUT_THEM.match(name) for name in names)


def is_about(stem: str, stems: set[str]) -> bool:
    """Whether a file is about another one of its folder, by their names without endings, such as `a_mask` about `a`."""
    found = _COMPANION.match(stem)
    return found is not None and any(found["base"] + original in stems for original in _ORIGINALS)


def word_of(stem: str) -> str | None:
    """What a file's name begins with, before its number: `cat` of `cat.0`, `7` of `7_jackson_32`; None where that is a
    camera's."""
    if digit := _DIGIT_OF.match(stem):
        return digit[1]
    found = _NUMBERED.match(stem)
    return None if found is None or _OF_CAMERAS.match(found["word"]) else found["word"]
