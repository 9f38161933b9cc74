"""A row of a shared store, read and checked; and the change that leads to another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vary_proxy.core.stored import Resource, StoredResponse
from vary_proxy.store import codec, layout, tags
from vary_proxy.store.base import Since
from vary_proxy.store.codec import Index, Listed, Place
from vary_proxy.store.debts import Debts
from vary_proxy.store.driver import Change, Epochs, Row


@dataclass(frozen=True, slots=True)
class Found:
    """What a row held for us. ``spoiled``: something in it was not what we had put there."""

    row: Row
    resource: Resource = field(default_factory=Resource)
    listed: Mapping[bytes, tuple[StoredResponse, Listed]] = field(default_factory=dict)
    places: Mapping[bytes, Place] = field(default_factory=dict)  # digest -> where
    spoiled: bool = False

    def since(self) -> Since:
        """To publish under, what the origin is asked for from now on."""
        return Since(self.row.generation, self.row.epochs.latest)

    def tags(self) -> tuple[bytes, ...]:
        """Every tag that one of the variants bears."""
        found: dict[bytes, None] = {}
        for one in self.resource.variants:
            found.update(dict.fromkeys(tags.tags_of(one.fields)))
        return tuple(found)


def read(key: bytes, row: Row) -> Found:
    """*row* as far as it can be believed, less what was purged with everything else."""
    if row.index is None:
        return Found(row, spoiled=bool(row.values))
    index = codec.decode_index(key, row.index)
    if index is None:
        return Found(row, spoiled=True)
    places = {place.digest: place for place in index.places}
    listed: dict[bytes, tuple[StoredResponse, Listed]] = {}
    for one in index.variants:
        stored = codec.decode_variant(key, row.values.get(one.ident))
        place = None if stored is None else places.get(stored.body.digest)
        if stored is None or place is None or place.length != stored.body.length:
            continue
        listed[one.ident] = (stored, one)
    spoiled = len(listed) < len(index.variants) or len(row.values) > len(index.variants)
    found = Found(row, Resource(tuple(one for one, _ in listed.values())), listed, places, spoiled)
    return purged(found, lambda _: (row.epochs,)) if row.epochs.hard or row.epochs.soft else found


def purged(found: Found, epochs_of: Callable[[StoredResponse], Sequence[Epochs]]) -> Found:
    """*found* less the variants that a purge of many has met, or with these marked stale."""
    listed: dict[bytes, tuple[StoredResponse, Listed]] = {}
    for ident, (stored, entry) in found.listed.items():
        epochs = epochs_of(stored)
        if any(entry.epoch < one.hard for one in epochs):
            continue
        soft = any(entry.epoch < one.soft for one in epochs)
        listed[ident] = (stored.marked_stale() if soft else stored, entry)
    resource = Resource(tuple(one for one, _ in listed.values()))
    return Found(found.row, resource, listed, found.places, found.spoiled)


def change(
    key: bytes,
    found: Found,
    resource: Resource,
    now: float,
    epoch: int,
    place: Place | None = None,
    message: bytes = b"",
    blocks: Sequence[tuple[str, bytes]] = (),
    kept: Sequence[str] = (),
) -> tuple[Change, list[Place]]:
    """What turns *found* into *resource*, and the bodies that nothing points to afterwards.

    *place* is where a new body is; variants that are new remember *epoch*.
    """
    entries, values = _listed(key, found, resource, epoch)
    places = dict(found.places) if place is None else {**found.places, place.digest: place}
    used = {one.body.digest for one in resource.variants}
    index = Index(key, entries, [one for digest, one in places.items() if digest in used])
    tokens = {one.token for one in index.places}
    both = (*found.resource.variants, *resource.variants)
    sparse = {one.body.digest for one in both if one.sparse}  # any block may be missing
    is_sparse = place is not None and place.digest in sparse
    return (
        Change(
            version=found.row.version,
            generation=found.row.generation,
            index=codec.encode_index(index),
            values=values,
            new=frozenset(values) - found.row.values.keys(),
            gone=tuple(ident for ident in found.row.values if ident not in values),
            lifetime=layout.longest(resource.variants, now),
            message=message,
            blocks=blocks,
            kept=() if is_sparse else kept,
            needed=() if is_sparse else _needed(key, place, resource),
        ),
        [one for one in found.places.values() if one.token not in tokens],
    )


def _listed(
    key: bytes, found: Found, resource: Resource, epoch: int
) -> tuple[list[Listed], dict[bytes, bytes]]:
    """The variants of *resource* as an index lists them, and their values by identifier."""
    entries: list[Listed] = []
    values: dict[bytes, bytes] = {}
    held = {id(stored): entry for stored, entry in found.listed.values()}
    for one in resource.variants:
        entry = held.get(id(one))
        if entry is None:
            value = codec.encode_variant(key, one)
            entry = Listed(codec.ident_of(value), epoch)
            values[entry.ident] = value
        else:
            values[entry.ident] = found.row.values[entry.ident]
        entries.append(entry)
    return entries, values


def _needed(key: bytes, place: Place | None, resource: Resource) -> tuple[str, ...]:
    if place is None or not resource.variants:
        return ()
    names = layout.block_names(layout.row(key), place)
    return (names[0], names[-1]) if len(names) > 1 else tuple(names)


def less_tags(found: Found, epochs: Mapping[bytes, Epochs], debts: Debts) -> Found:
    """*found* less what a purge of one of its tags has met; *epochs* by tag."""
    left = purged(found, lambda stored: [epochs[tag] for tag in tags.tags_of(stored.fields)])
    return purged(left, lambda stored: _OWED if debts.cover_tags(stored) else ())


_OWED = (Epochs(hard=1 << 62),)
