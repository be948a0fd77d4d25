"""Publishing exactly once over lost connections and gateways that die, with generated code alone."""

import time

from thrift.transport.TTransport import TTransportException

from example import Session
from trunkline.constants import MODE_WRITE, PART_LANDED, PART_UNKNOWN
from trunkline.ttypes import Resume, TrunklineError, UnansweredWrite, WriteRequest


# Errors that leave a write unanswered, besides the retryable ones: a new session tells what landed.
GO_ON = {'UNAUTHENTICATED', 'TOKEN_EXPIRED', 'SESSION_CLOSED', 'SEQUENCE_MISMATCH', 'BAD_CHALLENGE', 'INTERNAL'}


class OutcomeUnknown(Exception):
    """The log no longer holds what would tell whether this write landed: only the application can decide."""


class Producer:
    """Numbers its writes, and keeps each until it is answered. All events of a write go to one partition, so that its
    place is known without an answer."""

    def __init__(self, connect, get_bearer, topic):
        self.connect, self.get_bearer, self.topic = connect, get_bearer, topic
        self.next_n = 1
        self.unanswered = {}  # n -> (partition, events), by rising n
        self.held = None  # the newest session token under which a write was sent
        self.write_cursor = None
        self.session = None

    def publish(self, partition, events):
        """Returns when the log has the events: the offset of their record. What the gateway refuses is raised."""
        for event in events:
            event.partition = partition
        n = self.next_n
        self.next_n += 1
        self.unanswered[n] = (partition, events)
        return self.settle()[n]

    def settle(self, tries=60):
        """Goes on until every write is answered: n -> offset."""
        landed = {}
        for _ in range(tries):
            n = None
            try:
                if self.session is None:
                    landed.update(self.allocate())
                for n, (_, events) in list(self.unanswered.items()):
                    self.held = self.session.allocated.session
                    written = self.session.call('write', WriteRequest(n=n, events=events, commit=True))
                    landed[n] = self.answered(n, written.parts)
                    self.write_cursor = written.writeCursor
                return landed
            except (TTransportException, OSError):
                self.leave()
                wait_ms = 200
            except TrunklineError as error:
                self.leave()
                if not error.retryable and error.name not in GO_ON:
                    self.unanswered.pop(n, None)  # refused: it is not in the log, and its number is not used again
                    raise
                wait_ms = error.retryAfterMs or 200
            time.sleep(wait_ms / 1000)
        raise TimeoutError(f'{len(self.unanswered)} writes are unanswered')

    def allocate(self):
        """A session that goes on as this producer; answers what had landed of the unanswered writes."""
        resume = None
        if self.held is not None:
            writes = [UnansweredWrite(n=n, partitions=[partition]) for n, (partition, _) in self.unanswered.items()]
            resume = Resume(session=self.held, writeCursor=self.write_cursor, nextN=self.next_n, writes=writes)
        session = Session(self.connect(), self.get_bearer(), topic=self.topic, mode=MODE_WRITE, resume=resume)
        landed = {}
        for outcome in session.allocated.outcomes or []:
            state = outcome.parts[0].state
            if state == PART_UNKNOWN:
                raise OutcomeUnknown(f'write {outcome.n}')
            if state == PART_LANDED:
                landed[outcome.n] = self.answered(outcome.n, outcome.parts)
        self.write_cursor = session.allocated.writeCursor
        self.session = session
        return landed

    def answered(self, n, parts):
        del self.unanswered[n]
        return parts[0].offset

    def leave(self):
        """Nothing more is sent in this session."""
        if self.session is not None:
            self.session.gateway.close()
        self.session = None
