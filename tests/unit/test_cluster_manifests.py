"""Manifests as people give them, and every way to get them wrong."""

from pathlib import Path

import pytest

from glasshive.cluster import manifests
from glasshive.errors import ManifestError

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def test_text_file_folder_object_and_list_give_the_same(tmp_path):
    file = tmp_path / "pod.yaml"
    file.write_text(POD)
    expected = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]
    for source in (
        POD,
        file,
        str(file),
        tmp_path,
        expected[0],
        expected,
        {"apiVersion": "v1", "kind": "PodList", "items": expected},
    ):
        assert manifests.load(source) == expected


def test_several_documents_and_empty_ones():
    assert [o["metadata"]["name"] for o in manifests.load(POD + "---\n---\n" + POD.replace("a}", "b}"))] == ["a", "b"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a: [", "is not YAML"),
        ("just: text\n", "manifest #1: apiVersion: missing, must be text such as v1"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "manifest #1: kind: missing, must be text such as Pod"),
        ("apiVersion: v1\nkind: Pod\n", "manifest #1: metadata.name: missing, must be text"),
        ("- 1\n- 2\n", "is list, not an object"),
        ("\n---\n", "holds no object"),
        (Path("/nowhere/x.yaml"), "/nowhere/x.yaml: cannot be read: No such file"),
        ("/nowhere/x.yaml", "cannot be read"),
    ],
)
def test_mistakes_are_one_line_with_place(source, text):
    with pytest.raises(ManifestError) as error:
        manifests.load(source)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_error_names_file_and_document(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(POD + "---\nkind: Pod\n")
    with pytest.raises(ManifestError, match=r"two\.yaml #2: apiVersion: missing"):
        manifests.load(tmp_path)
