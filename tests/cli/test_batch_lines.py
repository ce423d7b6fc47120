"""The lines of a batch: which are requests, and the errors of the others."""

import io
import json

import pytest

from realizar.cli.batch_files import InvalidLine, Request, read_requests

GOOD = b'{"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}}'


def read(data, max_body=10**6):
    return list(read_requests(io.BytesIO(data), max_body))


@pytest.mark.parametrize("data", [GOOD, GOOD + b"\n", b"\xef\xbb\xbf" + GOOD + b"\r\n", b"\n \n\t" + GOOD + b"\n\n"])
def test_space_and_byte_order_marks_are_no_matter(data):
    assert read(data) == [Request("a", "/v1/completions", b'{"prompt": "x"}')]


def test_an_empty_file_has_no_lines():
    assert read(b"") == read(b"\n\r\n  \n") == []


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (b"{", "invalid_json_line", "line 1: is not valid JSON"),
        (b"\xff\xfe", "invalid_json_line", "is not valid JSON: 'utf-8' codec"),
        (b"[" * 100_000, "invalid_json_line", "is not valid JSON"),
        (b'{"custom_id": 1' + b"1" * 5000 + b"}", "invalid_json_line", "is not valid JSON"),
        (b"1", "invalid_request", "must be a JSON object"),
        (b"{}", "missing_required_parameter", "custom_id: must be a text"),
        (b'{"custom_id":""}', "missing_required_parameter", "custom_id: must be a text"),
        (GOOD.replace(b'"POST"', b"[]"), "invalid_method", 'method: must be "POST"'),
        (GOOD.replace(b'"/v1/completions"', b"{}"), "invalid_url", "url: must be one of /v1/chat/completions, "),
        (GOOD.replace(b'{"prompt":"x"}', b'"x"'), "missing_required_parameter", "body: must be a JSON object"),
        (GOOD.replace(b'"prompt"', b'"stream"'), "invalid_value", "body.stream: the results of a batch are not"),
    ],
)
def test_other_lines_are_invalid(data, code, says):
    (found,) = read(data)
    assert isinstance(found, InvalidLine)
    assert (found.n, found.code) == (1, code)
    assert says in found.message


def test_a_line_that_is_too_long_is_skipped_without_keeping_it():
    long = GOOD.replace(b"x", b"x" * 10_000)
    found = read(long + b"\n" + GOOD + b"\n" + long, max_body=1000)
    assert [type(each) for each in found] == [InvalidLine, Request, InvalidLine]
    assert [each.n for each in found[::2]] == [1, 3]
    assert found[0].code == "line_too_long"
    assert "1000 bytes" in found[0].message


def test_half_of_a_surrogate_pair_is_passed_on():
    (found,) = read(GOOD.replace(b"x", b"\\ud800"))
    assert json.loads(found.body) == {"prompt": "\ud800"}
