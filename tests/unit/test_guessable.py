"""Webhook secrets that are long enough and that anybody would try."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.settings.guessable import weakness


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("aaaaaaaaaaaaaaaa", "repeats"),
        (" " * 16, "repeats"),
        ("passwordpassword", "repeats"),
        ("changemechangeme", "repeats"),
        ("abc123abc123abc1", "repeats"),
        ("secret-secret-secret", "repeats"),
        ("deadbeefdeadbeef", "repeats"),
        ("0000000000000001", "too few"),
        ("AAAABBBBCCCCDDDD", "too few"),
        ("a-b-a-c-b-a-b-c-", "too few"),
        ("0123456789abcdef", "follow each other"),
        ("1234567890123456", "follow each other"),
        ("abcdefghijklmnop", "follow each other"),
        ("ABCDEFGHijklmnop", "follow each other"),
        ("fedcba9876543210", "follow each other"),
        ("abcd-1234-efgh-5678", "follow each other"),
        ("qwertyuiopasdfgh", "follow each other"),
        ("qwertzuiopasdfgh", "follow each other"),
        ("change-me-please-now", "common words"),
        ("flexport-webhook-secret", "common words"),
        ("My_Very_Secret_Key_1", "common words"),
        ("CorrectHorseBatteryStaple", "common words"),
        ("qwertyqwertyqwerty", "repeats"),
        ("abcabcabcabcabcabc", "repeats"),
        ("password-password", "common words"),
        ("your-webhook-secret-here", "common words"),
        ("SecretPassword2024!", "common words"),
        ("whsec_aaaaaaaaaaaaaaaaaaaa", "repeats"),
        ("whsec_1234567890abcdef", "follow each other"),
        ("whsec_changemechangeme", "repeats"),
        ("sk_live_1234567890abcdef", "follow each other"),
        ("P@ssw0rdP@ssw0rd", "repeats"),
        ("P@ssw0rd-S3cr3t-K3y", "common words"),
        ("password12345678", "common word next to"),
        ("Passw0rd12345678!", "common word next to"),
        ("secret1234567890", "common word next to"),
        ("1q2w3e4r5t6y7u8i", "follow each other"),
        ("1qaz2wsx3edc4rfv", "well-known"),
        ("qazwsxedcrfvtgbyh", "well-known"),
        ("a1b2c3d4e5f6g7h8", "follow each other"),
        ("!@#$%^&*()!@#$%^", "follow each other"),
        ("!@#$%^&*()_+)(*&", "follow each other"),
        ("31415926535897932384", "well-known"),
        ("TheQuickBrownFoxJumps", "well-known"),
    ],
)
def test_what_anybody_would_try_is_found(secret, why):
    assert why in weakness(secret)


@given(st.binary(min_size=16, max_size=64))
def test_what_was_drawn_by_chance_is_taken(content):
    if len(set(content)) >= 12:
        assert weakness(content.hex()) is None


def test_what_programs_make_is_taken():
    for make in (secrets.token_urlsafe, secrets.token_hex):
        assert [one for _ in range(300) if weakness(one := make(32)) is not None] == []
        assert [one for _ in range(300) if weakness(one := make(12)) is not None] == []


@given(st.text(min_size=1, max_size=300))
def test_any_text_has_an_answer_without_anything_of_it(secret):
    found = weakness(secret)
    assert found is None or (found.startswith("it") and len(found) < 90)


@given(st.text(min_size=1, max_size=6), st.integers(2, 9))
def test_a_short_text_repeated_is_found(unit, times):
    assert weakness(unit * times) is not None


def test_a_long_text_takes_no_long_time():
    # 64 KiB, as much as a file of secrets may hold; quadratic time would be minutes.
    assert weakness("ab" * 32_768) is not None
    assert weakness(secrets.token_hex(32_768)) is None
    assert weakness("x-" * 32_000 + "sekret") is None
