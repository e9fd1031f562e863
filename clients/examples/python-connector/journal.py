"""What a connector must not forget when it is killed: which deliveries it put on its wire, and what people said that the
server has not acked. One SQLite file; every change is on disk before the next step is made."""

import sqlite3


class Journal:
    """See the module."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")
        self.db.execute("create table if not exists sent (delivery text primary key, done integer not null)")
        self.db.execute("create table if not exists said (id text primary key, person text, words text)")

    def begin(self, delivery: str) -> bool:
        """Before the wire. False when this delivery was on the wire before: a second copy must not follow."""
        done = self.db.execute("insert into sent values (?, 0) on conflict do nothing", (delivery,))
        return done.rowcount == 1

    def done(self, delivery: str) -> None:
        """After the wire."""
        self.db.execute("update sent set done = 1 where delivery = ?", (delivery,))

    def forget(self, delivery: str) -> None:
        """Nothing left: the next attempt is a first one."""
        self.db.execute("delete from sent where delivery = ?", (delivery,))

    def knows(self, delivery: str) -> str:
        """What is known of a delivery: `sent`, `unknown` (the program died on the wire) or `nothing`."""
        row = self.db.execute("select done from sent where delivery = ?", (delivery,)).fetchone()
        return "nothing" if row is None else ("sent" if row[0] else "unknown")

    def heard(self, message_id: str, person: str, words: str) -> None:
        """Keeps what somebody said until the server has it."""
        self.db.execute("insert or ignore into said values (?, ?, ?)", (message_id, person, words))

    def unacked(self) -> list[tuple[str, str, str]]:
        """What the server has not acked, oldest first."""
        return self.db.execute("select id, person, words from said order by rowid").fetchall()

    def acked(self, message_id: str) -> None:
        """The server has it."""
        self.db.execute("delete from said where id = ?", (message_id,))
