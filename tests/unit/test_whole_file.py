import pytest

from lineside.whole_file import replacing, write_whole


def test_the_new_takes_the_place_of_the_old_and_others_may_read_it(tmp_path):
    path = tmp_path / "state.json"
    for content in (b"first", b"second"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, b"private", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_fails_midway_leaves_the_old_and_nothing_else(tmp_path):
    path = tmp_path / "state.json"
    write_whole(path, b"first")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert path.read_bytes() == b"first"
        raise ZeroDivisionError
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_disk_takes_can_be_replaced(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(path, b"first")
    assert path.read_bytes() == b"first"


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "absent" / "state.json", b"")
