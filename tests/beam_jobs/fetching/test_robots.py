"""robots.txt and X-Robots-Tag."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from beam_jobs.fetching.http_answers import Answer
from beam_jobs.fetching.robots import RobotsGate, forbidding_tag
from tfrecords_schema.codes import ImageCode

ROBOTS = b"""
User-agent: *
Disallow: /private/
Crawl-delay: 4

User-agent: complete-the-look
Disallow: /not-ours/
Allow: /not-ours/but-this.jpg
Crawl-delay: 0.5
"""


class Host:
    """Answers every request for a robots.txt alike."""

    def __init__(self, code: ImageCode, status: int | None, body: bytes = b"") -> None:
        self._answer = Answer(code, URL(), status, body, detail="its words")
        self.asked: list[str] = []
        self.slowed: list[tuple[str, float]] = []
        self.gate = RobotsGate(self._get, self._slow_down)

    async def _get(self, url: URL) -> Answer:
        self.asked.append(str(url))
        await asyncio.sleep(0)
        return self._answer

    def _slow_down(self, origin: URL, rate: float) -> None:
        self.slowed.append((str(origin), rate))

    def codes(self, *urls: str) -> list[ImageCode | None]:
        """What each URL is refused with, asked for at once."""

        async def ask() -> list[Answer | None]:
            return await asyncio.gather(*(self.gate.refuses(URL(u)) for u in urls))

        answers = asyncio.run(ask())
        for url, answer in zip(urls, answers, strict=True):
            assert answer is None or (answer.is_final and answer.url == URL(url))
        return [answer.code if answer else None for answer in answers]


def test_rules_for_this_robot_count_before_those_for_all() -> None:
    host = Host(ImageCode.OK, 200, ROBOTS)

    codes = host.codes(
        "http://h/private/a.jpg",
        "http://h/not-ours/a.jpg",
        "http://h/not-ours/but-this.jpg",
    )

    assert codes == [None, ImageCode.ROBOTS_DISALLOWED, None]
    assert host.slowed == [("http://h", 2.0)]


def test_each_origin_is_asked_once() -> None:
    host = Host(ImageCode.NOT_FOUND, 404)

    host.codes("http://h/a", "http://h/b?c", "https://h/a", "http://h:81/a")

    assert host.asked == [
        "http://h/robots.txt",
        "https://h/robots.txt",
        "http://h:81/robots.txt",
    ]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ImageCode.NOT_FOUND, 404),
        (ImageCode.GONE, 410),
        (ImageCode.FORBIDDEN, 403),
        (ImageCode.HTTP_ERROR, 400),
    ],
)
def test_host_without_rules_allows_everything(code: ImageCode, status: int) -> None:
    assert Host(code, status).codes("http://h/a") == [None]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ImageCode.SERVER_ERROR, 503),
        (ImageCode.RATE_LIMITED, 429),
        (ImageCode.RATE_LIMITED, 403),
        (ImageCode.TIMED_OUT, None),
        (ImageCode.DNS_FAILED, None),
        (ImageCode.TLS_FAILED, None),
        (ImageCode.CIRCUIT_OPEN, None),
        (ImageCode.BAD_REDIRECT, 302),
    ],
)
def test_rules_that_cannot_be_read_allow_nothing_and_say_why(
    code: ImageCode, status: int | None
) -> None:
    host = Host(code, status)

    assert host.codes("http://h/a", "http://h/b") == [code, code]
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>no</html>", bytes(1000), b"\xff\xfe\x00Disallow: /", b"\x00"]
)
def test_rules_that_are_none_allow_everything(body: bytes) -> None:
    assert Host(ImageCode.OK, 200, body).codes("http://h/a") == [None]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], None),
        (["noai"], "noai"),
        (["NoAI, NoImageAI"], "noai"),
        (["nofollow, noimageindex"], "noimageindex"),
        (["none"], "none"),
        (["all"], None),
        (["nofollow", "noindex"], "noindex"),
        (["otherbot: noai"], None),
        (["otherbot: noai, noindex"], None),
        (["otherbot: noai", "noindex"], "noindex"),
        (["complete-the-look: noai"], "noai"),
        (["Complete-The-Look: nofollow, noai"], "noai"),
        (["complete-the-look: nofollow"], None),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], None),
        (["max-image-preview: large, noindex"], "noindex"),
        (["noindex, unavailable_after: 25 Jun 2010 15:00:00 PST"], "noindex"),
        ([""], None),
        ([":"], None),
    ],
)
def test_tag_forbids_the_use_of_a_picture(
    tags: list[str], expected: str | None
) -> None:
    assert forbidding_tag(tags) == expected
