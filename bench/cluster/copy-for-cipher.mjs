// Owns: a gateway that copies where it would seal and open, to see what sealing costs. For `node --import`, in the bench
// only: nothing of such a process is sealed.
import { Buffer } from 'node:buffer'
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const { createCipheriv, createDecipheriv } = crypto
/** Tokens and cursors stay sealed: they are small, and they are what routes. */
const bytesMin = 512
const tag = Buffer.alloc(16, 1)

class Copy {
  #real
  #make
  #aad
  #tag
  constructor(make) {
    this.#make = make
  }
  setAAD(aad) {
    this.#aad = aad
    return this
  }
  setAuthTag(given) {
    this.#tag = given
    return this
  }
  update(bytes) {
    if (bytes.length >= bytesMin) return Buffer.from(bytes)
    this.#real = this.#make()
    if (this.#aad !== undefined) this.#real.setAAD(this.#aad)
    if (this.#tag !== undefined) this.#real.setAuthTag(this.#tag)
    return this.#real.update(bytes)
  }
  final() {
    return this.#real?.final() ?? Buffer.alloc(0)
  }
  getAuthTag() {
    return this.#real?.getAuthTag() ?? tag
  }
}

crypto.createCipheriv = (...args) => new Copy(() => createCipheriv(...args))
crypto.createDecipheriv = (...args) => new Copy(() => createDecipheriv(...args))
syncBuiltinESMExports()
