// Owns: a gateway process that is expected to end by itself: its exit code and all that it wrote.
import { spawn } from 'node:child_process'
import { cliEntry } from '../../support/gateway-process.ts'

export interface GatewayRun {
  readonly code: number | null
  readonly output: string
}

export const GatewayRun = {
  /** Runs `trunkline dev` in `cwd` on `dataDir` until it ends. */
  tryStart(cwd: string, dataDir: string): Promise<GatewayRun> {
    return new Promise((resolve, reject) => {
      const ports = ['--port', '0', '--thrift-port', '0', '--admin-port', '0']
      const child = spawn(process.execPath, [cliEntry, 'dev', '--data-dir', dataDir, ...ports], { cwd })
      let output = ''
      const note = (chunk: Buffer): void => {
        output += chunk.toString()
      }
      child.stdout.on('data', note)
      child.stderr.on('data', note)
      child.once('error', reject)
      child.once('close', (code) => resolve({ code, output }))
    })
  },
}
