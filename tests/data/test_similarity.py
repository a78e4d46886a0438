from rlvr.data.similarity import BM25

TEXTS = [
    "How many apples does Nora have?",
    "How many boxes of apples does the farmer sell?",
    "What is the speed of the train?",
]


def test_a_rare_word_that_is_shared_counts_most() -> None:
    scores = BM25(TEXTS)("The farmer's train is late")
    assert scores.index(max(scores)) == 2, "`the`, `is` and `train`"
    assert scores[0] == 0
    (nora, farmer, train) = BM25(TEXTS)("NORA?")
    assert nora > farmer == train == 0


def test_what_has_been_worked_out_by_hand() -> None:
    """Two texts of two words: idf of `b`, which one of them has, is ln 2."""
    scores = BM25(["a b", "a c"])("b")
    assert scores == [0.6931471805599453 * 2.5 / (1 + 1.5), 0.0]


def test_a_long_text_is_no_better_for_being_long() -> None:
    short, long = BM25(["pears", "pears " + "filler " * 20])("pears")
    assert short > long > 0


def test_no_words_no_score() -> None:
    assert BM25(["", "a"])("!") == [0.0, 0.0]
