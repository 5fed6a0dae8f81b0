"""One picture: redirects, retries, waits and the deadline; virtual time, no network."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import virtual_time
from virtual_time import now
from yarl import URL

from beam_jobs.fetching import picture_fetch
from beam_jobs.fetching.addresses import AllowList
from beam_jobs.fetching.fetch_config import FetchConfig
from beam_jobs.fetching.host_pacing import HostPacers, PaceLimits
from beam_jobs.fetching.http_answers import Answer
from beam_jobs.fetching.http_body import BodyLimit
from beam_jobs.fetching.picture_fetch import Fetched, FetchLimits, PictureFetcher
from beam_jobs.fetching.retry_policy import RetryPolicy
from tfrecords_schema.codes import ImageCode

OK, BUSY, DOWN = ImageCode.OK, ImageCode.RATE_LIMITED, ImageCode.SERVER_ERROR
LIMITS = FetchLimits(deadline_s=60, redirects=3, retry=RetryPolicy(3, base_s=1.0))


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a host does when it is asked."""

    code: ImageCode = OK
    status: int | None = 200
    seconds: float = 0.0
    headers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    body: bytes | None = None  # the address by default


def refusal(status: int, code: ImageCode, retry_after: str | None = None) -> Reply:
    return Reply(code, status, headers={"retry_after": retry_after})


def redirect(to: str | None) -> Reply:
    return Reply(ImageCode.BAD_REDIRECT, 302, headers={"location": to})


class World:
    """Hosts that follow a script; what is asked for is noted with its time."""

    def __init__(self, script: Mapping[str, Sequence[Reply]]) -> None:
        self._script = {url: list(replies) for url, replies in script.items()}
        self.asked: list[tuple[float, str]] = []
        self.at_once = self.most_at_once = 0

    async def ask(self, url: URL, limit: BodyLimit, *, within_s: float) -> Answer:
        self.asked.append((now(), str(url)))
        replies = self._script.get(str(url)) or [Reply(ImageCode.NOT_FOUND, 404)]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(min(reply.seconds, within_s))
        self.at_once -= 1
        if reply.seconds > within_s:
            return Answer(ImageCode.TIMED_OUT, url)
        body = str(url).encode() if reply.body is None else reply.body
        body = body if reply.code is OK else b""
        return Answer(reply.code, url, reply.status, body, **reply.headers)

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.asked]


def fetch(
    world: World,
    *urls: str,
    limits: FetchLimits = LIMITS,
    pace: Callable[[str], PaceLimits] = lambda _: PaceLimits(),
    connections: int = 64,
    heeds_robots: bool = False,
    accept_s: float = 0.0,
) -> list[Fetched[bytes]]:
    """Fetch URLs all at once."""

    async def accept(body: bytes) -> bytes:
        await asyncio.sleep(accept_s)
        return body

    async def work() -> list[Fetched[bytes]]:
        fetcher = PictureFetcher(
            world,
            HostPacers(pace),
            limits,
            allowed=AllowList(["10.0.0.1"]),
            connections=connections,
            heeds_robots=heeds_robots,
        )
        return await asyncio.gather(*(fetcher.fetch(url, accept) for url in urls))

    return virtual_time.run(work())


def fetch_one(world: World, url: str = "http://h/a", **settings: Any) -> Fetched[bytes]:
    (fetched,) = fetch(world, url, **settings)
    return fetched


def test_body_is_handed_over_and_accounted_for() -> None:
    fetched = fetch_one(World({"http://h/a": [Reply(seconds=2)]}))

    assert fetched.accepted == b"http://h/a"
    assert (fetched.answer.code, fetched.answer.http_status) == (OK, 200)
    assert fetched.answer.body == b""  # bodies do not outlive their picture
    assert (fetched.attempts, fetched.elapsed_s) == (1, 2)


@pytest.mark.parametrize("code", list(ImageCode))
def test_only_failures_that_may_pass_are_asked_again(code: ImageCode) -> None:
    world = World({"http://h/a": [Reply(code, None)]})

    fetched = fetch_one(world)

    assert fetched.answer.code is code
    assert len(world.asked) == fetched.attempts == (4 if code.is_retryable else 1)


def test_waits_between_attempts_are_jittered_backoff() -> None:
    world = World({"http://h/a": [refusal(500, DOWN)]})

    fetched = fetch_one(world)

    policy = LIMITS.retry
    waits = [policy.backoff_s("http://h/a", attempt) for attempt in (1, 2, 3)]
    assert world.times == pytest.approx([0, *(sum(waits[:n]) for n in (1, 2, 3))])
    assert fetched.elapsed_s == pytest.approx(sum(waits))


