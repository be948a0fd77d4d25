"""Drives a gateway with generated code alone and says what it saw: one JSON object per line, {"act": …}.

Usage: stock_client.py DEV_FILE VECTORS ACT…; the act `take_over` asks for what happens to the gateway on stdout
({"ask": …}) and goes on at the next line of stdin.
"""

import json
import os
import sys

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.THttpClient import THttpClient

from example import Session, connect, login
from producer import Producer
from proof import Keys
from trunkline import Gateway
from trunkline.constants import MODE_READ, MODE_WRITE, SLOT_CONTROL
from trunkline.ttypes import AckRequest, AllocateRequest, DescribeRequest, DisposeRequest, Event, ExtendRequest
from trunkline.ttypes import NackRequest, Proof, ReadRequest, StartAt, TrunklineError, WriteRequest
from trunkline_formats import BadBlock, pack_block, pack_event, partition_of, unpack_block, unpack_events


def connect_http(http_url):
    transport = THttpClient(f'{http_url}/thrift')
    transport.open()
    return Gateway.Client(TBinaryProtocol(transport))


def say(**fields):
    print(json.dumps(fields), flush=True)


def ask(what):
    say(ask=what)
    return sys.stdin.readline()


def texts(events):
    return [event.payload.decode() for event in events]


def error_of(call):
    try:
        call()
    except TrunklineError as error:
        # The generated exception cannot be changed and refuses to be hashed: copy what is needed.
        return {'code': error.code, 'name': error.name, 'advice': error.advice, 'retryable': error.retryable,
                'details': error.details, 'hasTurn': error.turn is not None, 'expected': error.expected}
    return None


def request_in_turn(session, request, slot=0):
    """The request as Session.call would send it, to be sent twice."""
    turn = session.turns[slot]
    request.session = session.allocated.session
    request.proof = Proof(slot=slot, seq=turn.nextSeq, challenge=turn.challenge)
    return signed(session, request)


def signed(session, request):
    session.keys.sign(type(request).__name__.removesuffix('Request').lower(), request)
    return request


def converse(gateway, bearer, topic):
    """Both phases, repeats, cursors and typed errors."""
    writer = Session(gateway, bearer, topic=topic, mode=MODE_WRITE)
    stage = request_in_turn(writer, WriteRequest(n=1, events=[
        Event(key=b'k', payload=b'one', headers={'a': '1', '__proto__': 'x'}, timestampMs=1_700_000_000_000),
        Event(key=b'k', payload='zwö'.encode()),
    ]))
    staged = gateway.write(stage)
    say(act='staged', topic=topic, published=staged.published, repeatIsEqual=gateway.write(stage) == staged)
    writer.turns[0] = staged.turn

    proof = Proof(slot=0, seq=stage.proof.seq, challenge=stage.proof.challenge)
    changed = signed(writer, WriteRequest(session=stage.session, proof=proof, n=1, events=[Event(payload=b'other')]))
    say(act='changed', topic=topic, error=error_of(lambda: gateway.write(changed)))

    early = Session(gateway, bearer, topic=topic, mode=MODE_READ, startAt=StartAt(earliest=True))
    say(act='nothing yet', topic=topic, count=early.call('read', ReadRequest(n=1, asEvents=True)).count)
    early.call('dispose', DisposeRequest(), SLOT_CONTROL)

    acked = writer.call('ack', AckRequest(n=1))
    say(act='published', topic=topic, parts=[vars(part) for part in acked.parts])

    commit = request_in_turn(writer, WriteRequest(n=2, commit=True, events=[Event(key=b'k', payload=b'three')]))
    committed = gateway.write(commit)
    say(act='committed', topic=topic, published=committed.published, repeatIsEqual=gateway.write(commit) == committed)
    writer.turns[0] = committed.turn

    wrong = request_in_turn(writer, WriteRequest(n=3, commit=True, events=[Event(key=b'k', payload=b'four')]))
    wrong.proof.challenge = b'not the challenge'
    say(act='wrong proof', topic=topic, error=error_of(lambda: writer.gateway.write(wrong)))
    signed(writer, wrong)
    say(act='wrong challenge', topic=topic, error=error_of(lambda: writer.gateway.write(wrong)))
    early_n = WriteRequest(n=9, commit=True, events=[Event(payload=b'nine')])
    say(act='n out of turn', topic=topic, error=error_of(lambda: writer.call('write', early_n)))
    fourth = WriteRequest(n=3, commit=True, events=[Event(key=b'k', payload=b'four')])
    say(act='gone on', topic=topic, published=writer.call('write', fourth).published)
    extended = writer.call('extend', ExtendRequest(), SLOT_CONTROL)
    say(act='extended', topic=topic, hasCursor=extended.writeCursor is not None)

    reader = Session(gateway, bearer, topic=topic, mode=MODE_READ, startAt=StartAt(earliest=True))
    read = request_in_turn(reader, ReadRequest(n=1, maxEvents=2, waitMs=5_000, asEvents=True))
    first = gateway.read(read)
    repeated = gateway.read(read)
    reader.turns[0] = first.turn
    again = reader.call('read', ReadRequest(n=1, maxEvents=2, asEvents=True))
    event = first.events[0]
    say(act='read', topic=topic, texts=texts(first.events), repeatIsEqual=repeated == first,
        againIsEqual=(again.events, again.cursor, again.count) == (first.events, first.cursor, first.count),
        first={'key': event.key.decode(), 'headers': event.headers, 'timestampMs': event.timestampMs, 'id': event.id,
               'type': event.type, 'index': event.index, 'partition': event.partition, 'offset': event.offset})
    reader.call('ack', AckRequest(n=1))
    second = reader.call('read', ReadRequest(n=2, maxEvents=1, asEvents=True))
    nacked = reader.call('nack', NackRequest(n=2))
    third = reader.call('read', ReadRequest(n=3, maxEvents=1, asEvents=True))
    fourth = reader.call('read', ReadRequest(n=4, ackOf=3, asEvents=True))
    say(act='read on', topic=topic, second=texts(second.events), deliveries=nacked.deliveries, third=texts(third.events),
        fourth=texts(fourth.events), atEnd=fourth.atEnd)
    say(act='ack of nothing', topic=topic, error=error_of(lambda: reader.call('ack', AckRequest(n=9))))
    dispose = request_in_turn(reader, DisposeRequest(), SLOT_CONTROL)
    disposed = gateway.dispose(dispose)
    say(act='disposed', topic=topic, repeatIsEqual=gateway.dispose(dispose) == disposed,
        error=error_of(lambda: reader.call('read', ReadRequest(n=5))))

    for name, cursor in (('first.cursor', first.cursor), ('disposed.cursor', disposed.cursor)):
        later = Session(gateway, bearer, topic=topic, mode=MODE_READ, startAt=StartAt(cursor=cursor))
        batch = later.call('read', ReadRequest(n=1, asEvents=True))
        say(act='from cursor', topic=topic, cursor=name, texts=texts(batch.events))
        later.call('dispose', DisposeRequest(), SLOT_CONTROL)
    writer.call('dispose', DisposeRequest(), SLOT_CONTROL)

    unknown = AllocateRequest(proof=Proof(bearer=bearer), topic='never-made', mode=MODE_READ)
    say(act='unknown topic', topic=topic, error=error_of(lambda: gateway.allocate(unknown)))
    anonymous = AllocateRequest(proof=Proof(), topic=topic, mode=MODE_READ)
    say(act='no bearer', topic=topic, error=error_of(lambda: gateway.allocate(anonymous)))
    forged = AllocateRequest(proof=Proof(bearer=bearer), topic=topic, mode=MODE_READ, startAt=StartAt(cursor=b'\1forged'))
    say(act='forged cursor', topic=topic, error=error_of(lambda: gateway.allocate(forged)))
    described = gateway.describe(DescribeRequest(proof=Proof(bearer=bearer), topic=topic))
    say(act='described', topic=topic, partitions=described.topic.partitions, stored=sum(described.topic.latest))


