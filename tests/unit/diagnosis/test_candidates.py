"""Which entries share the most telling terms with a text."""

import numpy as np

from lineside.diagnosis.knowledge.candidates import MAX_FINDING, MAX_PARTING, best_rows

ENTRIES = 10_000


class Index:
    """Rows by term and part; remembers what it was asked."""

    def __init__(self, titles, bodies=None):
        self.parts = {"title": titles, "body": bodies or {}}
        self.asked = []

    def __call__(self, term, part, also=()):
        self.asked.append((term, part, tuple(also)))
        rows = {row for name in part.split() for row in self.parts[name].get(term, ())}
        if also:
            rows &= {row for table in self.parts.values() for one in also for row in table.get(one, ())}
        return np.array(sorted(rows), np.int64)

    def known(self):
        terms = {term: set() for table in self.parts.values() for term in table}
        for table in self.parts.values():
            for term, rows in table.items():
                terms[term] |= set(rows)
        return sorted((len(rows), term) for term, rows in terms.items())


def best(index, limit=3):
    return [row for row, _ in best_rows(index, index.known(), ENTRIES, limit)]


def test_who_shares_the_most_and_the_rarest_comes_first():
    index = Index({"rare": [7, 8], "usual": [4, 6, 8, 9], "other": [1, 2, 3, 5, 6]})
    assert best(index, 4) == [8, 6, 7, 4]


def test_a_title_counts_for_more_than_a_body():
    assert best(Index({"a": [5]}, {"a": [4]})) == [5, 4]


def test_a_term_of_too_many_only_parts_those_that_rarer_ones_found():
    common = [20, *range(1000, 1000 + MAX_FINDING)]
    index = Index({"rare": list(range(10, 30)), "common": common})
    assert best(index)[0] == 20
    assert not set(best(index, 100)) & set(range(1000, 9000))
    assert index.asked[2] == ("common", "title body", ("rare",))


def test_a_common_term_is_not_looked_at_where_it_changes_nothing():
    common = range(1000, 1000 + MAX_FINDING)
    index = Index({"rare": [1, 2], "common": common})
    best(index)
    assert [term for term, *_ in index.asked] == ["rare", "rare"]


def test_a_term_that_nearly_all_hold_is_not_looked_at():
    index = Index({"rare": list(range(1, 9)), "common": range(1, MAX_PARTING + 2)})
    assert best(index) == [1, 2, 3]
    assert [term for term, *_ in index.asked] == ["rare", "rare"]


def test_where_there_is_nothing_rare_the_rarest_finds():
    assert len(best(Index({"common": range(1, MAX_FINDING + 9)}))) == 3


def test_nothing_is_found_where_nothing_is_known():
    assert best(Index({})) == []
