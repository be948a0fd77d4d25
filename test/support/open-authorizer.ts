// Owns: an authorizer that allows everybody everything, for tests whose subject is something else.
import { Authorizer, nullAccessMetrics } from '../../src/api-tier/authorize/authorizer.ts'
import { openPolicy } from '../../src/api-tier/authorize/policy.ts'
import { nullLogger } from '../../src/observability/log.ts'
import type { Clock } from '../../src/ports/clock.ts'

export function openAuthorizer(clock: Clock): Authorizer {
  return new Authorizer({
    policy: openPolicy,
    issuer: 'urn:test',
    clients: [],
    clock,
    logger: nullLogger,
    metrics: nullAccessMetrics,
  })
}
