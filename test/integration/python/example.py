"""Publishes three events and reads them back: nothing but Apache Thrift and the code that it generates."""

import json
import sys
import urllib.parse
import urllib.request

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport

from proof import Keys
from trunkline import Gateway
from trunkline.constants import MODE_READ, MODE_WRITE, SLOT_CONTROL, SLOT_DATA
from trunkline.ttypes import AckRequest, AllocateRequest, DisposeRequest, Event, Proof, ReadRequest, StartAt
from trunkline.ttypes import TrunklineError, WriteRequest


def login(http_url, client_id, client_secret):
    form = {'grant_type': 'client_credentials', 'client_id': client_id, 'client_secret': client_secret}
    with urllib.request.urlopen(f'{http_url}/oauth/token', urllib.parse.urlencode(form).encode()) as answer:
        return json.load(answer)['access_token']


def connect(thrift_url):
    address = urllib.parse.urlsplit(thrift_url)
    socket = TSocket(address.hostname, address.port)
    socket.setTimeout(40_000)  # ms: a read waits 30 s at most, a write is answered after 35 s at the latest
    transport = TFramedTransport(socket)
    transport.open()
    gateway = Gateway.Client(TBinaryProtocol(transport))
    gateway.close = transport.close
    return gateway


class Session:
    """A session, and for each slot what its next request must carry."""

    def __init__(self, gateway, bearer, **request):
        self.gateway = gateway
        self.allocated = gateway.allocate(AllocateRequest(proof=Proof(bearer=bearer), **request))
        self.turns = {SLOT_DATA: self.allocated.turn, SLOT_CONTROL: self.allocated.turn}
        self.keys = Keys(self.allocated.secret)

    def call(self, method, request, slot=SLOT_DATA):
        turn = self.turns[slot]
        request.session = self.allocated.session
        request.proof = Proof(slot=slot, seq=turn.nextSeq, challenge=turn.challenge)
        self.keys.sign(method, request)
        try:
            reply = getattr(self.gateway, method)(request)
        except TrunklineError as error:
            self.keys.check(method, request.proof, error, 'error')
            if error.turn is not None:
                self.turns[slot] = error.turn
            raise
        self.keys.check(method, request.proof, reply)
        self.turns[slot] = reply.turn
        return reply


def main(dev_file):
    with open(dev_file) as file:
        dev = json.load(file)
    bearer = login(dev['httpUrl'], dev['clientId'], dev['clientSecret'])
    gateway = connect(dev['thriftUrl'])

    writer = Session(gateway, bearer, topic='greetings', mode=MODE_WRITE)
    events = [Event(key=b'en', payload=b'hello'), Event(key=b'en', payload=b'bye'), Event(key=b'fr', payload=b'salut')]
    written = writer.call('write', WriteRequest(n=1, events=events, commit=True))
    for part in written.parts:
        print(f'written: partition {part.partition} offset {part.offset}')
    writer.call('dispose', DisposeRequest(), SLOT_CONTROL)

    reader = Session(gateway, bearer, topic='greetings', mode=MODE_READ, startAt=StartAt(earliest=True))
    n = 0
    at_end = False
    while not at_end:
        n += 1
        batch = reader.call('read', ReadRequest(n=n, maxEvents=2, asEvents=True))
        for event in batch.events:
            print(f'read: {event.key.decode()} {event.payload.decode()} at {event.partition}:{event.offset}:{event.index}')
        if batch.count > 0:
            reader.call('ack', AckRequest(n=n))
        at_end = batch.atEnd
    cursor = reader.call('dispose', DisposeRequest(), SLOT_CONTROL).cursor
    gateway.close()
    print(f'the next reader starts at a cursor of {len(cursor)} bytes')


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else '.trunkline/dev.json')
