import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.launchers.sagemaker.naming import job_name, sweep_key, tag_value

SERVICE = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@given(st.text(max_size=100), st.text(max_size=40), st.integers(0, 9999))
def test_every_name_is_one_the_service_takes(project, sweep, index):
    name = job_name(project, sweep, index)
    assert SERVICE.fullmatch(name)
    assert len(name) <= 48


def test_names_say_what_they_are_and_never_repeat():
    names = {job_name("My_Project.2", "sweep-1", 3) for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(f"My-Project-2-{sweep_key('sweep-1')}-003-") for name in names)
    assert sweep_key("sweep-1") != sweep_key("sweep-2")


@given(st.text(max_size=600))
def test_every_tag_is_one_the_service_takes(text):
    assert re.fullmatch(r"[\w\s_.:/=+\-@]{0,256}", tag_value(text))


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("shots=4 trainer.lr=1e-5", "shots=4 trainer.lr=1e-5"),
        ("a=[1,2] {x}", "a= 1 2   x"),
        ("role=arn\\:aws", "role=arn:aws"),
    ],
)
def test_tags_keep_what_they_can(given_text, kept):
    assert tag_value(given_text) == kept
