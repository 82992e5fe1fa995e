import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;
/** A network and how many of its bits count. */
export type AddressRange = readonly [Address, number];

/** One address or CIDR range. Throws for anything else. */
export function parseRange(text: string): AddressRange {
  try {
    // The library also takes 10.1 and 010.0.0.1, which few people read as it does.
    if (isIP(text.replace(/\/.*/, '')) === 0) throw new Error('not an address in its usual form');
    if (text.includes('/')) return ipaddr.parseCIDR(text);
    const address = ipaddr.process(text);
    return [address, address.kind() === 'ipv4' ? 32 : 128];
  } catch (cause) {
    throw new Error(`"${text}" is neither an address nor a CIDR range`, { cause });
  }
}

/** Addresses and CIDR ranges, separated by commas. Throws for anything else. */
export function parseRanges(list: string): AddressRange[] {
  return list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseRange);
}

export function contains([network, bits]: AddressRange, address: Address): boolean {
  return address.kind() === network.kind() && address.match(network, bits);
}

/** Whether an address, as a socket names it, lies in one of the ranges; false for what is no address. */
export function inRanges(ranges: readonly AddressRange[], address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  return ranges.some((range) => contains(range, parsed));
}
