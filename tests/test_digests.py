from rlvr.digests import digest, digest_files


def test_equal_content_equal_name_whatever_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest(x) for x in ({"a": 1}, {"a": 2}, {"a": "1"}, ["a", 1], "ü", "\ud800")}) == 6


def test_files_by_name_and_content(tmp_path):
    for name, text in (("a.txt", "1"), ("b.txt", "2"), ("c.md", "3")):
        (tmp_path / name).write_text(text)
    before = digest_files(tmp_path, ("*.txt",))
    assert before == digest_files(tmp_path, ("a.*", "*.txt"))
    (tmp_path / "c.md").write_text("4")
    assert digest_files(tmp_path, ("*.txt",)) == before
    (tmp_path / "b.txt").write_text("3")
    assert digest_files(tmp_path, ("*.txt",)) != before
    (tmp_path / "b.txt").write_text("2")
    (tmp_path / "b.txt").rename(tmp_path / "d.txt")
    assert digest_files(tmp_path, ("*.txt",)) != before
