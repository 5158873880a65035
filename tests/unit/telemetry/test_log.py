import logging

from lineside.telemetry.log import LineFormatter


def record(message="hello", level=logging.INFO, **fields):
    return logging.makeLogRecord(
        {"name": "lineside.x", "levelno": level, "levelname": "INFO", "msg": message, **fields}
    )


def test_fields_follow_the_message():
    line = LineFormatter(journald=True).format(record(device="L1/M1", text="two words"))
    assert line == '<6>lineside.x: hello device=L1/M1 text="two words"'


def test_journald_reads_the_priority():
    assert LineFormatter(journald=True).format(record(level=logging.ERROR)).startswith("<3>")


def test_a_record_is_one_line_whatever_a_device_wrote():
    line = LineFormatter(journald=False).format(record("a\nb", text="c\nd"))
    assert "\n" not in line
    assert "a b" in line
    assert "c\\nd" in line


def test_a_trace_follows_its_line():
    error = ValueError("broken")
    text = LineFormatter(journald=False).format(record(exc_info=(ValueError, error, None)))
    assert text.splitlines()[-1] == "ValueError: broken"
