"""An old client: its sessions are signed with HMAC-MD5. Says what it saw: one JSON object per line, {"act": …}.

Usage: md5_client.py FILE, where FILE names the gateway, the old client and one that is not allowed HMAC-MD5.
"""

import json
import sys

from example import Session, connect, login
from proof import Keys
from stock_client import error_of, request_in_turn, say, texts
from trunkline.constants import MODE_READ, MODE_WRITE, SLOT_CONTROL
from trunkline.ttypes import AckRequest, DisposeRequest, Event, ExtendRequest, ReadRequest, StartAt, WriteRequest


class Md5Keys(Keys):
    digest, label = 'md5', b' md5'


class Md5Session(Session):
    def __init__(self, gateway, bearer, **request):
        super().__init__(gateway, bearer, macAlgorithm='hmac-md5', **request)
        if self.allocated.macAlgorithm != 'hmac-md5':
            raise ValueError('this gateway signs with HMAC-SHA256 only')
        self.keys = Md5Keys(self.allocated.secret)


def refused(session, keys):
    """The next write, signed by these keys."""
    session.keys = keys
    request = request_in_turn(session, WriteRequest(n=1, events=[Event(payload=b'no')], commit=True))
    return error_of(lambda: session.gateway.write(request))


def main(file_name):
    with open(file_name) as file:
        world = json.load(file)
    gateway = connect(world['thriftUrl'])
    old, other = (login(world['httpUrl'], name, world['secret']) for name in (world['old'], world['other']))

    writer = Md5Session(gateway, old, topic='bills', mode=MODE_WRITE)
    written = writer.call('write', WriteRequest(n=1, events=[Event(key=b'k', payload=b'from afar')], commit=True))
    extended = writer.call('extend', ExtendRequest(), SLOT_CONTROL)
    error = error_of(lambda: writer.call('ack', AckRequest(n=9)))
    say(act='written', macBytes=len(written.turn.mac), error=error['name'],
        isShort=extended.expiresAtMs == writer.allocated.expiresAtMs)
    writer.call('dispose', DisposeRequest(), SLOT_CONTROL)

    reader = Md5Session(gateway, old, topic='bills', mode=MODE_READ, startAt=StartAt(earliest=True))
    batch = reader.call('read', ReadRequest(n=1, waitMs=5_000, asEvents=True))
    say(act='read', texts=texts(batch.events), macBytes=len(batch.turn.mac))

    weak = Md5Session(gateway, old, topic='bills', mode=MODE_WRITE)
    say(act='HMAC-SHA256 in a session of HMAC-MD5', error=refused(weak, Keys(weak.allocated.secret)))
    strong = Session(gateway, old, topic='bills', mode=MODE_WRITE)
    keys = strong.keys
    say(act='HMAC-MD5 in a session of HMAC-SHA256', error=refused(strong, Md5Keys(strong.allocated.secret)))
    say(act='HMAC-SHA256 for the old client too', error=refused(strong, keys))

    say(act='not allowed', error=error_of(lambda: Md5Session(gateway, other, topic='bills', mode=MODE_READ)))


if __name__ == '__main__':
    main(sys.argv[1])
