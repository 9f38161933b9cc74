"""What a pattern is run as: an automaton of one position per byte to be read.

Positions and the steps between them are Glushkov's construction. Running it keeps the set
of positions reached so far, so every byte of a value is looked at once and no value can make
a match slow. A pattern that would still be catastrophic in a backtracking engine is refused,
because rules are copied from and to places that have one: such a pattern can go round a loop
in two ways on the same characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vary_proxy.core.patterns import Chain, Chars, Choice, Node, PatternError, Repeat

MAX_POSITIONS = 512
_MAX_PIECES = 8 * MAX_POSITIONS  # parts, each as often as it is repeated; some are of no position
_Ways = dict[int, int]  # position -> in how many ways it is reached


@dataclass(frozen=True, slots=True)
class Automaton:
    """Positions, by the bytes each reads; sets of positions are the bits of an int."""

    masks: tuple[int, ...]
    follow: tuple[int, ...]
    first: int
    last: int
    empty: bool

    def matches(self, value: bytes) -> bool:
        """True when the pattern matches the whole of *value*."""
        if not value:
            return self.empty
        reached, ahead = 0, self.first
        for byte in value:
            reached, following = 0, 0
            while ahead:
                at = (ahead & -ahead).bit_length() - 1
                ahead &= ahead - 1
                if self.masks[at] >> byte & 1:
                    reached |= 1 << at
                    following |= self.follow[at]
            ahead = following
        return bool(reached & self.last)


def build(node: Node) -> Automaton:
    """The automaton of *node*. Raises PatternError when it is too large or catastrophic."""
    builder = _Builder()
    whole = builder.piece(node)
    if _has_ambiguous_loop(builder):
        raise _catastrophic()
    return Automaton(
        masks=tuple(builder.masks),
        follow=tuple(_bits(follow) for follow in builder.follow),
        first=_bits(whole.first),
        last=_bits(whole.last),
        empty=whole.empty > 0,
    )


def _catastrophic() -> PatternError:
    return PatternError(
        "is catastrophic: a repetition within it can be read in more than one way",
        "do not repeat what repeats, or separate the repetitions, as in ([a-z0-9]+\\.)+",
    )


def _too_large() -> PatternError:
    return PatternError("is too large", "split it, or write a * instead")


def _bits(positions: _Ways) -> int:
    return sum(1 << at for at in positions)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the pattern: in how many ways it is empty, begins and ends."""

    empty: int
    first: _Ways
    last: _Ways


def _added(ways: _Ways, more: _Ways, times: int = 1) -> _Ways:
    if not times:
        return ways
    return ways | {at: ways.get(at, 0) + many * times for at, many in more.items()}


class _Builder:
    """Builds the automaton, counting the ways in which each step can be taken."""

    def __init__(self) -> None:
        self.masks: list[int] = []
        self.follow: list[_Ways] = []
        self._pieces = 0

    def piece(self, node: Node) -> _Piece:
        self._pieces += 1
        if self._pieces > _MAX_PIECES:
            raise _too_large()
        match node:
            case Chars(mask, _):
                return self._position(mask)
            case Chain(parts):
                return self._chained([self.piece(part) for part in parts])
            case Choice(options):
                whole = _Piece(0, {}, {})
                for piece in map(self.piece, options):
                    first, last = _added(whole.first, piece.first), _added(whole.last, piece.last)
                    whole = _Piece(whole.empty + piece.empty, first, last)
                return whole
            case Repeat(part, low, high):
                return self._repeated(part, low, high)

    def _position(self, mask: int) -> _Piece:
        at = len(self.masks)
        if at == MAX_POSITIONS:
            raise _too_large()
        self.masks.append(mask)
        self.follow.append({})
        return _Piece(0, {at: 1}, {at: 1})

    def _chained(self, pieces: list[_Piece]) -> _Piece:
        whole = _Piece(1, {}, {})
        for piece in pieces:
            self._link(whole.last, piece.first)
            first = _added(whole.first, piece.first, whole.empty)
            last = _added(piece.last, whole.last, piece.empty)
            whole = _Piece(whole.empty * piece.empty, first, last)
        return whole

    def _repeated(self, part: Node, low: int, high: int | None) -> _Piece:
        if high is None:
            copies = [self.piece(part) for _ in range(low - 1)]
            return self._chained([*copies, self._loop(part, optional=low == 0)])
        copies = [self.piece(part) for _ in range(low)]
        rest: list[_Piece] = []
        for _ in range(high - low):  # a{2,4} is aa(a(a)?)?
            piece = self._chained([self.piece(part), *rest])
            rest = [_Piece(piece.empty + 1, piece.first, piece.last)]
        return self._chained([*copies, *rest])

    def _loop(self, part: Node, *, optional: bool) -> _Piece:
        piece = self.piece(part)
        if piece.empty:  # it could go round for ever without reading anything
            raise _catastrophic()
        self._link(piece.last, piece.first)
        return _Piece(int(optional), piece.first, piece.last)

    def _link(self, last: _Ways, first: _Ways) -> None:
        for at, many in last.items():
            self.follow[at] = _added(self.follow[at], first, many)


def _has_ambiguous_loop(builder: _Builder) -> bool:
    """True when a position can come back to itself in two ways on the same characters."""
    steps = [_bits(ways) for ways in builder.follow]
    reach = _closure(steps)
    for at, ways in enumerate(builder.follow):
        if any(many > 1 and reach[after] >> at & 1 for after, many in ways.items()):
            return True
    return any(_parts_and_meets(builder.masks, steps, loop) for loop in _loops(reach))


def _loops(reach: list[int]) -> set[int]:
    """The sets of positions that can all come to each other."""
    each = range(len(reach))
    return {
        sum(1 << other for other in each if reach[at] >> other & reach[other] >> at & 1)
        for at in each
        if reach[at] >> at & 1
    }


def _closure(steps: list[int]) -> list[int]:
    """The positions that can be reached from each, in one step or more."""
    reach = list(steps)
    for middle in range(len(reach)):
        for at in range(len(reach)):
            if reach[at] >> middle & 1:
                reach[at] |= reach[middle]
    return reach


def _parts_and_meets(masks: list[int], steps: list[int], loop: int) -> bool:
    """True when two walks within *loop*, reading alike, part from one position and meet in one.

    From there both can come back to where they parted, for all of a loop can.
    """
    inside = tuple(_each(loop))
    ahead = {at: steps[at] & loop for at in inside}
    alike = {at: sum(1 << one for one in inside if masks[at] & masks[one]) for at in inside}
    todo = [(at, at) for at in inside]
    seen = set(todo)
    gone = set()  # from where pairs went on; many stand before the same
    while todo:
        here, there = todo.pop()
        if here != there and ahead[here] & ahead[there]:
            return True
        if (ahead[here], ahead[there]) in gone:
            continue
        gone.add((ahead[here], ahead[there]))
        for one in _each(ahead[here]):
            for two in _each(ahead[there] & alike[one]):
                pair = (one, two) if one < two else (two, one)
                if pair not in seen:
                    seen.add(pair)
                    todo.append(pair)
    return False


def _each(bits: int) -> Iterator[int]:
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1
