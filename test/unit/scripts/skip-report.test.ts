// What `npm test` says about tests that did not run.
import { describe, expect, it } from 'vitest'
import { describeSkips, parseSkipLines, skippedTests } from '../../../scripts/skip-report.ts'

const line = { requirement: 'root', reason: 'uid is 1000', title: 'survives a power cut' }

describe('the list of skipped tests', () => {
  it('given two tests that need the same, names the requirement once', () => {
    const lines = parseSkipLines(`${JSON.stringify(line)}\n${JSON.stringify({ ...line, title: 'mounts' })}\n`)
    expect(describeSkips(lines, [])).toEqual(['survives a power cut; mounts — needs root: uid is 1000'])
  })

  it('given a skip that no requirement explains, says so', () => {
    const report = {
      testResults: [
        {
          name: '/repo/test/a.test.ts',
          assertionResults: [
            { status: 'passed', fullName: 'a works' },
            { status: 'pending', fullName: 'disk survives a power cut' },
            { status: 'skipped', fullName: 'b was forgotten' },
          ],
        },
      ],
    }
    expect(describeSkips([line], skippedTests(report, '/repo'))).toEqual([
      'survives a power cut — needs root: uid is 1000',
      'test/a.test.ts: b was forgotten — no reason given',
    ])
  })
})
