import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm import tokenizer as tokenizer_file
from charlm.tokenizer import CharTokenizer

ALPHABETS = st.lists(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, unique=True)


@st.composite
def alphabets_and_names(draw):
    alphabet = "".join(draw(ALPHABETS))
    return alphabet, draw(st.lists(st.text(alphabet, max_size=12), max_size=12))


@given(alphabets_and_names())
def test_what_is_encoded_decodes_to_itself_over_any_alphabet(drawn):
    alphabet, names = drawn
    table = CharTokenizer(alphabet)
    for name in names:
        ids = table.encode(name)
        assert all(1 <= i < table.vocab_size for i in ids)
        assert table.decode(ids) == name
        assert table.decode(torch.tensor([0, *ids, 0])) == name


@given(alphabets_and_names(), st.integers(1, 7))
def test_a_list_is_encoded_as_its_names_one_by_one_whatever_the_chunk(drawn, chunk):
    alphabet, names = drawn
    table = CharTokenizer(alphabet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer_file, "_CHUNK", chunk)
        stream = table.encode_lines("".join(f"{name}\n" for name in names))
    assert stream.tolist() == [i for name in names for i in [*table.encode(name), 0]]
    assert table.decode_lines(stream) == names


@pytest.mark.parametrize(
    ("letters", "dtype"),
    [(255, torch.uint8), (256, torch.int16), (32_767, torch.int16), (32_768, torch.int32)],
)
def test_a_stream_takes_one_byte_a_character_up_to_255_letters_and_two_up_to_32767(letters, dtype):
    alphabet = "".join(map(chr, range(0x20000, 0x20000 + letters)))
    table = CharTokenizer(alphabet)
    stream = table.encode_lines(f"{alphabet}\n")
    assert stream.dtype == table.dtype == dtype
    assert stream.tolist() == [*range(1, letters + 1), 0]


@pytest.mark.parametrize("more", [0, 226, 227])
def test_ascii_is_encoded_alike_whatever_the_size_of_the_alphabet(more):
    """Up to 254 ids there is a faster way for it."""
    table = CharTokenizer("abcdefghijklmnopqrstuvwxyz" + "".join(map(chr, range(0x4E00, 0x4E00 + more))))
    assert table.encode_lines("xyz\na\n").tolist() == [24, 25, 26, 0, 1, 0]
    with pytest.raises(ValueError, match=r"^name 2, 'aBA', has 'B' at position 1, outside"):
        table.encode_lines("xyz\naBA\n")


@pytest.mark.parametrize(
    ("alphabet", "message"),
    [
        ("", "alphabet '' needs at least one character and no line break"),
        ("a\nb", r"alphabet 'a\\nb' needs at least one character and no line break"),
        ("abcbac", "alphabet 'abcbac' has 'abc' more than once; give each character once"),
    ],
)
def test_an_alphabet_without_distinct_characters_is_refused(alphabet, message):
    with pytest.raises(ValueError, match=message):
        CharTokenizer(alphabet)


@pytest.mark.parametrize(
    ("name", "culprit"), [("Emma", "'E' at position 0"), ("o'neil", '"\'" at position 1'), ("a\nb", r"'\\n' at pos")]
)
def test_encode_says_which_character_is_wrong(name, culprit):
    with pytest.raises(ValueError, match=rf"^name .+ has {culprit}.*, outside the alphabet 'abeilmno'; correct the"):
        CharTokenizer("abeilmno").encode(name)


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("ab\nb\nbaxb\nc\n", "name 3, 'baxb', has 'x' at position 2"),
        ("ab\na`\n", "name 2, 'a`', has '`' at position 1"),
        ("ab\na\U0001f600\n", "name 2, 'a\U0001f600', has '\U0001f600' at position 1"),
        ("a\nb\r\n", r"name 2, 'b\r', has '\r' at position 1"),
    ],
)
def test_encode_lines_says_which_name_and_character_is_wrong(monkeypatch, text, culprit, chunk):
    monkeypatch.setattr(tokenizer_file, "_CHUNK", chunk)
    message = f"{culprit}, outside the alphabet 'ab'; clean the names file or widen --data.alphabet"
    with pytest.raises(ValueError, match=re.escape(message)):
        CharTokenizer("ab").encode_lines(text)


@pytest.mark.parametrize("ids", [[1, 3], [-1]])
def test_decode_refuses_ids_without_a_character(ids):
    with pytest.raises(ValueError, match=rf"ids {re.escape(str(ids))} are not all in 0\.\.2, the ids of 'ab'"):
        CharTokenizer("ab").decode(ids)