def blocks(gateway, bearer):
    """Packs and unpacks by docs/formats.md: what the gateway unpacks of our blocks is what we unpack of its own."""
    writer = Session(gateway, bearer, topic='blocks', mode=MODE_WRITE)
    partitions = writer.allocated.partitions
    sent = [Event(key=b'k', payload=f'packed in Python {i}'.encode(), id=f'py-{i}', headers={'n': str(i)}) for i in range(50)]
    sent[7].timestampMs = 1_700_000_000_007
    place = partition_of(b'k', partitions)
    packed = [pack_block(place, sent[:10]), pack_block(place, sent[10:], compress=True)]
    parts = writer.call('write', WriteRequest(n=1, blocks=packed, commit=True)).parts
    # The same key as events: the gateway's own partition and packing.
    by_gateway = Event(key=b'k', payload=b'packed by the gateway')
    events_parts = writer.call('write', WriteRequest(n=2, events=[by_gateway], commit=True)).parts
    reader = Session(gateway, bearer, topic='blocks', mode=MODE_READ, startAt=StartAt(earliest=True))
    raw = reader.call('read', ReadRequest(n=1, waitMs=5_000))
    ours = [event for block in raw.blocks for event in unpack_block(block)]
    # The very same batch, now unpacked by the gateway.
    theirs = reader.call('read', ReadRequest(n=1, waitMs=5_000, asEvents=True)).events
    reader.call('ack', AckRequest(n=1, count=13))
    rest = reader.call('read', ReadRequest(n=2)).blocks
    say(act='blocks', encodings=[block.encoding for block in raw.blocks], count=raw.count, ours=texts(ours),
        equal=ours == theirs, samePartition=len({part.partition for part in parts + events_parts}) == 1,
        restFirst=rest[0].first, rest=[text for block in rest for text in texts(unpack_block(block))],
        ids=[event.id for event in ours[:2]], times=[ours[7].timestampMs, ours[8].timestampMs == ours[8].appendTimeMs])
    cut = pack_block(place, sent[:2])
    cut.data = cut.data[:-1]
    cut.rawSize -= 1
    say(act='bad block', error=error_of(lambda: writer.call('write', WriteRequest(n=3, blocks=[cut], commit=True))))