def test_failure_that_passes_is_forgotten() -> None:
    world = World({"http://h/a": [refusal(500, DOWN), refusal(429, BUSY), Reply()]})

    fetched = fetch_one(world)

    assert (fetched.answer.code, fetched.attempts) == (OK, 3)


def test_deadline_covers_attempts_and_waits() -> None:
    world = World({"http://h/a": [Reply(DOWN, 500, seconds=25)]})

    fetched = fetch_one(world)

    # 25 s, a wait under 1 s, 25 s, a wait under 2 s, and what is left of the minute.
    assert fetched.attempts == 3
    assert fetched.answer.code is ImageCode.TIMED_OUT
    assert fetched.elapsed_s == pytest.approx(60)


def test_retry_after_is_obeyed_and_pauses_the_whole_host() -> None:
    world = World(
        {
            "http://h/a": [refusal(429, BUSY, "20"), Reply()],
            "http://h/b": [Reply()],
            "http://other/c": [Reply()],
        }
    )

    fetched = fetch(
        world,
        *("http://h/a", "http://h/b", "http://other/c"),
        pace=lambda _: PaceLimits(connections=1),
    )

    assert [item.answer.code for item in fetched] == [OK, OK, OK]
    times = {url: time for time, url in world.asked}
    # /b waited for its turn, which does not count towards its deadline.
    assert times == {"http://h/a": 20, "http://h/b": 20, "http://other/c": 0}
    assert [item.elapsed_s for item in fetched] == [20, 0, 0]


def test_retry_after_beyond_the_deadline_is_given_up_at_once() -> None:
    world = World({"http://h/a": [refusal(429, BUSY, "61")]})

    fetched = fetch_one(world)

    assert (fetched.answer.code, fetched.attempts) == (BUSY, 1)
    assert fetched.elapsed_s == 0


def test_host_that_wants_to_be_left_alone_for_hours_is() -> None:
    world = World({"http://h/a": [refusal(429, BUSY, "7200")]})
    pace = PaceLimits(connections=1)

    first, *others = fetch(
        world, "http://h/a", "http://h/b", "http://h/c", pace=lambda _: pace
    )

    assert first.answer.code is BUSY
    assert {item.answer.code for item in others} == {ImageCode.CIRCUIT_OPEN}
    assert len(world.asked) == 1


def test_host_that_bans_is_asked_no_more_after_three_openings() -> None:
    urls = [f"http://h/{number}" for number in range(200)]
    forbidden = Reply(ImageCode.FORBIDDEN, 403, seconds=0.1)
    world = World({url: [forbidden] for url in urls})
    pace = PaceLimits(connections=1, breaker_streak=20)

    fetched = fetch(world, *urls, pace=lambda _: pace)

    codes = [item.answer.code for item in fetched]
    assert codes == [ImageCode.FORBIDDEN] * 22 + [ImageCode.CIRCUIT_OPEN] * 178
    assert len(world.asked) == 22
    assert fetched[-1].attempts == 1
    assert "after 2 cool-downs" in str(fetched[-1].answer.detail)


def test_host_that_asks_all_for_a_wait_is_given_up_after_three_openings() -> None:
    urls = [f"http://h/{number}" for number in range(300)]
    busy = dataclasses.replace(refusal(503, DOWN, "590"), seconds=0.1)
    world = World({url: [busy] for url in urls})

    fetched = fetch(world, *urls, pace=lambda _: PaceLimits(rate=50.0))

    codes = [item.answer.code for item in fetched]
    assert set(codes) == {DOWN, ImageCode.CIRCUIT_OPEN}
    # Twenty open the circuit, twelve were asked with the last of them; two probes.
    assert len(world.asked) == codes.count(DOWN) <= 34
    assert max(world.times) < 4 * 600


@pytest.mark.parametrize("retry_after", [None, "0"])
def test_host_that_fails_and_asks_for_no_wait_stays_open(
    retry_after: str | None,
) -> None:
    urls = [f"http://h/{number}" for number in range(60)]
    world = World({url: [refusal(503, DOWN, retry_after)] for url in urls})

    fetched = fetch(world, *urls)

    assert {item.answer.code for item in fetched} == {DOWN}


NETWORK_FAILURES = [
    Reply(ImageCode.DNS_FAILED, None),
    Reply(ImageCode.CONNECTION_FAILED, None),
    Reply(ImageCode.CONNECTION_RESET, None),
    Reply(seconds=99),
]


