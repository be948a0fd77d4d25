// Owns: the input of the demo: a week of earthquakes of the USGS, from the npm package vega-datasets.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { EventInput } from '../../sdk/typescript/src/index.ts'

export interface Quake {
  readonly id: string
  /** The seismic network that reported it; the key. */
  readonly network: string
  readonly event: EventInput & { readonly payload: string }
}

interface Feature {
  readonly id: string
  readonly properties: { readonly net: string; readonly time: number }
}

const require = createRequire(import.meta.url)

/** One per feature, in the file's order. */
export function readQuakes(): readonly Quake[] {
  // The package exports no path to its data: they lie beside the folder of its code.
  const code = pathToFileURL(require.resolve('vega-datasets'))
  const file: { features: Feature[] } = JSON.parse(readFileSync(new URL('../data/earthquakes.json', code), 'utf8'))
  return file.features.map((feature) => {
    const { id, properties } = feature
    const payload = JSON.stringify(feature)
    const headers = { 'content-type': 'application/json' }
    const event = {
      key: properties.net,
      id,
      type: 'quake',
      source: 'https://earthquake.usgs.gov',
      timestamp: properties.time,
      headers,
      payload,
    }
    return { id, network: properties.net, event }
  })
}
