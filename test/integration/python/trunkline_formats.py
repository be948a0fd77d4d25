"""Packed events, blocks and partitions, written from docs/formats.md alone."""

import gzip
import struct
import zlib

from trunkline.ttypes import Block, Event

KEY, PAYLOAD, TIME, ID, TYPE, SOURCE = 1, 2, 4, 8, 16, 32
HEAD = struct.Struct('>IBBHHHIq')


class BadBlock(Exception):
    pass


def unpack_events(raw, count):
    """The events of a block's raw bytes."""
    events = []
    at = 0
    while at < len(raw):
        if len(raw) - at < HEAD.size:
            raise BadBlock('a head is cut')
        size, flags, headers, id_size, type_size, source_size, key_size, time = HEAD.unpack_from(raw, at)
        end = at + 4 + size
        at += HEAD.size
        if size < HEAD.size - 4 or end > len(raw) or flags & 0xC0 or headers > 64:
            raise BadBlock('a head does not fit')
        sizes = {ID: id_size, TYPE: type_size, SOURCE: source_size, KEY: key_size}
        fields = {}
        for flag, field_size in sizes.items():
            if not flags & flag and field_size:
                raise BadBlock('an absent field has a size')
            fields[flag], at = take(raw, at, field_size, end)
        if time and not flags & TIME or abs(time) > 2**53 - 1:
            raise BadBlock('a time that cannot be')
        found = {}
        for _ in range(headers):
            head, at = take(raw, at, 4, end)
            name_size, value_size = struct.unpack('>HH', head)
            name, at = take(raw, at, name_size, end)
            value, at = take(raw, at, value_size, end)
            if name_size == 0 or text(name) in found:
                raise BadBlock('a header without a name, or twice')
            found[text(name)] = text(value)
        payload, at = take(raw, at, end - at, end)
        if payload and not flags & PAYLOAD:
            raise BadBlock('an absent payload has bytes')
        events.append(
            Event(
                key=fields[KEY] if flags & KEY else None,
                payload=payload if flags & PAYLOAD else None,
                headers=found or None,
                timestampMs=time if flags & TIME else None,
                id=text(fields[ID]) if flags & ID else None,
                type=text(fields[TYPE]) if flags & TYPE else None,
                source=text(fields[SOURCE]) if flags & SOURCE else None,
            )
        )
    if len(events) != count:
        raise BadBlock(f'{len(events)} events, not {count}')
    return events


def take(raw, at, size, end):
    if at + size > end:
        raise BadBlock('a field is longer than its event')
    return raw[at : at + size], at + size


def text(value):
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadBlock('not UTF-8') from error


def raw_of(block):
    """The raw bytes of a block's data."""
    if block.encoding == 0:
        raw = block.data
    elif block.encoding == 1:
        inflate = zlib.decompressobj(wbits=31)
        raw = inflate.decompress(block.data, block.rawSize + 1)
        if not inflate.eof or inflate.unused_data:
            raise BadBlock('gzip data that does not end where it should')
    else:
        raise BadBlock('unknown encoding')
    if len(raw) != block.rawSize:
        raise BadBlock('rawSize is wrong')
    return raw


def unpack_block(block):
    """The events of a block that was read, with their positions."""
    if block.packing != 1:
        raise BadBlock('unknown packing')
    events = unpack_events(raw_of(block), block.count)
    for index, event in enumerate(events):
        event.partition, event.offset, event.index = block.partition, block.offset, index
        event.appendTimeMs = block.appendTimeMs
        if event.timestampMs is None:
            event.timestampMs = block.appendTimeMs
    first = block.first or 0
    take_count = block.count - first if block.take is None else block.take
    return events[first : first + take_count]


def pack_event(event):
    parts = {ID: encoded(event.id), TYPE: encoded(event.type), SOURCE: encoded(event.source), KEY: event.key}
    flags = sum(flag for flag, value in parts.items() if value is not None)
    flags |= (PAYLOAD if event.payload is not None else 0) | (TIME if event.timestampMs is not None else 0)
    body = b''.join(value or b'' for value in parts.values())
    for name, value in (event.headers or {}).items():
        body += struct.pack('>HH', len(name.encode()), len(value.encode())) + name.encode() + value.encode()
    body += event.payload or b''
    sizes = [len(value or b'') for value in parts.values()]
    return HEAD.pack(HEAD.size - 4 + len(body), flags, len(event.headers or {}), *sizes, event.timestampMs or 0) + body


def encoded(value):
    return None if value is None else value.encode()


def pack_block(partition, events, compress=False):
    raw = b''.join(pack_event(event) for event in events)
    data = gzip.compress(raw) if compress else raw
    encoding = 1 if compress else 0
    return Block(partition=partition, packing=1, count=len(events), encoding=encoding, rawSize=len(raw), data=data)


def partition_of(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data):
    """Kafka's: 32 bits, seed 0x9747b28c, four bytes at a time, little-endian."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for (k,) in struct.iter_unpack('<I', data[:whole]):
        k = k * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, 'little')) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