@pytest.mark.parametrize("failure", NETWORK_FAILURES)
@pytest.mark.parametrize("rate", [None, 50.0])
def test_host_that_dies_is_asked_no_more_after_three_openings(
    failure: Reply, rate: float | None
) -> None:
    alive = {f"http://h/{n}": [Reply(seconds=0.1)] for n in range(30)}
    dead = {f"http://h/{n}": [failure] for n in range(30, 400)}
    world = World(alive | dead)

    fetched = fetch(world, *alive, *dead, pace=lambda _: PaceLimits(rate=rate))

    codes = [item.answer.code for item in fetched]
    assert codes[:30] == [OK] * 30
    assert codes[-300:] == [ImageCode.CIRCUIT_OPEN] * 300
    assert len(world.asked) <= 30 + 20 + 15 + 2
    assert "not reached" in str(fetched[-1].answer.detail)


def test_host_that_comes_back_from_the_dead_is_asked_again() -> None:
    urls = [f"http://h/{number}" for number in range(60)]
    world = World({url: [Reply(seconds=0.1)] for url in urls})
    original = world.ask

    async def ask(url: URL, limit: BodyLimit, *, within_s: float) -> Answer:
        if now() < 20:
            return Answer(ImageCode.CONNECTION_FAILED, url)
        return await original(url, limit, within_s=within_s)

    world.ask = ask  # type: ignore[method-assign]

    fetched = fetch(world, *urls)

    assert {item.answer.code for item in fetched} == {OK}
    # After the first cool-down one request alone, and then as many as may be.
    began = sorted(world.times)
    assert began[0] == pytest.approx(30)
    assert began[1:17] == pytest.approx([30.1] * 16)


def test_failures_between_answers_open_nothing() -> None:
    urls = [f"http://h/{number}" for number in range(200)]
    failure = Reply(ImageCode.CONNECTION_RESET, None)
    script = {
        url: [failure if number % 10 else Reply()] for number, url in enumerate(urls)
    }
    limits = dataclasses.replace(LIMITS, retry=RetryPolicy(0))
    pace = PaceLimits(connections=1, breaker_streak=10)

    fetch(world := World(script), *urls, limits=limits, pace=lambda _: pace)

    assert len(world.asked) == 200


def test_time_out_of_a_picture_that_had_little_time_left_is_not_the_hosts() -> None:
    # Each has 25 s of its minute left when the time-out comes.
    replies = [Reply(DOWN, 500, seconds=35), Reply(seconds=99)]
    urls = [f"http://h/{number}" for number in range(60)]
    world = World({url: list(replies) for url in urls})

    fetched = fetch(world, *urls, pace=lambda _: PaceLimits(connections=4))

    assert {item.answer.code for item in fetched} == {ImageCode.TIMED_OUT}


@pytest.mark.parametrize("lanes", [1, 3])
def test_crawl_delay_of_a_host_is_shared_by_the_lanes(lanes: int) -> None:
    rules = Reply(body=b"User-agent: *\nCrawl-delay: 10")
    urls = [f"http://h/{number}" for number in range(20)]
    config = FetchConfig("", lanes=lanes).share(0)
    world = World({"http://h/robots.txt": [rules]} | {url: [Reply()] for url in urls})

    fetch(world, *urls, pace=config.pace, heeds_robots=True)

    # The first picture need not keep a distance from robots.txt.
    assert max(world.times) == pytest.approx(19 * 10 * lanes, abs=0.11)


def test_slow_host_does_not_hold_up_another() -> None:
    slow = {f"http://slow/{n}": [Reply(seconds=30)] for n in range(50)}
    quick = {f"http://quick/{n}": [Reply(seconds=1)] for n in range(50)}
    world = World(slow | quick)

    fetch(world, *slow, *quick, pace=lambda _: PaceLimits(connections=2))

    last = max(time for time, url in world.asked if "quick" in url)
    assert last == 24  # two at once, a second each


def test_bodies_in_memory_are_only_so_many_more_than_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picture_fetch, "_BODIES_WAITING", 5)
    world = World({f"http://h{n}/a": [Reply(seconds=1)] for n in range(30)})

    fetch(world, *(f"http://h{n}/a" for n in range(30)), connections=5, accept_s=9)

    assert world.most_at_once == 5
    # Five, five more while those are accepted, and the next when they have been.
    assert sorted(set(world.times)) == [0, 1, 10, 11, 20, 21]


