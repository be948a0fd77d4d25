"""The proofs of a session's calls and of their answers, over the structs that Apache Thrift generates."""

import hashlib
import hmac
import struct

from thrift.Thrift import TType

LEFT_OUT = {('Proof', 'bearer'), ('Proof', 'mac'), ('Turn', 'mac'), ('TrunklineError', 'mac')}


class Unproven(OSError):
    """An answer that the gateway did not sign: whoever sent it, the call is unanswered."""


class Keys:
    digest, label = 'sha256', b''

    def __init__(self, secret):
        extracted = hmac.new(bytes(32), secret, 'sha256').digest()  # HKDF (RFC 5869) of one block
        self.c2s = hmac.new(extracted, b'tl1 c2s' + self.label + b'\x01', 'sha256').digest()
        self.s2c = hmac.new(extracted, b'tl1 s2c' + self.label + b'\x01', 'sha256').digest()

    def sign(self, method, request):
        head = prefixed(b'tl1') + prefixed(method.encode()) + prefixed(b'request')
        request.proof.mac = hmac.new(self.c2s, head + struct_bytes(request), self.digest).digest()

    def check(self, method, proof, answer, kind='reply'):
        """kind: 'reply', or 'error' for the exception. Raises Unproven."""
        answered = struct.pack('>iq', proof.slot, proof.seq) + prefixed(proof.challenge) + prefixed(proof.mac)
        head = prefixed(b'tl1') + prefixed(method.encode()) + prefixed(kind.encode()) + answered
        mac = answer.turn.mac if answer.turn is not None else answer.mac
        if not hmac.compare_digest(hmac.new(self.s2c, head + struct_bytes(answer), self.digest).digest(), mac or b''):
            raise Unproven(f'the {kind} to {method} is not signed as it should be')


def prefixed(data):
    return struct.pack('>I', len(data)) + data


def struct_bytes(value):
    name, data = type(value).__name__, b''
    for field in value.thrift_spec:
        item = getattr(value, field[2]) if field else None
        if item is None or (name, field[2]) in LEFT_OUT:
            continue
        if (name, field[2]) == ('Block', 'data'):
            item = hashlib.sha256(item).digest()
        data += struct.pack('>H', field[0]) + prefixed(value_bytes(field[1], field[3], item))
    return data


def value_bytes(kind, inner, item):
    if kind == TType.BOOL:
        return b'\x01' if item else b'\x00'
    if kind == TType.I32:
        return struct.pack('>i', item)
    if kind == TType.I64:
        return struct.pack('>q', item)
    if kind == TType.STRING:
        return item.encode() if isinstance(item, str) else item
    if kind == TType.STRUCT:
        return struct_bytes(item)
    if kind == TType.LIST:
        return struct.pack('>I', len(item)) + b''.join(prefixed(value_bytes(inner[0], inner[1], each)) for each in item)
    if kind == TType.MAP:
        pairs = sorted((name.encode(), text.encode()) for name, text in item.items())
        return struct.pack('>I', len(pairs)) + b''.join(prefixed(name) + prefixed(text) for name, text in pairs)
    raise TypeError(f'no field of the IDL has the type {kind}')