def vectors(folder):
    def load(name):
        with open(os.path.join(folder, name)) as file:
            return json.load(file)

    packed = load('packed-events.json')
    wrong = []
    signatures = load('signed-http.json')
    keys = Keys(bytes.fromhex(load('signed-bytes.json')['secret']))
    if [keys.c2s.hex(), keys.s2c.hex()] != [signatures['c2s'], signatures['s2c']]:
        wrong.append('keys')
    for case in packed['cases']:
        raw = bytes.fromhex(case['raw'])
        if b''.join(pack_event(event) for event in unpack_events(raw, case['count'])) != raw:
            wrong.append(case['name'])
    for case in packed['refused']:
        try:
            unpack_events(bytes.fromhex(case['raw']), case['count'])
            wrong.append(case['name'])
        except BadBlock:
            pass
    hashed = load('murmur2.json')
    for key in hashed['keys']:
        found = [partition_of(bytes.fromhex(key['key']), count) for count in hashed['partitionCounts']]
        if found != key['partitions']:
            wrong.append(key['key'])
    say(act='vectors', wrong=wrong, packed=len(packed['cases']), refused=len(packed['refused']), keys=len(hashed['keys']))


def take_over(dev, bearer):
    """The gateway dies twice: with a write that landed and was never answered, and with one that never arrived."""
    topic = 'taken-over'
    producer = Producer(lambda: connect(dev['thriftUrl']), lambda: bearer, topic)
    for number in (1, 2):
        producer.publish(number, [Event(payload=f'{number}'.encode())])
    partitions = producer.session.allocated.partitions

    # Write 3: sent, seen by a reader, its answer never read.
    unread(producer, 1, [Event(payload=b'3a'), Event(payload=b'3b')])
    reader = Session(connect(dev['thriftUrl']), bearer, topic=topic, mode=MODE_READ, startAt=StartAt(earliest=True))
    seen, n = 0, 0
    while seen < 4:
        n += 1
        seen += reader.call('read', ReadRequest(n=n, ackOf=n - 1 if seen else None, waitMs=5_000)).count

    # Write 4: sent to a gateway that is stopped and then killed; it stays in the socket.
    ask('stop')
    unread(producer, 2, [Event(payload=b'4')])
    old_session = producer.session
    ask('kill and restart')

    producer.session = None
    sent = sorted(producer.unanswered)
    landed = producer.allocate()
    missing = sorted(producer.unanswered)
    resent = producer.settle()
    say(act='taken over', unanswered=sent, landed=sorted(landed), missing=missing, resent=sorted(resent),
        offset=landed[3])
    stale = Session.__new__(Session)
    stale.gateway, stale.allocated, stale.turns = connect(dev['thriftUrl']), old_session.allocated, old_session.turns
    stale.keys = old_session.keys
    say(act='old session', error=error_of(lambda: stale.call('write', WriteRequest(n=5, events=[Event(payload=b'no')]))))

    # The plain way: it dies between two writes, and the producer finds out by itself.
    ask('kill and restart')
    producer.publish(1, [Event(payload=b'5')])
    say(act='gone on', nextN=producer.next_n, partitions=partitions)
    say(act='refused', error=error_of(lambda: producer.publish(1, [Event(payload=bytes(1_000_000))])))
    producer.publish(2, [Event(payload=b'6')])

    reader = Session(connect(dev['thriftUrl']), bearer, topic=topic, mode=MODE_READ, startAt=StartAt(earliest=True))
    found, n, at_end = [], 0, False
    while not at_end:
        n += 1
        batch = reader.call('read', ReadRequest(n=n, ackOf=n - 1 if n > 1 and batch.count else None, asEvents=True))
        found += texts(batch.events)
        at_end = batch.atEnd
    say(act='everything once', texts=sorted(found))


def unread(producer, partition, events):
    """As Producer.publish, but the answer is left in the socket."""
    for event in events:
        event.partition = partition
    n = producer.next_n
    producer.next_n += 1
    producer.unanswered[n] = (partition, events)
    producer.held = producer.session.allocated.session
    producer.session.gateway.send_write(request_in_turn(producer.session, WriteRequest(n=n, events=events, commit=True)))
    # That connection is of no more use: the answer is in it.
    producer.session.gateway = producer.connect()


def main(dev_file, vector_folder, acts):
    with open(dev_file) as file:
        dev = json.load(file)
    bearer = login(dev['httpUrl'], dev['clientId'], dev['clientSecret'])
    for act in acts:
        if act == 'tcp':
            converse(connect(dev['thriftUrl']), bearer, 'stock-tcp')
        elif act == 'http':
            converse(connect_http(dev['httpUrl']), bearer, 'stock-http')
        elif act == 'blocks':
            blocks(connect(dev['thriftUrl']), bearer)
        elif act == 'vectors':
            vectors(vector_folder)
        elif act == 'take_over':
            take_over(dev, bearer)
        else:
            raise SystemExit(f'no act {act}')


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
