"""The pure parts of lifecycle rules on MariaDB and MySQL: conditions word by word, kinds of trouble, keys as SQL."""

from __future__ import annotations

import pytest

from databosun.domain.errors import UserFault
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.mysql.grants import grant_statement, parse_grants
from databosun.engines.mysql.lifecycle.shapes import Column, Shape
from databosun.engines.mysql.lifecycle.statements import literal, trouble_of
from databosun.engines.mysql.lifecycle.words import read_condition


@pytest.mark.parametrize(
    ("text", "called", "selects"),
    [
        ("status = 'closed'", set(), False),
        ("status IN ('a', \"b; c\") AND NOT (x > 1e5 OR y = 0x1f)", set(), False),
        ("lower(status) = 'it''s \\' @ ; */' -- so", set(), False),
        ("x = 1 /* so */ # and so", set(), False),
        ("`sl``eep` = 1 AND if(a, b, c)", set(), False),
        ("doc->>'$.a' = 1 AND at < now() - INTERVAL 3 DAY", set(), False),
        ("shop.is_old(id) AND `My Func` (id)", {"shop.is_old", "my func"}, False),
        ("EXISTS (SELECT 1 FROM gone AS g WHERE g.id = orders.id)", set(), True),
        ("sleep(5) = 0", {"sleep"}, False),
        ("`sleep` /**/ (5)", {"sleep"}, False),
        ("SLEEP\n(5)", {"sleep"}, False),
        ("1 --\u00a0+ sleep(5)", {"sleep"}, False),  # to the server this is no comment
        ("\u00a0now(5)", {"\u00a0now"}, False),  # nor a space
        ("`values`(5)", {"values"}, False),
    ],
)
def test_what_a_condition_calls_is_read_as_the_server_reads_it(text: str, called: set[str], selects: bool) -> None:
    found = read_condition(text)
    assert (set(found.called), found.selects) == (called, selects)


def test_words_of_the_server_before_a_bracket_may_be_those_of_a_stored_function() -> None:
    found = read_condition("trim(a) = trim (b) AND `now`() > c AND x IN (1) AND d = 'upper('")
    assert (found.called, found.own) == (frozenset(), {"trim", "now", "in"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("status = 'closed') OR (true", "closes a bracket"),
        ("(status = 'closed'", "leaves a bracket open"),
        ("true; DELETE FROM orders", "a semicolon"),
        ("x = 1 /*! OR 1 = 1 */", "a comment"),
        ("x = 1 /*M! OR 1 = 1 */", "a comment"),
        ("x = 1 /*!50001 OR 1 = 1 */", "a comment"),
        ("(SELECT /*+ SET_VAR(sql_mode = '') */ 1)", "a comment"),
        ("x = 1 /* and more", "a comment"),
        ("(@seen := id) > 3", "a variable"),
        ("@@session.sql_mode = ''", "a variable"),
        ("x = 'closed", "leaves a ' open"),
        ('x = "closed\\"', 'leaves a " open'),
        ("`x = 1", "leaves a ` open"),
        ("(SELECT 1 INTO OUTFILE '/tmp/x')", "the word INTO"),
        ("id IN (SELECT id FROM orders FOR UPDATE)", "the word UPDATE"),
        ("NEXT VALUE FOR s > 1", "the word NEXT"),
        ("id = ?", "a placeholder"),
        ("x = \\N", "a backslash"),
        ("-- nothing", "is empty"),
        ("x = 1\0", "a zero byte"),
    ],
)
def test_what_would_leave_its_place_or_leave_a_trace_is_refused(text: str, why: str) -> None:
    with pytest.raises(UserFault, match="is no single one") as caught:
        read_condition(text)
    assert caught.value.reason == "ConditionRefused"
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (1205, Trouble.BUSY),  # a lock was not to be had
        (1213, Trouble.BUSY),  # a deadlock, or Galera's other writers
        (1969, Trouble.BUSY),  # max_statement_time
        (3024, Trouble.BUSY),  # max_execution_time
        (1114, Trouble.BUSY),  # the table is full
        (2013, Trouble.LOST),
        (1053, Trouble.LOST),  # shutdown
        (1290, Trouble.LOST),  # --read-only: a replica by now
        (0, Trouble.LOST),
        (1064, Trouble.PERMANENT),
        (1142, Trouble.PERMANENT),  # a grant that is missing
        (1451, Trouble.PERMANENT),  # a foreign key
        (1644, Trouble.PERMANENT),  # SIGNAL
        (1054, Trouble.PERMANENT),
    ],
)
def test_only_what_passes_by_itself_is_tried_again(number: int, trouble: Trouble) -> None:
    assert trouble_of(number) is trouble


def column(name: str, kind: str) -> Column:
    """Of a key."""
    return Column(name, kind, kind, generated=False, not_null=True)


def test_values_of_a_key_are_written_so_that_the_server_compares_them_exactly() -> None:
    assert column("a", "bigint").literal_of("9223372036854775807") == "9223372036854775807"
    assert column("a", "varbinary").literal_of("00FF27") == "X'00FF27'"
    assert column("a", "enum").literal_of("2") == "2"
    assert column("a", "varchar").literal_of("it's \\ so") == "'it''s \\\\ so'"
    assert literal("\0") == "'\\0'"
    with pytest.raises(RuleFault, match="is no number"):
        column("a", "decimal").literal_of("1 OR 1")


def test_the_walk_of_several_columns_goes_on_behind_the_last_row() -> None:
    at, kind, number = column("at", "datetime"), column("k", "char"), column("n", "int")
    shape = Shape("s.t", (at, kind, number), (kind, number), (at, kind, number), "by_at", "PRIMARY")
    assert shape.behind(("2020-01-01", "x", "7")) == (
        "`at` >= '2020-01-01' AND (`at` > '2020-01-01' OR (`at` = '2020-01-01' AND "
        "(`k` > 'x' OR (`k` = 'x' AND `n` > 7))))"
    )
    assert shape.is_one_of([("x", "7"), ("y", "8")]) == "((`k` = 'x' AND `n` = 7) OR (`k` = 'y' AND `n` = 8))"
    assert shape.key_of(("2020-01-01", "x", "7")) == ("x", "7")


def test_grants_on_tables_and_columns_count_where_a_rule_needs_no_more() -> None:
    grants = parse_grants(
        [
            "GRANT USAGE ON *.* TO `keeper`@`%`",
            "GRANT SELECT, DELETE, UPDATE (`a`, `b``c`) ON `shop`.`orders` TO `keeper`@`%`",
            "GRANT TRIGGER ON `sh_p`.* TO `keeper`@`%`",
        ]
    )
    assert grants.has_on("DELETE", "shop", "orders")
    assert not grants.has_on("DELETE", "shop", "items")
    assert grants.has_on("UPDATE", "shop", "orders", "b`c")
    assert not grants.has_on("UPDATE", "shop", "orders", "d")
    assert not grants.has_on("UPDATE", "shop", "orders")
    assert grants.has_on("TRIGGER", "sh_p", "orders")
    assert not grants.has("SELECT", "shop")
    assert (
        grant_statement(["SELECT"], "keeper@%", "shop", "orders") == "GRANT SELECT ON `shop`.`orders` TO 'keeper'@'%';"
    )
