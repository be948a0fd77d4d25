// The part of npm thrift 0.24 that the oracle drives; the package ships no types.
declare module 'thrift' {
  export class TBufferedTransport {
    constructor(buffer?: Buffer, onFlush?: (bytes: Buffer) => void)
    static receiver(callback: (transport: TBufferedTransport) => void): (bytes: Buffer) => void
  }
  export interface Int64 {
    readonly buffer: Buffer
    readonly offset: number
  }
  export class TBinaryProtocol {
    constructor(transport: TBufferedTransport, strictRead?: boolean, strictWrite?: boolean)
    flush(): void
    writeMessageBegin(name: string, type: number, seqid: number): void
    writeMessageEnd(): void
    writeFieldBegin(name: string, type: number, id: number): void
    writeFieldStop(): void
    writeBool(value: boolean): void
    writeI32(value: number): void
    writeI64(value: number): void
    writeString(value: string): void
    writeBinary(value: Buffer): void
    writeListBegin(elementType: number, size: number): void
    writeMapBegin(keyType: number, valueType: number, size: number): void
    readMessageBegin(): { fname: string; mtype: number; rseqid: number }
    readFieldBegin(): { ftype: number; fid: number }
    readBool(): boolean
    readI32(): number
    readI64(): Int64
    readString(): string
    readBinary(): Buffer
    readListBegin(): { etype: number; size: number }
    readMapBegin(): { ktype: number; vtype: number; size: number }
    skip(type: number): void
  }
  const thrift: { TBufferedTransport: typeof TBufferedTransport; TBinaryProtocol: typeof TBinaryProtocol }
  // biome-ignore lint/style/noDefaultExport: the package is CommonJS.
  export default thrift
}
