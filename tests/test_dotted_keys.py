from rlvr.dotted_keys import flatten, is_of_the_run, override_key, split_overrides


def test_leaves_have_dotted_keys():
    tree = {"a": 1, "b": {"c": {"d": None}, "e": {}}, "f": [{"g": 1}]}
    assert dict(flatten(tree)) == {"a": 1, "b.c.d": None, "b.e": {}, "f": [{"g": 1}]}


def test_what_overrides_set():
    assert split_overrides(["a=1", "+b.c=x=y", "~d", "++e="]) == {
        "a": "1",
        "b.c": "x=y",
        "d": "",
        "e": "",
    }
    assert override_key("+trainer.extra.top_k=5") == "trainer.extra.top_k"


def test_where_a_run_happens_is_not_what_it_computes():
    assert all(map(is_of_the_run, ["shots", "trainer.beta", "launchers.x", "dataset/prompt"]))
    assert not any(map(is_of_the_run, ["launcher", "tracking.uri", "hydra/launcher", "output_dir"]))
