"""Walks an RDB stream by its structure, counting keys: a generator that stops wherever it wants more bytes."""

from __future__ import annotations

from collections.abc import Generator

from databosun.domain.errors import UserFault
from databosun.engines.redis import rdbformat as rdb
from databosun.engines.redis.cluster import Ranges, key_slot, served_by
from databosun.engines.redis.rdbfacts import Keyspace, RdbFacts, name_hash
from databosun.engines.redis.rdbformat import Damaged, after_string, length_at, string_of
from databosun.engines.redis.reasons import Reason

# What the longest opcode, key header and value header take together; a chunk is parsed as far as this from its end.
GUARD = 64
_HEADER = 16
_LONGEST_KEPT = 1024 * 1024

_Steps = Generator[None, bytes, None]


class Parser:
    """Fed in order with pieces of any size; holds one of them, and of a key at most a mebibyte.

    At the end of the stream `finish` is given zeros, so that headers can be read without looking where the bytes end.
    `slots`: those that keys are to lie in.
    """

    def __init__(self, *, names: bool, slots: Ranges = ()) -> None:
        self.facts = RdbFacts()
        self.ended = False
        self._names = names
        self._served = served_by(slots) if slots else None
        self._buffer, self._at, self._base = b"", 0, 0
        self._last = False
        self._space = Keyspace()
        self._lasting = True
        self._steps = self._parse()
        next(self._steps)

    @property
    def place(self) -> int:
        """How far it has come, in bytes of the stream."""
        return self._base + self._at

    def push(self, data: bytes) -> None:
        """Take the next bytes. Damaged, UserFault(RdbVersionUnsupported, ModulesUnsupported)."""
        if self.ended:
            msg = "bytes follow its end"
            raise Damaged(msg)
        try:
            self._steps.send(data)
        except StopIteration:
            self.ended = True

    def finish(self) -> None:
        """Say that nothing follows. Damaged where it is cut."""
        self._last = True
        if not self.ended:
            self.push(bytes(GUARD))

    def _more(self) -> _Steps:
        """Take the next piece behind what is left of the last one."""
        if self._last:
            msg = "it ends in the middle"
            raise Damaged(msg)
        data = yield
        self._base += self._at
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def _room(self) -> _Steps:
        """Have a whole header at hand."""
        while len(self._buffer) - self._at < GUARD:
            yield from self._more()

    def _go(self, to: int) -> _Steps:
        """Move on, perhaps beyond the buffer."""
        while to > len(self._buffer):
            self._base += len(self._buffer)
            to -= len(self._buffer)
            self._buffer, self._at = b"", 0
            if self._last:
                msg = "it ends in the middle"
                raise Damaged(msg)
            self._buffer = yield
        self._at = to

    def _parse(self) -> _Steps:
        yield from self._read_header()
        while True:
            self._values()
            yield from self._room()
            kind = self._buffer[self._at]
            if kind == rdb.EOF:
                yield from self._go(self._at + 9)
                return
            if kind > rdb.SLOT_INFO - 1:
                yield from self._opcode(kind)
            else:
                yield from self._value(kind)

    def _read_header(self) -> _Steps:
        while len(self._buffer) < _HEADER:
            yield from self._more()
        for magic, versions in rdb.MAGICS.items():
            digits = self._buffer[len(magic) : 9]
            if self._buffer.startswith(magic) and digits.isdigit():
                self.facts.magic, self.facts.version = magic.decode(), int(digits)
                if self.facts.version not in versions:
                    raise _unsupported(self.facts)
                self._at = 9
                return
        msg = f"it begins with {self._buffer[:9]!r}"
        raise Damaged(msg)

    def _values(self) -> None:
        """The many keys whose value is one string, as far as the buffer holds them whole: the way that must be fast."""
        buffer, at, limit = self._buffer, self._at, len(self._buffer) - GUARD
        named, lasting, single = self._space.names is not None, self._lasting, rdb.ONE_STRING
        served, keys, expires, names = self._served, 0, 0, 0
        while at <= limit:
            kind = buffer[at]
            if kind == rdb.EXPIRES_MS:
                expires, lasting, at = expires + 1, False, at + 9
                continue
            if kind not in single:
                if kind not in rdb.USED:
                    break
                at = length_at(buffer, at + 1)[1] if kind == rdb.IDLE else at + 2
                continue
            first = buffer[at + 1]
            value = at + 2 + first if first < 64 else after_string(buffer, at + 1)
            if value > limit or (end := after_string(buffer, value)) > limit:
                break
            if (named and lasting) or served:
                name = buffer[at + 2 : value] if first < 64 else string_of(buffer[at + 1 : value])
                if named and lasting:
                    names += name_hash(name)
                self.facts.strays += served is not None and not served[key_slot(name)]
            keys, lasting, at = keys + 1, True, end
        self._at, self._lasting = at, lasting
        self._space.add(keys, expires, names)

    def _value(self, kind: int) -> _Steps:
        self._at += 1
        yield from self._key()
        if kind in rdb.ONE_STRING:
            yield from self._strings(1)
        elif kind in rdb.ELEMENTS:
            yield from self._elements(*rdb.ELEMENTS[kind])
        elif kind == rdb.NODES:
            yield from self._quicklist()
        elif kind == rdb.OLD_SORTED_SET:
            yield from self._old_sorted_set()
        elif kind in rdb.STREAMS:
            yield from self._stream(kind)
        elif kind in rdb.MODULE_TYPES:
            said = "a key holds data of a module"
            raise _modules(said)
        else:
            msg = f"0x{kind:02x} is no type of version {self.facts.version}"
            raise Damaged(msg)

    def _key(self) -> _Steps:
        yield from self._room()
        size = after_string(self._buffer, self._at) - self._at
        named, raw = self._space.names is not None and self._lasting, None
        if named or self._served:
            raw = yield from self._take(size)
            if raw is None and named:
                self._space.names = None  # a name that is not kept whole cannot be compared: none of its database is
        else:
            yield from self._go(self._at + size)
        name = None if raw is None else string_of(raw)
        self.facts.strays += bool(name is not None and self._served and not self._served[key_slot(name)])
        self._space.add(1, 0, name_hash(name) if named and name is not None else 0)
        self._lasting = True

    def _take(self, size: int) -> Generator[None, bytes, bytes | None]:
        """So many bytes whole; None where that is more than is kept, and they are passed over."""
        if size > _LONGEST_KEPT:
            yield from self._go(self._at + size)
            return None
        while len(self._buffer) - self._at < size:
            yield from self._more()
        raw = self._buffer[self._at : self._at + size]
        self._at += size
        return raw

    def _length(self) -> Generator[None, bytes, int]:
        yield from self._room()
        value, self._at = length_at(self._buffer, self._at)
        return value

    def _strings(self, count: int) -> _Steps:
        while count:
            yield from self._room()
            buffer, at, limit = self._buffer, self._at, len(self._buffer) - GUARD
            while count and at <= limit:
                first = buffer[at]
                at = at + 1 + first if first < 64 else after_string(buffer, at)
                count -= 1
            yield from self._go(at)

    def _elements(self, strings: int, extra: int) -> _Steps:
        count = yield from self._length()
        if not extra:
            yield from self._strings(count * strings)
            return
        for _ in range(count):
            yield from self._strings(strings)
            yield from self._go(self._at + extra)

    def _quicklist(self) -> _Steps:
        for _ in range((yield from self._length())):
            yield from self._length()
            yield from self._strings(1)

    def _old_sorted_set(self) -> _Steps:
        for _ in range((yield from self._length())):
            yield from self._strings(1)
            yield from self._room()
            digits = self._buffer[self._at]
            yield from self._go(self._at + 1 + (digits if digits < 253 else 0))

    def _stream(self, kind: int) -> _Steps:
        """Entries, then the ids that the stream knows, then its groups with what each consumer has not acknowledged."""
        yield from self._strings(2 * (yield from self._length()))
        for _ in range(3 if kind == min(rdb.STREAMS) else 8):
            yield from self._length()
        for _ in range((yield from self._length())):
            yield from self._strings(1)
            for _ in range(2 if kind == min(rdb.STREAMS) else 3):
                yield from self._length()
            for _ in range((yield from self._length())):
                yield from self._go(self._at + 24)
                yield from self._length()
            for _ in range((yield from self._length())):
                yield from self._strings(1)
                yield from self._go(self._at + (16 if kind == max(rdb.STREAMS) else 8))
                waiting = yield from self._length()
                yield from self._go(self._at + 16 * waiting)

    def _opcode(self, kind: int) -> _Steps:
        self._at += 1
        if kind == rdb.AUX:
            yield from self._aux()
        elif kind == rdb.SELECT:
            number = yield from self._length()
            self._space = self.facts.databases.setdefault(number, Keyspace(names=0 if self._names else None))
        elif kind in (rdb.EXPIRES_MS, rdb.EXPIRES):
            self._space.expires += 1
            self._lasting = False
            yield from self._go(self._at + (8 if kind == rdb.EXPIRES_MS else 4))
        elif kind == rdb.FREQUENCY:
            yield from self._go(self._at + 1)
        elif kind == rdb.FUNCTION:
            self.facts.functions += 1
            yield from self._strings(1)
        elif kind == rdb.MODULE_AUX:
            said = "a module has put data of its own beside the keys"
            raise _modules(said)
        else:
            for _ in range(_LENGTHS.get(kind, 0)):
                yield from self._length()
            if kind not in _LENGTHS:
                msg = f"0x{kind:02x} is no opcode of version {self.facts.version}"
                raise Damaged(msg)

    def _aux(self) -> _Steps:
        texts = []
        for _ in range(2):
            yield from self._room()
            raw = yield from self._take(after_string(self._buffer, self._at) - self._at)
            texts.append(string_of(raw).decode("utf-8", "replace") if raw is not None else "")
        self.facts.aux |= {texts[0]: texts[1]} if texts[0] in _TELLING else {}


_TELLING = frozenset(
    {"redis-ver", "valkey-ver", "redis-bits", "ctime", "used-mem", "repl-id", "repl-offset", "repl-stream-db"}
)
_LENGTHS = {rdb.RESIZE: 2, rdb.IDLE: 1, rdb.SLOT_INFO: 3}


def _unsupported(facts: RdbFacts) -> UserFault:
    message = (
        f"the server writes RDB version {facts.version} ({facts.magic}); this release reads {_readable()}: "
        "use a server of Redis 6.0 to 7.2, or Valkey 7.2 to 9.1"
    )
    return UserFault(Reason.RDB_VERSION_UNSUPPORTED, message)


def _readable() -> str:
    return " and ".join(f"{magic.decode()} {found[0]} to {found[-1]}" for magic, found in rdb.MAGICS.items())


def _modules(what: str) -> UserFault:
    message = f"{what}: a server without that module cannot read such a backup; this release backs up none of them"
    return UserFault(Reason.MODULES_UNSUPPORTED, message)
