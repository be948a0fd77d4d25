// Owns: which addresses never leave the machine.

/** A host as settings and URLs write it: a name, an IPv4 address, an IPv6 one with brackets or without. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  return bare === 'localhost' || bare === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(bare)
}
