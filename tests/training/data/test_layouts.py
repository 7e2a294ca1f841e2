"""Folders of pictures as strangers have them: each is learnt rightly, or refused in words."""

import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from latentserve.training.data import load, summary
from latentserve.training.errors import DataError, TrainingError
from latentserve.training.fitting import fit
from latentserve.training.watching import held_out

RNG = np.random.default_rng(0)


def put(path: Path, mode: str = "RGB", size: tuple[int, int] = (4, 4), **options: Any) -> Path:
    """A picture of noise at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = RNG.integers(0, 256, (size[1], size[0], channels), np.uint8)
    Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels, mode if channels > 1 else "L").save(path, **options)
    return path


def encoded() -> bytes:
    """A PNG of noise."""
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (4, 4, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def tree(folder: Path, *names: str) -> None:
    for name in names:
        put(folder / name)


def many(folder: Path, pattern: str, count: int, first: int = 0) -> None:
    for at in range(first, first + count):
        put(folder / pattern.format(at))


class Expected(NamedTuple):
    """What a layout is understood as.

    Attributes:
        classes: samples of each; a number: so many without classes.
        held_out: samples of the other part; 0: there is none.
        told: words that the summary must hold.
        options: how it is read.
        conditions: names of them.
    """

    classes: dict[str, int] | int
    held_out: int = 0
    told: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})
    conditions: tuple[str, ...] = ()


Build = Callable[[Path], None]
LAYOUTS: dict[str, tuple[Build, Expected | str | tuple[str, dict[str, Any]]]] = {}


def layout(expected: Expected | str | tuple[str, dict[str, Any]]) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        LAYOUTS[build.__name__] = (build, expected)
        return build

    return add


# Splits.


@layout(Expected({"cat": 2, "dog": 1}))
def a_train_folder_alone(at: Path) -> None:
    tree(at, "train/cat/a.png", "train/cat/b.png", "train/dog/a.png")


@layout(Expected({"cat": 1, "dog": 1}, 2))
def capital_letters(at: Path) -> None:
    tree(at, "Train/cat/a.png", "Train/dog/a.png", "Test/cat/a.png", "Test/dog/a.png")


@layout(Expected({"cat": 1, "dog": 1}, 2))
def training_and_testing(at: Path) -> None:
    tree(at, "training/cat/a.png", "training/dog/a.png", "testing/cat/a.png", "testing/dog/a.png")


@layout(Expected({"cat": 1, "dog": 1}, 2, ("left out: 3 pictures of `unlabeled`", "left out: 1 pictures of `val`")))
def four_splits(at: Path) -> None:
    tree(at, "train/cat/a.png", "train/dog/a.png", "val/cat/a.png", "test/cat/b.png", "test/dog/b.png")
    many(at, "unlabeled/{}.png", 3)


@layout(Expected({"cat": 1, "dog": 1}, 2, ("left out: 2 pictures of `test`",)))
def a_test_part_whose_labels_nobody_has(at: Path) -> None:
    tree(at, "train/cat/a.png", "train/dog/a.png", "valid/cat/a.png", "valid/dog/a.png", "test/1.png", "test/2.png")


@layout(Expected(2, 1))
def dev_beside_train(at: Path) -> None:
    tree(at, "train/a.png", "train/b.png", "dev/c.png")


@layout(Expected(2, 1))
def years_behind_the_names(at: Path) -> None:
    tree(at, "train2017/a.png", "train2017/b.png", "val2017/c.png")


@layout(Expected({"cat": 1, "dog": 1}, 1))
def classes_beside_a_test_folder(at: Path) -> None:
    tree(at, "cat/a.png", "dog/a.png", "test/cat/b.png")


@layout("only `test` in it, which is held out")
def a_test_folder_alone(at: Path) -> None:
    tree(at, "test/cat/a.png", "test/dog/a.png")


@layout(Expected(2, told=("no classes",)))
def unlabeled_alone(at: Path) -> None:
    tree(at, "unlabeled/a.png", "unlabeled/b.png")


@layout("is `train` a split or, beside `bus`, a class")
def vehicles_one_of_which_is_a_train(at: Path) -> None:
    tree(at, "bus/a.png", "train/a.png", "car/a.png")


@layout(Expected({"bus": 1, "car": 1, "train": 1}, options={"folders": "classes"}))
def vehicles_said_to_be_classes(at: Path) -> None:
    tree(at, "bus/a.png", "train/a.png", "car/a.png")


@layout(Expected({"cat": 1, "dog": 1}, 1))
def all_in_a_folder_of_the_archives_name(at: Path) -> None:
    tree(at, "pets/data/train/cat/a.png", "pets/data/train/dog/a.png", "pets/data/test/cat/b.png")


@layout(Expected(2, 1))
def images_before_splits_and_labels_of_boxes(at: Path) -> None:
    tree(at, "images/train/a.png", "images/train/b.png", "images/val/c.png")
    (at / "labels" / "train").mkdir(parents=True)
    (at / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 1 1")


@layout(Expected({"bottle": 1, "cable": 1}, 2, ("left out: 1 that are about the others",)))
def splits_inside_classes(at: Path) -> None:
    tree(at, "bottle/train/good/a.png", "bottle/test/broken/b.png", "cable/train/good/a.png", "cable/test/good/b.png")
    tree(at, "bottle/ground_truth/broken/b.png")


@layout(Expected(2, 2))
def the_same_name_twice(at: Path) -> None:
    tree(at, "train/train/a.png", "train/train/b.png", "test1/test1/c.png", "test1/test1/d.png")


@layout(Expected({"n01": 2, "n02": 2}, 2, ("left out: 2 pictures of `test`",)))
def labels_of_the_held_out_part_in_a_list(at: Path) -> None:
    """As in Tiny ImageNet."""
    tree(at, *(f"train/{name}/images/{name}_{row}.JPEG" for name in ("n01", "n02") for row in range(2)))
    tree(at, *(f"{split}/images/{split}_{row}.JPEG" for split in ("val", "test") for row in range(2)))
    table(at, "val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t9\t9", "val_1.JPEG\tn02\t0\t0\t9\t9")


@layout(Expected({"no": 2, "yes": 2}, 2, ("splits are those of testing_list.txt, validation_list.txt",)))
def lists_of_what_is_held_out_alone(at: Path) -> None:
    tree(at, *(f"{word}/{row}ab.png" for word in ("no", "yes") for row in range(4)))
    table(at, "testing_list.txt", "no/0ab.png", "yes/0ab.png")
    table(at, "validation_list.txt", "no/1ab.png", "yes/1ab.png")


@layout(Expected(4, 2, ("ImageSets/Main/test.txt", "left out: 2 pictures of other splits")))
def lists_of_numbers(at: Path) -> None:
    """As in Pascal VOC, with lists of what is in each picture beside them."""
    many(at, "VOC/JPEGImages/{:06d}.jpg", 8)
    for split, rows in (("train", range(4)), ("val", (4, 5)), ("test", (6, 7)), ("trainval", range(6))):
        table(at, f"VOC/ImageSets/Main/{split}.txt", *(f"{row:06d}" for row in rows), "")
        table(at, f"VOC/ImageSets/Main/cat_{split}.txt", *(f"{row:06d} {(-1) ** row}" for row in rows), "")


@layout(Expected({"a": 1, "b": 2}, 2, ("1 lie elsewhere, too, such as train/a/0.png as test/a/0.png",)))
def a_copy_in_another_part(at: Path) -> None:
    tree(at, "train/a/0.png", "train/b/0.png", "train/b/1.png", "test/b/0.png")
    (at / "test" / "a").mkdir()
    (at / "test" / "a" / "0.png").write_bytes((at / "train" / "a" / "0.png").read_bytes())


# What is no class.


@layout(Expected({"cat": 2, "dog": 1}))
def hidden_files_at_any_depth(at: Path) -> None:
    tree(at, "cat/a.png", "cat/b.png", "dog/a.png")
    tree(at, ".ipynb_checkpoints/a.png", "cat/.ipynb_checkpoints/a-checkpoint.png", "dog/@eaDir/a.png")
    tree(at, "__MACOSX/cat/a.png", "cat/._a.png")
    (at / "cat" / "Thumbs.db").write_bytes(b"no picture")


@layout(Expected(3, told=("no classes: all lie in one folder, `images`",)))
def one_folder_of_images(at: Path) -> None:
    many(at, "images/{}.png", 3)


@layout(Expected(6, told=("00000, 01000, 02000 are shards",)))
def shards_of_a_thousand(at: Path) -> None:
    for shard in range(3):
        many(at, f"{shard * 1000:05d}/{{:05d}}.png", 2, shard * 1000)


@layout(Expected({"00000": 2, "00001": 2}))
def classes_of_five_digits(at: Path) -> None:
    for sign in range(2):
        many(at, f"{sign:05d}/{{:05d}}_00000.ppm", 2)


@layout("are 00000, 00001 shards or classes")
def folders_of_as_many_that_may_be_either(at: Path) -> None:
    for folder in range(2):
        many(at, f"{folder:05d}/" + "{}" + "ab"[folder] + ".png", 100)


@layout(Expected(3, told=("are shards",)))
def parts_by_number(at: Path) -> None:
    tree(at, "part-000/a.png", "part-001/b.png", "part-002/c.png")


@layout(Expected(3, told=("are shards",)))
def folders_of_a_hash(at: Path) -> None:
    tree(at, "0a/0a12.png", "f3/f3ee.png", "99/9912.png")


@layout(Expected({"2": 1, "9": 2, "10": 1}))
def digits_are_classes(at: Path) -> None:
    tree(at, "10/a.png", "9/a.png", "9/b.png", "2/a.png")


@layout(Expected(2, told=("left out: 2 in masks",)))
def images_and_their_masks(at: Path) -> None:
    tree(at, "images/a.png", "images/b.png", "masks/a.png", "masks/b.png")


@layout(Expected({"cat": 2, "dog": 1}, told=("those inside them (cat) are of one class",)))
def breeds_inside_classes(at: Path) -> None:
    tree(at, "cat/siamese/a.png", "cat/persian/b.png", "dog/a.png")


@layout(Expected({"a": 1, "b": 2, "c": 1}, told=("of one sample only: 2 of 3 classes, such as a, c",)))
def one_picture_a_class(at: Path) -> None:
    tree(at, "a/1.png", "b/1.png", "b/2.png", "c/1.png")


@layout(Expected({"Ärzte": 1, "猫": 1}))
def names_in_other_letters(at: Path) -> None:
    tree(at, "猫/写真.png", "Ärzte/größe.png")


@layout("loose.png: lies beside class folders such as cat")
def a_picture_beside_classes(at: Path) -> None:
    tree(at, "cat/a.png", "dog/a.png", "loose.png")


@layout(Expected({"cat": 1, "dog": 1, "far": 1}))
def links_and_a_loop(at: Path) -> None:
    tree(at, "cat/a.png", "dog/a.png")
    put(at.parent / f"{at.name}-elsewhere" / "a.png")
    (at / "far").symlink_to(at.parent / f"{at.name}-elsewhere")
    (at / "cat" / "again").symlink_to(at)
    (at / "dog" / "round").symlink_to(at / "dog" / "round")


# Tables beside pictures.


@layout(Expected({"cat": 2, "dog": 1}, conditions=("age",), told=("left out: `text`",)))
def metadata_of_the_hub(at: Path) -> None:
    many(at, "{}.png", 3)
    (at / "metadata.csv").write_text('file_name,label,age,text\n0.png,cat,1.5,"a, b"\n2.png,dog,3,c\n1.png,cat,2,d\n')


@layout(Expected(2, 1, conditions=("x",)))
def metadata_in_lines_of_json(at: Path) -> None:
    for split, count in (("train", 2), ("test", 1)):
        many(at, split + "/{}.png", count)
        lines = [json.dumps({"file_name": f"{row}.png", "x": row + 0.5, "boxes": [1]}) for row in range(count)]
        (at / split / "metadata.jsonl").write_text("\n".join(lines))


@layout(Expected({"beagle": 2, "pug": 2}, told=("left out: sample_submission.csv",)))
def labels_of_a_competition(at: Path) -> None:
    tree(at, *(f"train/{name}.jpg" for name in "abcd"), "test/x.jpg", "test/y.jpg")
    (at / "labels.csv").write_text("id,breed\na,beagle\nb,pug\nc,pug\nd,beagle\n")
    (at / "sample_submission.csv").write_text("id,beagle,pug\nx,0.5,0.5\ny,0.5,0.5\n")


@layout(Expected(3, conditions=("Bald", "Young")))
def attributes_of_faces(at: Path) -> None:
    many(at, "img_align_celeba/{:06d}.jpg", 3, 1)
    (at / "list_attr_celeba.csv").write_text("image_id,Bald,Young\n000001.jpg,-1,1\n000002.jpg,1,1\n000003.jpg,-1,-1\n")


@layout(r"labels.csv: row 2: there is no `gone.png`; 2 of 4 rows name pictures that are not there")
def labels_of_pictures_that_are_gone(at: Path) -> None:
    tree(at, "a.png", "b.png")
    (at / "labels.csv").write_text("file,label\na.png,x\ngone.png,y\nb.png,y\nlost.png,x\n")


@layout(Expected({"x": 1, "y": 1}, options={"broken": "skip"}))
def labels_of_pictures_that_are_gone_passed_over(at: Path) -> None:
    tree(at, "a.png", "b.png", "unsaid.png")
    (at / "labels.csv").write_text("file,label\na.png,x\ngone.png,y\nb.png,y\n")


@layout("table.csv: names none of the pictures beside it")
def a_table_that_is_about_something_else(at: Path) -> None:
    tree(at, "a.png", "b.png")
    (at / "table.csv").write_text("age,income\n1,2\n3,4\n")


@layout(Expected({"cat": 1, "dog": 1}, 2, ("seg_test, seg_train are splits", "left out: 1 in `seg_pred`")))
def splits_within_names(at: Path) -> None:
    tree(at, *(f"seg_{split}/seg_{split}/{name}/a.png" for split in ("train", "test") for name in ("cat", "dog")))
    tree(at, "seg_pred/seg_pred/a.png")


@layout(Expected({"A": 2, "B": 1}, 2, ("testA, testB, trainA, trainB are splits of A, B",)))
def splits_and_classes_within_names(at: Path) -> None:
    tree(at, "set/trainA/a.png", "set/trainA/b.png", "set/trainB/a.png", "set/testA/a.png", "set/testB/a.png")


@layout("are pets_train, wild_test splits")
def splits_within_names_of_different_things(at: Path) -> None:
    tree(at, "pets_train/a.png", "wild_test/a.png")


@layout(Expected(2, 1, ("left out: 2 in `train_masks`, beside the splits",)))
def masks_beside_splits(at: Path) -> None:
    tree(at, "train/a.png", "train/b.png", "test/a.png", "train_masks/a.png", "train_masks/b.png")


@layout("is `test` a part that is held out or, beside `control`, a class")
def control_and_test(at: Path) -> None:
    tree(at, "control/a.png", "control/b.png", "test/a.png", "test/b.png")


@layout(Expected({"Cat": 1, "Dog": 1}, 2))
def another_case_in_another_split(at: Path) -> None:
    tree(at, "train/Cat/a.png", "train/Dog/a.png", "test/cat/a.png", "test/dog/a.png")


@layout(Expected({"cat": 1, "dog": 1}, told=("held-out samples have labels that the others lack, such as eel",)))
def a_class_of_the_test_part_alone(at: Path) -> None:
    tree(at, "train/cat/a.png", "train/dog/a.png", "test/cat/a.png", "test/eel/a.png")


@layout(Expected({"cat": 2, "dog": 2}, told=("part1, part2 are shards",)))
def classes_inside_parts(at: Path) -> None:
    tree(at, *(f"part{part}/{name}/{part}.png" for part in (1, 2) for name in ("cat", "dog")))


@layout(Expected(4, told=("2021, 2022 are dates", "no classes: 01, 03, 04, 31 are dates")))
def folders_of_dates(at: Path) -> None:
    tree(at, "2021/03/01/a.jpg", "2021/04/03/a.jpg", "2021/04/04/b.jpg", "2022/01/31/a.jpg")


@layout(Expected(2, told=("no classes: 2021-03-01, 2021-04-11 are dates",)))
def folders_of_days(at: Path) -> None:
    tree(at, "2021-03-01/a.jpg", "2021-04-11/a.jpg")


@layout(Expected(2, told=("100CANON, 101CANON are folders of a camera",)))
def a_memory_card(at: Path) -> None:
    tree(at, "DCIM/100CANON/IMG_0001.JPG", "DCIM/101CANON/IMG_0101.JPG")


@layout("are 00, 01 shards or classes")
def folders_that_are_numbered_on(at: Path) -> None:
    for folder in range(2):
        many(at, f"{folder:02d}/{{:04d}}.png", 10, 10 * folder)


@layout(
    Expected(
        {"benign": 2, "normal": 1}, told=("left out: 2 that are about others, as their names say, such as a_mask",)
    )
)
def masks_beside_their_pictures(at: Path) -> None:
    tree(at, "benign/a.png", "benign/a_mask.png", "benign/b.png", "normal/c (1).png", "normal/c (1)_mask_1.png")


@layout(Expected(2, told=("left out: 2 that are about others",)))
def colours_and_depths(at: Path) -> None:
    tree(at, "0_rgb.png", "0_depth.png", "1_rgb.png", "1_depth.png")


@layout(Expected(2, told=("left out: 2 in thumbnails",)))
def thumbnails_below(at: Path) -> None:
    tree(at, "a.png", "b.png", "thumbnails/a.png", "thumbnails/b.png")


@layout("HR, LR hold pictures of the same names: versions of each other")
def high_and_low_resolution(at: Path) -> None:
    tree(at, *(f"{of}/{name}.png" for of in ("HR", "LR") for name in "ab"))


@layout("A, B hold pictures of the same names: versions of each other")
def pairs(at: Path) -> None:
    tree(at, *(f"{of}/{row}.png" for of in "AB" for row in range(3)))


@layout("are color, gray the classes, or apple, corn in each of them")
def classes_inside_versions(at: Path) -> None:
    tree(at, *(f"{of}/{name}/a.png" for of in ("color", "gray") for name in ("apple", "corn")))


@layout(Expected({"apple": 2, "corn": 2}, options={"folders": "innermost"}))
def innermost_folders_said_to_be_classes(at: Path) -> None:
    classes_inside_versions(at)


@layout("is `images`, which holds cat, dog, a class beside `results`")
def results_beside_pictures(at: Path) -> None:
    tree(at, "images/cat/a.png", "images/dog/a.png", "results/figure.png")


@layout(Expected(12, told=("no classes: each of 12 folders holds one",)))
def a_folder_for_each(at: Path) -> None:
    many(at, "case{:02d}/scan.png", 12)


@layout(Expected({"Cat": 1, "cat": 1, "dog": 1}, told=("classes that differ in case alone are kept apart: Cat, cat",)))
def classes_that_differ_in_case(at: Path) -> None:
    tree(at, "Cat/a.png", "cat/a.png", "dog/a.png")


@layout(Expected({"class 2": 1, "class 10": 1}))
def numbers_in_names_are_in_order(at: Path) -> None:
    tree(at, "class 10/a.png", "class 2/a.png")


@layout(Expected({"A": 2, "B": 1}))
def letters_are_classes(at: Path) -> None:
    tree(at, "A/A1.png", "A/A2.png", "B/B1.png")


@layout(Expected(12, told=("left out: 12 in masks", "no classes: each of 12 folders holds one")))
def masks_inside_the_folder_of_each(at: Path) -> None:
    many(at, "case{0:02d}/images/a.png", 12)
    many(at, "case{0:02d}/masks/a.png", 12)


@layout(Expected({"cat": 1, "dog": 1}, 1, ("left out: 2 in masks",)))
def masks_inside_classes(at: Path) -> None:
    tree(at, *(f"train/{name}/{of}/a.png" for name in ("cat", "dog") for of in ("images", "masks")))
    tree(at, "val/cat/images/a.png", "val/cat/masks/a.png")


@layout(Expected(2, 1, ("left out: 2 in ann_dir",)))
def folders_of_pictures_and_annotations(at: Path) -> None:
    tree(at, *(f"{of}/{name}.png" for of in ("img_dir", "ann_dir") for name in ("train/a", "train/b", "val/c")))


# Names of files.


@layout(Expected(2, 1, ("names of files begin with their splits",)))
def splits_in_names_of_files(at: Path) -> None:
    tree(at, "images/train_001.png", "images/train_002.png", "images/test_001.png")


@layout(Expected(4, 1, ("names begin with cat 2, dog 2: --set folders=names takes these as classes",)))
def classes_in_names(at: Path) -> None:
    tree(at, "train/cat.0.png", "train/cat.1.png", "train/dog.0.png", "train/dog.1.png", "test1/1.png")


@layout(Expected({"cat": 2, "great_dane": 2}, 1, options={"folders": "names"}))
def classes_in_names_as_said(at: Path) -> None:
    tree(at, "train/cat_0.png", "train/cat_1.png", "train/great_dane_0.png", "train/great_dane_1.png", "test/cat_7.png")


@layout(Expected({"0": 2, "7": 2}, options={"folders": "names"}))
def digits_before_who_spoke_them(at: Path) -> None:
    tree(at, *(f"{digit}_{who}_12.png" for digit in (0, 7) for who in ("jackson", "theo")))


@layout("test/7.png: no word before a number")
def names_without_words(at: Path) -> None:
    tree(at, "test/7.png", "test/cat.2.png")
    at.rename(f"{at}-all")
    Path(f"{at}-all", "test").rename(at)


LAYOUTS["names_without_words"] = (names_without_words, ("7.png: no word before a number", {"folders": "names"}))


@layout(Expected(4))
def names_of_two_cameras(at: Path) -> None:
    tree(at, "IMG_0001.png", "IMG_0002.png", "DSC_0001.png", "DSC_0002.png")


# Tables and lists beside pictures.


def table(at: Path, name: str, *lines: str) -> None:
    path = at / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


@layout(Expected({"a": 2, "b": 2}))
def labels_by_other_names(at: Path) -> None:
    """In another case, with another ending, by a path of another machine, without zeros."""
    tree(at, "set/IMG_1.JPG", "set/img_2.png", "set/img_3.png", "set/00004.png")
    rows = ("img_1.jpg,a", "img_2.jpg,b", "/home/me/set/img_3.png,a", "images\\00004.png,b")
    table(at, "labels.csv", "file,label", *rows)


@layout(Expected({"a": 2, "b": 1}))
def labels_by_numbers(at: Path) -> None:
    many(at, "train/{:05d}.png", 3, 1)
    table(at, "train.csv", "id,label", "1,a", "2,a", "3,b")


@layout(Expected({"a": 1, "b": 2}))
def labels_without_a_line_of_names(at: Path) -> None:
    many(at, "{}.png", 3)
    table(at, "labels.csv", "0.png,a", "1.png,b", "2.png,b")


@layout(Expected(5, told=("metadata.csv: `file` names", "quotes are part of the fields", "left out: `column_2`")))
def texts_without_a_line_of_names(at: Path) -> None:
    """As in LJ Speech."""
    many(at, "wavs/LJ001-{:04d}.png", 5)
    said = ("Printing, in", 'the "only" sense', '"The quick', 'brown" fox', "over 5 dogs")
    table(at, "metadata.csv", *(f"LJ001-{row:04d}|{text}|{text} {row}" for row, text in enumerate(said)))


@layout(Expected({"a": 2, "b": 2}, options={"label": "kind"}, told=("left out: ages.csv, which name the pictures",)))
def the_table_that_has_the_label(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "ages.csv", "file,class", *(f"{row}.png,{row}" for row in range(4)))
    table(at, "more.csv", "file,kind", *(f"{row}.png,{'ab'[row % 2]}" for row in range(4)))


@layout(Expected({"dog": 2, "sea": 2}, told=("left out: `fold`", "left out: `src_file`", "left out: `target`")))
def folds_are_no_numbers_to_ask_for(at: Path) -> None:
    """As in ESC-50."""
    many(at, "audio/{}.png", 4)
    rows = (f"{row}.png,{row // 2},{row % 2},{('dog', 'sea')[row % 2]},{900 + row}" for row in range(4))
    table(at, "meta/esc50.csv", "filename,fold,target,category,src_file", *rows)


@layout("results.csv: names none of the pictures beside it")
def epochs_are_no_names(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "results.csv", "epoch,loss", "0,0.5", "1,0.4", "2,0.3", "3,0.25")


@layout(Expected({"a": 1, "b": 1}, told=("left out: sample_submission.csv: a form for answers",)))
def a_form_for_answers(at: Path) -> None:
    tree(at, "train/7f.png", "train/8e.png", "test/9d.png", "test/1c.png")
    table(at, "train.csv", "id,label", "7f,a", "8e,b")
    table(at, "sample_submission.csv", "id,label", "9d,a", "1c,a")


@layout(
    Expected({"a": 2, "b": 1}, 2, ("`split` of labels.csv says the splits", "left out: 1 pictures of other splits"))
)
def splits_in_a_column(at: Path) -> None:
    many(at, "images/{}.png", 6)
    rows = (f"{row}.png,{'ab'[row % 2]},{split}" for row, split in enumerate(["train"] * 3 + ["test"] * 2 + ["val"]))
    table(at, "labels.csv", "file,label,split", *rows)


@layout(Expected({"cat": 1, "dog": 1}, 2, ("splits are those of meta/test.txt, meta/train.txt",)))
def lists_of_splits(at: Path) -> None:
    tree(at, *(f"images/{name}/{row}.jpg" for name in ("cat", "dog") for row in range(2)))
    table(at, "meta/train.txt", "cat/0", "dog/0")
    table(at, "meta/test.txt", "cat/1", "dog/1")


@layout(
    Expected(
        2,
        1,
        (
            "list_attr_celeba.txt: `file` names",
            "splits are those of list_eval_partition.txt",
            "identity_CelebA.txt, list_bbox",
        ),
        conditions=("Bald", "Young"),
    )
)
def lists_of_faces(at: Path) -> None:
    many(at, "img_align_celeba/{:06d}.jpg", 4, 1)
    table(
        at,
        "list_attr_celeba.txt",
        "4",
        "Bald Young",
        *(f"00000{row}.jpg  {(-1) ** row} {(-1) ** (row // 2)}" for row in range(1, 5)),
    )
    table(at, "identity_CelebA.txt", *(f"00000{row}.jpg {row // 3}" for row in range(1, 5)))
    table(
        at,
        "list_bbox_celeba.txt",
        "4",
        "image_id x_1 y_1 width height",
        *(f"00000{row}.jpg {row} 9 8 7" for row in range(1, 5)),
    )
    table(at, "list_eval_partition.txt", *(f"00000{row}.jpg {max(0, row - 2)}" for row in range(1, 5)))


@layout(Expected({"1.Crow": 1, "2.Owl": 1}, 2, ("splits are those of birds/train_test_split.txt",)))
def lists_of_birds(at: Path) -> None:
    names = [f"{name}/{row}.jpg" for name in ("1.Crow", "2.Owl") for row in ("a", "b")]
    tree(at, *(f"birds/images/{name}" for name in names))
    table(at, "birds/images.txt", *(f"{row} {name}" for row, name in enumerate(names, start=1)))
    table(at, "birds/image_class_labels.txt", "1 1", "2 1", "3 2", "4 2")
    table(at, "birds/train_test_split.txt", "1 1", "2 0", "3 0", "4 1")


@layout(Expected({"a": 2, "b": 1}, 1, ("splits are those of test.csv, train.csv", "train.csv: `file` names")))
def labels_in_a_table_of_each_split(at: Path) -> None:
    many(at, "images/{}.png", 4)
    table(at, "train.csv", "file,label", "0.png,a", "1.png,b", "2.png,a")
    table(at, "test.csv", "file,label", "3.png,a")


@layout(Expected({"a": 1, "b": 1}, 2))
def a_table_of_each_split_that_name_the_same(at: Path) -> None:
    tree(at, *(f"{split}/{name}.png" for split in ("train", "test") for name in (1, 2)))
    table(at, "train.csv", "id,label", "1,a", "2,b")
    table(at, "test.csv", "id,label", "1,b", "2,a")


@layout(Expected(4, told=("skin_part_1, skin_part_2 are shards", "left out: `dx`"), conditions=("age",)))
def parts_of_a_name(at: Path) -> None:
    tree(at, *(f"skin_part_{part}/{part}{name}.png" for part in (1, 2) for name in "ab"))
    rows = (
        f"{part}{name},{part},{'mn'[name == 'a']},{'fm'[part == 1]},{age}"
        for part in (1, 2)
        for name in "ab"
        for age in [ord(name)]
    )
    table(
        at,
        "skin.csv",
        "image_id,lesion,dx,sex,age",
        *(row.replace(",1,", ",l1,").replace(",2,", ",l2,") for row in rows),
    )


@layout(Expected({"cat": 1, "dog": 1}, told=("left out: 1 in masks",)))
def a_test_part_of_masks_alone(at: Path) -> None:
    tree(at, "train/images/cat/a.png", "train/images/dog/a.png", "train/masks/a.png", "test/masks/a.png")


@layout(Expected({"a": 2, "b": 2}))
def labels_in_a_list(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "train_list.txt", "0.png a", "1.png b", "2.png a", "3.png b")


@pytest.mark.parametrize(
    "content",
    [
        {f"{row}.png": "ab"[row % 2] for row in range(4)},
        {"a": ["0.png", "2.png"], "b": ["1.png", "3.png"]},
        {f"{row}.png": {"label": "ab"[row % 2], "boxes": [1, 2]} for row in range(4)},
        [{"image": f"{row}.png", "label": "ab"[row % 2]} for row in range(4)],
    ],
)
def test_labels_in_json(tmp_path: Path, content: Any) -> None:
    many(tmp_path, "{}.png", 4)
    (tmp_path / "labels.json").write_text(json.dumps(content))
    dataset = load("files", tmp_path)
    assert [dataset.label_names[label] for label in dataset.labels] == ["a", "b", "a", "b"]
    assert "labels.json: " in "\n".join(dataset.notes)


@layout(
    Expected(
        4,
        told=(
            "left out: 4 .txt, of one of the pictures each, as boxes and captions are",
            "left out: instances.json: boxes and captions as COCO has them",
            "left out: 1 .txt",
        ),
    )
)
def boxes_and_captions_of_each(at: Path) -> None:
    many(at, "{}.png", 4)
    for row in range(4):
        table(at, f"{row}.txt", "0 0.5 0.5 1 1", "1 0.5 0.5 1 1")
    table(at, "classes.txt", "cat", "dog")
    table(at, "instances.json", json.dumps({"images": [{"id": 1, "file_name": "0.png"}], "annotations": []}))


@layout("labels.csv: row 13: 0.png has a row already, 1 .with another `label`.")
def a_row_twice_with_another_label(at: Path) -> None:
    many(at, "{}.png", 12)
    table(at, "labels.csv", "file,label", *(f"{row}.png,{'ab'[row % 2]}" for row in range(12)), "0.png,b")


@layout(Expected(2, told=("left out: annotations.csv: several rows for one of the pictures, as boxes and captions",)))
def a_table_of_boxes(at: Path) -> None:
    many(at, "{}.png", 2)
    table(
        at, "annotations.csv", "file,class,xmin,ymin,xmax,ymax", "0.png,a,1,2,3,4", "0.png,b,1,2,3,4", "1.png,a,1,2,3,4"
    )


@layout(Expected({"a": 2, "b": 2}, told=("left out: `xmax`, `xmin`, `ymax`, `ymin`, which say where something is",)))
def a_box_of_each(at: Path) -> None:
    many(at, "{}.png", 4)
    rows = (f"{row}.png,{'ab'[row % 2]},{row},2,3,{row}" for row in range(4))
    table(at, "annotations.csv", "file,class,xmin,ymin,xmax,ymax", *rows)


@layout(Expected({"0": 2, "1": 2}, told=("left out: `Patient ID`, which numbers something, and measures nothing",)))
def numbers_of_classes_and_of_people(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "labels.csv", "file,ClassId,Patient ID", "0.png,0,7", "1.png,1,7", "2.png,1,9", "3.png,0,8")


@layout(Expected({"a": 2, "b": 2}, told=("1 rows of labels.csv are there twice",)))
def a_row_twice(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "labels.csv", "file,label", "0.png,a", "1.png,b", "2.png,a", "3.png,b", "0.png,a")


@layout(Expected({"cat": 2, "eel": 2}, told=("`name` names the labels",)))
def labels_and_their_names(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "labels.csv", "file,label,name", "0.png,0,cat", "1.png,7,eel", "2.png,7,eel", "3.png,0,cat")


@layout(Expected(4, conditions=("target",)))
def a_target_with_decimals(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "train.csv", "file,target", "0.png,0.25", "1.png,1.5", "2.png,1.75", "3.png,2")


@layout(Expected({"Cat": 1, "cat": 3}, told=("labels that differ in case alone are kept apart: Cat, cat",)))
def labels_that_differ_in_case(at: Path) -> None:
    many(at, "{}.png", 4)
    table(at, "labels.csv", "file,label", "0.png,cat", "1.png,Cat", "2.png,cat ", "3.png,cat")


@layout(Expected({"cat": 2, "dog": 2}, 2, ("left out: `class id`, which says the same as `labels`",)))
def a_table_of_all_splits(at: Path) -> None:
    counts = (("train", 2), ("test", 1))
    files = [(split, name, row) for split, count in counts for name in ("cat", "dog") for row in range(count)]
    tree(at, *(f"{split}/{name}/{row}.png" for split, name, row in files))
    rows = (f"{len(name + name[1:]) % 2},{split}/{name}/{row}.png,{name},{split}" for split, name, row in files)
    rows = (row.replace("1,", f"{int('dog' in row)},", 1) for row in rows)
    table(at, "pets.csv", "class id,filepaths,labels,data set", *rows)


# Archives, and other containers.


@layout(Expected({"0": 1, "1": 2}, told=("labels are those of dataset.json",)))
def an_archive_of_stylegans_tool(at: Path) -> None:
    names = ["00000/img00000000.png", "00000/img00000001.png", "00001/img00001000.png"]
    with zipfile.ZipFile(f"{at}.zip", "w") as archive:
        for name in names:
            archive.writestr(name, encoded())
        archive.writestr("dataset.json", json.dumps({"labels": [[names[0], 1], [names[1], 0], [names[2], 1]]}))
    at.rmdir()


@layout(Expected({"0": 1, "1": 1}, told=("labels are those of dataset.json",)))
def labels_of_stylegans_tool_on_windows(at: Path) -> None:
    tree(at, "00000/img0.png", "00000/img1.png")
    (at / "dataset.json").write_text(json.dumps({"labels": {"00000\\img0.png": 1, "00000\\img1.png": 0}}))


@layout("dataset.json: names pictures from where it lies on, and others lie elsewhere")
def labels_of_stylegans_tool_elsewhere(at: Path) -> None:
    tree(at, "a.png", "b.png")
    table(at, "meta/dataset.json", json.dumps({"labels": [["a.png", 1], ["b.png", 0]]}))


@layout(Expected({"cat": 1, "dog": 1}))
def an_archive_made_on_windows(at: Path) -> None:
    with zipfile.ZipFile(f"{at}.zip", "w") as archive:
        for name in ("cat", "dog"):
            archive.writestr(zipfile.ZipInfo(f"{name}\\1.png"), encoded())
    at.rmdir()


@layout(Expected({"Käfer": 1, "猫": 1}))
def an_archive_made_on_macos(at: Path) -> None:
    """Names are UTF-8, and nothing says so."""
    names = {"xxx": "Käfer", "yyyy": "猫"}
    with zipfile.ZipFile(f"{at}.zip", "w") as archive:
        for at_first in names:
            archive.writestr(f"{'_' * len(names[at_first].encode())}{at_first}/1.png", encoded())
    content = Path(f"{at}.zip").read_bytes()
    for at_first, name in names.items():
        content = content.replace(
            f"{'_' * len(name.encode())}{at_first}/".encode(), name.encode() + b"/" * (len(at_first) + 1)
        )
    Path(f"{at}.zip").write_bytes(content)
    at.rmdir()


@layout(Expected(2, told=("names such as `╧╓╘┌.png` are of an encoding that",)))
def an_archive_made_in_china(at: Path) -> None:
    with zipfile.ZipFile(f"{at}.zip", "w") as archive:
        for name in ("aaaa.png", "bbbb.png"):
            archive.writestr(name, encoded())
    content = Path(f"{at}.zip").read_bytes().replace(b"aaaa", "现在".encode("gbk"))
    Path(f"{at}.zip").write_bytes(content)
    at.rmdir()


@layout("there are 1 .npz; x.npz: unpack the archive, and name the folder")
def an_archive_of_arrays(at: Path) -> None:
    with zipfile.ZipFile(f"{at}.zip", "w") as archive:
        archive.writestr("x.npz", b"")
    at.rmdir()


@layout(Expected({"cat": 1, "dog": 1}, 1))
def an_archive_of_folders(at: Path) -> None:
    tree(at, "pets/train/cat/a.png", "pets/train/dog/a.png", "pets/test/cat/b.png", "__MACOSX/pets/train/cat/._a.png")
    with zipfile.ZipFile(f"{at}.zip", "w") as archive:
        for file in sorted(at.rglob("*.png")):
            archive.write(file, file.relative_to(at))
    at.rename(f"{at}-unpacked")


def hub_table(path: Path, labels: list[int], **columns: list[Any]) -> None:
    """Parquet as the hub writes it: pictures, classes by their numbers, and their names in the schema."""
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    feature = {"names": ["sun", "rain"], "_type": "ClassLabel"}
    said = json.dumps({"info": {"features": {"image": {"_type": "Image"}, "label": feature}}})
    contents = [{"bytes": encoded(), "path": None} for _ in labels]
    of = {
        "image": pa.array(contents),
        "label": pa.array(labels),
        **{name: pa.array(of) for name, of in columns.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(of).replace_schema_metadata({"huggingface": said}), path, row_group_size=2)


@layout(Expected({"sun": 1, "rain": 2}, 1, conditions=("wind",), told=("left out: `note`",)))
def parquet_of_the_hub(at: Path) -> None:
    rows = ([1, 0, 1], ["a", "b", "c"], [0.5, 1.5, 2.5])
    for split, count in (("train", 3), ("test", 1)):
        labels, notes, winds = (row[:count] for row in rows)
        hub_table(at / "data" / f"{split}-00000-of-00001.parquet", labels, note=notes, wind=winds)


@layout(Expected({"sun": 2, "rain": 2}))
def parquet_in_parts_of_no_split(at: Path) -> None:
    hub_table(at / "0000.parquet", [0, 1])
    hub_table(at / "0001.parquet", [1, 0])


@layout(Expected({"sun": 1, "rain": 2}, 2, ("`image` holds the pictures",)))
def arrow_as_save_to_disk_leaves_it(at: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs latentserve[tables]")
    parquet = pytest.importorskip("pyarrow.parquet")
    for split, labels in (("train", [1, 0, 1]), ("test", [0, 1])):
        hub_table(at / "table.parquet", labels)
        read = parquet.read_table(at / "table.parquet")
        (at / split).mkdir()
        with pa.ipc.new_stream(at / split / "data-00000-of-00001.arrow", read.schema) as stream:
            stream.write_table(read, max_chunksize=2)
        (at / split / "state.json").write_text("{}")
        (at / split / "cache-0123456789abcdef.arrow").write_bytes(b"")
    (at / "table.parquet").unlink()


@layout("`one`, `other` have a training part each; name the one that is meant")
def parquet_of_two_configurations(at: Path) -> None:
    hub_table(at / "one" / "train-00000-of-00001.parquet", [0, 1])
    hub_table(at / "other" / "train-00000-of-00001.parquet", [1, 0])


@layout(Expected({"sun": 1, "rain": 1}, told=(r"overfitting goes unseen (", "row 0 has no label")))
def parquet_whose_test_part_has_no_labels(at: Path) -> None:
    hub_table(at / "train.parquet", [0, 1])
    hub_table(at / "test.parquet", [-1, -1])


@layout(Expected({"sun": 1, "rain": 1}, told=("`image` holds the pictures", "left out: column `a_mask`")))
def parquet_with_masks(at: Path) -> None:
    hub_table(at / "train.parquet", [0, 1], a_mask=[{"bytes": encoded(), "path": None}] * 2)


PICKLE = b"\x80\x04\x95\x00\x00\x00}."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.h5", b"", "HDF5 is not read"),
        ("train.tar", b"", "unpack it"),
        ("a.tfrecord", b"", "TFRecord is not read"),
        ("a-train.tfrecord-00000-of-00002", b"", "TFRecord is not read"),
        ("data.mdb", b"", "LMDB is not read"),
        ("digits.mat", b"", "scipy.io.loadmat"),
        ("data_batch_1", PICKLE, "never opened"),
        ("train", PICKLE, "never opened"),
        ("a.pkl", PICKLE, "never opened"),
        ("a.heic", b"", "convert it"),
        ("a.RDA", b"", "save it as CSV or Parquet"),
        ("a.ods", b"", "save its sheet as CSV"),
        ("a.avro", b"", "save it as Parquet"),
        ("a.nc", b"", "save its arrays by numpy.savez"),
        ("a.ts", b"", "save them by numpy.savez"),
        ("a.sql", b"", "save its table as CSV"),
        ("a.JXL", b"", "convert it"),
        ("a.dcm", b"", "save its arrays by numpy.savez"),
        ("IM0001", bytes(128) + b"DICM", "a DICOM file: save its arrays"),
        ("7f3e", b"\x89PNG\r\n", "a PNG file without an ending: call it .png"),
        ("table.xlsx", b"", "save its sheet as CSV"),
    ],
)
def test_other_containers_get_a_line_on_what_to_do(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """As a data set, as a file, and where a recipe is chosen for them."""
    (tmp_path / name).write_bytes(content)
    for read in (lambda path: load("files", path), lambda path: fit(path, gpu=False)):
        for path in (tmp_path, tmp_path / name):
            with pytest.raises(TrainingError, match=words) as caught:
                read(path)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)


def test_archives_in_a_folder_are_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(TrainingError, match=r"there are 1 \.zip; pets\.zip: name the archive itself, or unpack it"):
        fit(tmp_path, gpu=False)


# Pictures of every kind.


@layout(
    Expected(7, told=("1 are transparent and were laid on white", "1 were turned upright", "1 have several frames"))
)
def every_way_to_keep_a_picture(at: Path) -> None:
    put(at / "a.PNG")
    put(at / "b.JPG", "CMYK")
    put(at / "c.jfif", format="JPEG")
    put(at / "e.png", "RGBA")
    Image.fromarray(RNG.integers(0, 256, (4, 4, 3), np.uint8)).quantize(16).save(at / "f.png")
    frames = [Image.fromarray(RNG.integers(0, 256, (4, 4), np.uint8)) for _ in range(3)]
    frames[0].save(at / "g.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    put(at / "h.jpg", exif=exif)


@layout(Expected({"cat": 2, "dog": 2}, told=("2 are copies of others, such as cat/b.png of cat/a.png, 1 of them in",)))
def copies(at: Path) -> None:
    content = put(at / "cat" / "a.png").read_bytes()
    tree(at, "dog/c.png")
    for name in ("cat/b.png", "dog/d.png"):
        (at / name).write_bytes(content)


@layout("deep.png: more than 8 bits a channel")
def sixteen_bits_a_colour(at: Path) -> None:
    put(at / "a.png")
    (at / "deep.png").write_bytes(DEEP_PNG())


@layout("deep.tif: more than 8 bits a channel")
def sixteen_bits_of_grey(at: Path) -> None:
    put(at / "a.png")
    Image.fromarray(RNG.integers(0, 65536, (4, 4), np.uint16)).save(at / "deep.tif")


@layout(r"b.png: not a picture, or a broken one .*; 2 of 3 are; --set broken=skip")
def broken_ones(at: Path) -> None:
    content = put(at / "a.png", size=(40, 40)).read_bytes()
    (at / "b.png").write_bytes(content[: len(content) // 2])
    (at / "c.png").write_bytes(b"text")


@layout("b.jpg: is HEIC: convert it to PNG; 1 of 2 are")
def a_picture_of_a_telephone(at: Path) -> None:
    put(at / "a.jpg")
    (at / "b.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))


@layout("b.png: is a pointer of Git LFS")
def a_pointer(at: Path) -> None:
    put(at / "a.png")
    (at / "b.png").write_text("version https://git-lfs.github.com/spec/v1\n")


@layout(Expected(2, told=("left out: 2 broken, as told: b.png, c.png",), options={"broken": "skip"}))
def broken_ones_passed_over(at: Path) -> None:
    content = put(at / "a.png", size=(40, 40)).read_bytes()
    put(at / "d.png", size=(40, 40))
    (at / "b.png").write_bytes(content[: len(content) // 2])
    (at / "c.png").write_bytes(b"text")


@layout(Expected(2, told=("brought to 4x4", "1 are smaller"), options={"size": 4}))
def sizes_of_all_kinds(at: Path) -> None:
    put(at / "a.png", size=(9, 5))
    put(at / "b.png", size=(3, 8))


@layout("b.png: is 9x5 pixels, a.png is 4x4")
def sizes_that_differ(at: Path) -> None:
    put(at / "a.png")
    put(at / "b.png", size=(9, 5))


@layout(
    Expected(
        2, told=("left out: 2 .txt, of one of the pictures each", "left out: 1 .json", "1 links that lead nowhere")
    )
)
def other_files_are_counted(at: Path) -> None:
    tree(at, "a.png", "b.png")
    for name in ("a.txt", "b.txt", "instances.json", "README.md"):
        (at / name).write_text("{}")
    (at / "gone.png").symlink_to(at / "nowhere.png")


def DEEP_PNG() -> bytes:  # noqa: N802
    """A PNG of 16 bits a colour, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + RNG.integers(0, 256, 4 * 3 * 2, np.uint8).tobytes() for _ in range(4))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_learnt_rightly_or_refused_in_words(tmp_path: Path, name: str) -> None:
    build, expected = LAYOUTS[name]
    folder = tmp_path / name
    folder.mkdir()
    build(folder)
    path = folder if folder.is_dir() else folder.with_suffix(".zip")
    if not isinstance(expected, Expected):
        words, options = expected if isinstance(expected, tuple) else (expected, {})
        with pytest.raises(DataError, match=words) as caught:
            load("files", path, **options)
        assert "\n" not in str(caught.value)
        return
    dataset = load("files", path, **expected.options)
    found = (
        dict(Counter(dataset.label_names[label] for label in dataset.labels)) if dataset.label_names else len(dataset)
    )
    assert found == expected.classes
    assert tuple(dataset.conditions.names if dataset.conditions else ()) == expected.conditions
    why: list[str] = []
    unseen = held_out(lambda split: load("files", path, split, **expected.options), dataset, why.append)
    assert (0 if unseen is None else len(unseen)) == expected.held_out
    said = "\n".join(summary(dataset, unseen, *why))
    for words in expected.told:
        assert words in said
    assert f"held out: {expected.held_out or 'none'}" in said