def test_redirects_are_followed_to_the_end() -> None:
    world = World(
        {
            "http://h/a": [redirect("/b?x=1")],
            "http://h/b?x=1": [redirect("https://other/c")],
            "https://other/c": [Reply()],
        }
    )

    fetched = fetch_one(world)

    assert fetched.accepted == b"https://other/c"
    assert str(fetched.answer.url) == "https://other/c"
    assert fetched.attempts == 1


def test_redirects_end_after_the_limit() -> None:
    world = World({"http://h/a": [redirect("/a")]})

    fetched = fetch_one(world)

    assert fetched.answer.code is ImageCode.TOO_MANY_REDIRECTS
    assert len(world.asked) == 1 + LIMITS.redirects


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("http://169.254.169.254/latest", ImageCode.ADDRESS_REFUSED),
        ("http://[::1]/x", ImageCode.ADDRESS_REFUSED),
        ("http://[::ffff:192.168.0.1]/x", ImageCode.ADDRESS_REFUSED),
        ("http://10.0.0.2/x", ImageCode.ADDRESS_REFUSED),
        ("file:///etc/passwd", ImageCode.BAD_REDIRECT),
        ("gopher://h/x", ImageCode.BAD_REDIRECT),
        ("http://[::1", ImageCode.BAD_REDIRECT),
        ("http://h:99999/", ImageCode.BAD_REDIRECT),
        (None, ImageCode.BAD_REDIRECT),
    ],
)
def test_redirect_to_a_forbidden_place_is_not_followed(
    place: str | None, expected: ImageCode
) -> None:
    world = World({"http://10.0.0.1/a": [redirect(place)]})

    fetched = fetch_one(world, "http://10.0.0.1/a")

    assert fetched.answer.code is expected
    assert len(world.asked) == 1


def test_turns_of_a_redirect_are_those_of_its_target() -> None:
    urls = [f"http://h{n}/a" for n in range(10)]
    targets = {f"http://cdn/{n}": [Reply(seconds=1)] for n in range(10)}
    hops = {url: [redirect(f"http://cdn/{n}")] for n, url in enumerate(urls)}
    world = World(hops | targets)

    fetch(world, *urls, pace=lambda _: PaceLimits(connections=2))

    assert max(world.times) == 4  # ten, two at once, a second each


def test_robots_of_every_hop_are_heeded() -> None:
    world = World(
        {
            "http://h/a": [redirect("http://cdn/secret/a")],
            "http://cdn/secret/a": [Reply()],
        }
    )
    original = world.ask

    async def ask(url: URL, limit: BodyLimit, *, within_s: float) -> Answer:
        if str(url) == "http://cdn/robots.txt":
            rules = b"User-agent: *\nDisallow: /secret/"
            return Answer(OK, url, 200, rules)
        return await original(url, limit, within_s=within_s)

    world.ask = ask  # type: ignore[method-assign]

    assert fetch_one(world, heeds_robots=True).answer.code is (
        ImageCode.ROBOTS_DISALLOWED
    )
    assert fetch_one(world, heeds_robots=False).answer.code is OK


def test_dead_host_is_asked_for_its_robots_and_for_nothing_else() -> None:
    urls = [f"http://h/{number}" for number in range(50)]
    dead = {"http://h/robots.txt": [Reply(ImageCode.CONNECTION_FAILED, None)]}
    world = World(dead)

    fetched = fetch(world, *urls, heeds_robots=True)

    assert {item.answer.code for item in fetched} == {ImageCode.CONNECTION_FAILED}
    assert all("robots.txt" in str(item.answer.detail) for item in fetched)
    assert len(world.asked) == 4


@pytest.mark.parametrize("heeds_robots", [True, False])
def test_robots_tag_keeps_a_picture_from_being_used(heeds_robots: bool) -> None:
    world = World({"http://h/a": [Reply(headers={"robots_tags": ("noai",)})]})

    fetched = fetch_one(world, heeds_robots=heeds_robots)

    expected = ImageCode.ROBOTS_DISALLOWED if heeds_robots else OK
    assert fetched.answer.code is expected
    assert (fetched.accepted is None) == heeds_robots


@pytest.mark.parametrize("address", ["", "nothing", "ftp://h/x", "http://[::1"])
def test_bad_address_is_asked_of_nobody(address: str) -> None:
    world = World({})

    fetched = fetch_one(world, address)

    assert (fetched.answer.code, fetched.attempts) == (ImageCode.BAD_URL, 0)
    assert world.asked == []
