"""The journal's rows: reports and where their answers go. Knows nothing of threads and transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lineside import journal_alarms as alarms
from lineside import journal_bursts as bursts
from lineside.diagnosis.diagnosis import Group
from lineside.journal_alarms import Alarm, Life, Standing
from lineside.journal_bursts import Burst
from lineside.journal_clock import NS_PER_S, STAMP, Now, now
from lineside.journal_deliveries import deliver, deliver_again, insert, outgoing
from lineside.ports import Copy, IncomingReport, OutgoingAnswer

REPEAT_WINDOW_S = 600
# Of a broker that was not told that we have it: it tells us again as soon as it can, after however long.
REDELIVERY_WINDOW_S = 604_800
OPEN_COLUMNS = f"id, device, urgency, timeout_ms, attempts, cancelled, {STAMP}"


@dataclass(frozen=True, slots=True)
class NewReport:
    """What is stored of a report. `key` is the same for a repeat of it, and begins with `name`, which is the
    same for all of one device and id; empty: it has no id.

    `answer`: it is answered at once. `copies`: where else its answer goes. `alarm`: None where it is refused.
    `refusal`: its answer where somebody had to look into it, for which there is no room; None: there is.
    """

    incoming: IncomingReport
    key: str
    urgency: int
    timeout_ms: int | None
    answer: bytes | None = None
    copies: tuple[Copy, ...] = ()
    name: str = ""
    alarm: Alarm | None = None
    refusal: bytes | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The commit's outcome: work to do when `fresh`, or what to publish when an answer is there already.

    `reused`: its id came with another content before, within the window. `repeated`: its alarm stands.
    `grouped`: it is only listed with the first out. `refused`: there is no room for it. `reopened`: as in
    Answered.
    """

    report: int
    fresh: bool
    deliveries: tuple[OutgoingAnswer, ...] = ()
    reused: bool = False
    repeated: bool = False
    grouped: bool = False
    refused: bool = False
    reopened: tuple[OpenReport, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenReport:
    """Accepted and not yet answered.

    `waited_ns` since it was received, as far as the clocks can tell. `remaining_ms` until the last message
    that asked for it expires; None: never. `attempts` to answer it, this one included.
    `cancelled`: its alarm has gone. `group`: what has come together with it, the first out.
    """

    report: int
    payload: bytes
    device: str
    urgency: int
    timeout_ms: int | None
    waited_ns: int
    attempts: int
    cancelled: bool = False
    remaining_ms: int | None = None
    group: Group | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What is to be published. `reopened`: work to do, listed only with a report that got no diagnosis."""

    deliveries: tuple[OutgoingAnswer, ...]
    reopened: tuple[OpenReport, ...] = ()


class Rows:
    """Reads and writes them over the connection that it is given, of one boot of the machine."""

    def __init__(self, boot_id: str, life: Life) -> None:
        self._boot_id = boot_id
        self._life = life

    def accept(self, connection: sqlite3.Connection, new: NewReport) -> Accepted:
        """Store a report, or one more asker for one that is known."""
        instant = now(self._boot_id)
        window_s = REDELIVERY_WINDOW_S if new.name and new.incoming.redelivered else REPEAT_WINDOW_S
        known = self._known(connection, new, instant, window_s)
        # What the broker sends again was heard when it came first: what came after it stands.
        heard = known is not None and new.incoming.redelivered
        reopened: tuple[OpenReport, ...] = ()
        if new.alarm is not None and new.alarm.event == "cleared" and not heard:
            reopened = self._hand_on(connection, alarms.clear(connection, new.incoming.device, new.alarm.key))
        standing = None if known else self._standing(connection, new, instant)
        burst = None if known or standing else self._burst(connection, new, instant)
        if new.refusal is not None and not (known or standing or (burst and burst.listed)):
            return self._refuse(connection, new, new.refusal, instant)
        reused = known is None and _is_reused(connection, new, instant, window_s)
        report, answer = known or self._add_report(connection, new, standing or burst, instant)
        copies = () if heard else new.copies
        deliveries = deliver(connection, report, new.incoming, copies, instant)
        repeated = standing is not None
        grouped = burst is not None and burst.listed is not None
        if answer is None:
            return Accepted(report, fresh=not (known or repeated), reused=reused, repeated=repeated)
        found = self._found(connection, deliveries)
        return Accepted(report, False, found, reused, repeated, grouped, reopened=reopened)

    def _refuse(
        self, connection: sqlite3.Connection, new: NewReport, refusal: bytes, instant: Now
    ) -> Accepted:
        """It stands for no alarm, begins no group, and is not known when it comes again."""
        refused = replace(new, answer=refusal, alarm=None)
        report, _ = self._add_report(connection, refused, None, instant)
        _forget(connection, report)
        deliveries = deliver(connection, report, new.incoming, new.copies, instant)
        return Accepted(report, False, self._found(connection, deliveries), refused=True)

    def _found(self, connection: sqlite3.Connection, deliveries: list[int]) -> tuple[OutgoingAnswer, ...]:
        return tuple(self.deliveries(connection, "d.id = ?", delivery)[0] for delivery in deliveries)

    def _known(
        self, connection: sqlite3.Connection, new: NewReport, instant: Now, window_s: float
    ) -> tuple[int, bytes | None] | None:
        """The report that this one is, and its answer if there is one."""
        same = bool(new.name or new.incoming.redelivered)
        if self._raised(new) and not same:
            return None  # without an id the same again is said anew: its alarm tells what it is
        row = connection.execute(
            f"SELECT id, answer, {STAMP} FROM report WHERE key = ? AND (? OR NOT cancelled)"  # noqa: S608
            " ORDER BY id DESC LIMIT 1",
            (new.key, same),
        ).fetchone()
        return row[:2] if row and instant.since_s(*row[2:]) < window_s else None

    def _raised(self, new: NewReport) -> Alarm | None:
        """The alarm that a report raises, where alarms have a life."""
        alarm = new.alarm
        return alarm if alarm and alarm.event == "raised" and self._life.occurrence_s else None

    def _standing(self, connection: sqlite3.Connection, new: NewReport, instant: Now) -> Standing | None:
        alarm = self._raised(new)
        if alarm is None:
            return None
        return alarms.repeat_of(connection, new.incoming.device, alarm, new.urgency, self._life, instant)

    def _burst(self, connection: sqlite3.Connection, new: NewReport, instant: Now) -> Burst | None:
        """The group that it is of; None where there are no groups, or it only says that an alarm has gone."""
        alarm, group_ms = new.alarm, self._life.group_ms
        if alarm is None or alarm.event != "raised" or not alarm.line or not group_ms:
            return None
        return bursts.burst_of(connection, alarm, new.urgency, group_ms, instant)

    def _add_report(
        self,
        connection: sqlite3.Connection,
        new: NewReport,
        place: Standing | Burst | None,
        instant: Now,
    ) -> tuple[int, bytes | None]:
        """Its id, and its answer: its own, its alarm's, or that of what is only listed in a group."""
        answer, asked = new.answer, new.alarm.asked if new.alarm else ""
        standing = place if isinstance(place, Standing) else None
        burst = place if isinstance(place, Burst) else None
        if standing is not None and standing.answer is not None:
            answer = self._life.again(standing.answer, asked, standing.count)
        if burst and burst.listed and new.alarm and new.alarm.listed:
            answer = new.alarm.listed(burst.listed)
        report = insert(
            connection,
            "report",
            key=new.key,
            received_s=instant.wall_s,
            synchronised=instant.synchronised,
            boot_id=self._boot_id,
            received_boot_ns=instant.boot_ns,
            device=new.incoming.device,
            # What is only listed may be the next to be diagnosed.
            payload=b"" if answer is not None and not (burst and burst.listed) else new.incoming.payload,
            urgency=new.urgency,
            timeout_ms=new.timeout_ms,
            answer=answer,
            alarm=new.alarm.key if new.alarm else "",
            asked=asked,
            head=standing.report if standing else None,
            count=standing.count if standing else 1,
            burst=burst.first if burst else None,
        )
        if answer is None and standing is None and (alarm := self._raised(new)):
            alarms.stand(connection, new.incoming.device, alarm, report, instant)
        if burst and burst.first is None and new.alarm:
            bursts.begin(connection, new.alarm, new.urgency, report, instant)
        return report, answer

    def answer(  # noqa: PLR0913 all are of one answer
        self,
        connection: sqlite3.Connection,
        report: int,
        payload: bytes,
        *,
        set_aside: bool,
        stands: bool,
        ask_again: bool,
        diagnosed: bool,
    ) -> Answered:
        """Store a report's answer, which its alarm's other reports get, too."""
        kept = "set_aside = 1" if set_aside else "payload = x''"
        connection.execute(f"UPDATE report SET answer = ?, {kept} WHERE id = ?", (payload, report))  # noqa: S608
        alarms.answer_repeats(connection, report, payload, self._life.again)
        if ask_again:
            _forget(connection, report)
        reopened: tuple[OpenReport, ...] = ()
        if diagnosed:
            bursts.settle(connection, report)
        else:
            reopened = self._hand_on(connection, (report,))
        if not stands:
            alarms.let_go(connection, report)
            bursts.let_go(connection, report)
        where = "d.published = 0 AND (r.id = ? OR r.head = ?)"
        return Answered(tuple(self.deliveries(connection, where, report, report)), reopened)

    def deliveries(self, connection: sqlite3.Connection, where: str, *values: int) -> list[OutgoingAnswer]:
        """See journal_deliveries.outgoing."""
        return outgoing(connection, now(self._boot_id), where, *values)

    def _hand_on(self, connection: sqlite3.Connection, firsts: Iterable[int]) -> tuple[OpenReport, ...]:
        """Of the groups that begin with these, which get no diagnosis, the next ones: they are open again."""
        query = f"SELECT {OPEN_COLUMNS}, x'' FROM report WHERE id = ?"  # noqa: S608
        nexts = [found for first in firsts if (found := bursts.hand_on(connection, first)) is not None]
        for report in nexts:
            deliver_again(connection, report)
        return tuple(self.open_report(connection.execute(query, (report,)).fetchone()) for report in nexts)

    def open_report(self, row: tuple[Any, ...]) -> OpenReport:
        """A row of OPEN_COLUMNS and the payload."""
        report, device, urgency, timeout_ms, attempts, cancelled, *stamp, payload = row
        waited_ns = int(now(self._boot_id).since_s(*stamp) * NS_PER_S)
        return OpenReport(
            report, bytes(payload), device, urgency, timeout_ms, waited_ns, attempts, bool(cancelled)
        )


def _forget(connection: sqlite3.Connection, report: int) -> None:
    """The same report again is a new one, and so are those that got its answer."""
    connection.execute("UPDATE report SET key = key || ':' || id WHERE id = ? OR head = ?", (report, report))


def _is_reused(connection: sqlite3.Connection, new: NewReport, instant: Now, window_s: float) -> bool:
    """Whether another report has its name, such as of a controller whose counter began anew."""
    if not new.name:
        return False
    # A range of the key's index: what begins with the name.
    query = f"""SELECT {STAMP} FROM report WHERE key >= ? AND key < ? AND substr(key, 1, length(?)) != ?
        ORDER BY id DESC LIMIT 1"""  # noqa: S608
    values = (new.name, f"{new.name}~", new.key, new.key)
    row = connection.execute(query, values).fetchone()
    return row is not None and instant.since_s(*row) < window_s