PAGE = (Path(__file__).parents[3] / "docs" / "pictures.md").read_text()
ROWS = re.findall(r"^\| (`.*`) \| (.*) \|$", PAGE.partition("## What folders")[2].partition("\n## ")[0], re.M)


def expanded(pattern: str) -> list[str]:
    """The names that a pattern such as `{a,b}/1.png` stands for."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [name for one in found[1].split(",") for name in expanded(before + one + after)]


@pytest.mark.parametrize(("files", "told"), ROWS, ids=[files for files, _ in ROWS])
def test_the_page_on_pictures_tells_what_folders_are(tmp_path: Path, files: str, told: str) -> None:
    for said in re.findall(r"`(.*?)`", files):
        name, of_text, content = said.partition(": ")
        if of_text:
            table(tmp_path, name, *content.split(" / "))
        else:
            tree(tmp_path, *expanded(said))
    if told.startswith("asks: "):
        with pytest.raises(DataError) as caught:
            load("files", tmp_path)
        assert told.removeprefix("asks: ") in str(caught.value)
        return
    dataset = load("files", tmp_path)
    said = "\n".join(summary(dataset, held_out(lambda split: load("files", tmp_path, split), dataset)))
    for words in told.split("; "):
        assert words in said


def test_the_page_on_pictures_has_a_row_of_each_kind() -> None:
    assert len(ROWS) >= 20


def test_there_are_forty_of_them() -> None:
    assert len(LAYOUTS) >= 40


def test_what_is_transparent_lies_on_the_stated_colour(tmp_path: Path) -> None:
    clear = np.zeros((2, 4, 4, 4), np.uint8)
    clear[..., 0] = clear[..., 2] = 255  # magenta beneath
    for at, pixels in enumerate(clear):
        Image.fromarray(pixels).save(tmp_path / f"{at}.png")
    assert (load("files", tmp_path).samples == 255).all()
    black = load("files", tmp_path, background="black")
    assert (black.samples == 0).all()
    assert "laid on black" in "\n".join(summary(black))
    with pytest.raises(DataError, match="`background`: blurple is no colour"):
        load("files", tmp_path, background="blurple")


def test_labels_go_with_their_pictures(tmp_path: Path) -> None:
    """Whatever the order of a table's rows."""
    for shade in range(6):
        Image.fromarray(np.full((2, 2), 40 * shade, np.uint8)).save(tmp_path / f"{shade}.png")
    rows = [f"{shade}.png,{'even' if shade % 2 == 0 else 'odd'},{shade * 1.5}" for shade in (3, 0, 5, 1, 4, 2)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,kind,depth", *rows]))
    dataset = load("files", tmp_path)
    assert [dataset.label_names[label] for label in dataset.labels] == ["even", "odd"] * 3
    assert dataset.conditions is not None
    np.testing.assert_allclose(dataset.conditions.values[:, 0], dataset.samples[:, 0, 0, 0] / 40 * 1.5)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_inside_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    tree(tmp_path, "cat/a.png", "dog/a.png")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(DataError, match="closed: cannot be read"):
        load("files", tmp_path)
