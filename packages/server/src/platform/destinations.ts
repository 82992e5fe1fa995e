import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { type Address, type AddressRange, contains, parseRange } from './address-ranges.ts';

const HOST = /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** All that is handed out to the public internet; what lies outside reaches inside, some of it by embedded IPv4 addresses. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');
/** A cloud's service for its own machines, at an address that looks public. */
const METADATA = new Set(['168.63.129.16']);

/** Where outgoing calls may go. */
export interface Destinations {
  /** May a connection be made to this address, under which name it may have been found? */
  allowsAddress(address: string, host: string): boolean;
}

/**
 * Public addresses, and what `allow` names besides: addresses, CIDR ranges and hosts (`registry.internal`,
 * `*.corp.example`), separated by commas. A host that is named there may be at any address. Throws for anything else.
 */
export function parseDestinations(allow: string): Destinations {
  const ranges: AddressRange[] = [];
  const hosts: string[] = [];
  for (const part of allow.split(',').map((text) => text.trim().toLowerCase())) {
    if (part === '') continue;
    if (part.includes('/') || isIP(part) !== 0) ranges.push(parseRange(part));
    else if (HOST.test(part) && !/^[0-9.]+$/.test(part)) hosts.push(part);
    else throw new Error(`"${part}" is neither an address, nor a CIDR range, nor a host name`);
  }
  const names = (host: string) => {
    const plain = host.toLowerCase().replace(/\.$/, '');
    return hosts.some((rule) => (rule.startsWith('*.') ? plain.endsWith(rule.slice(1)) : plain === rule));
  };
  return {
    allowsAddress(text, host) {
      if (isIP(text) === 0) return false;
      const address = ipaddr.process(text); // an IPv4-mapped IPv6 address counts as the IPv4 address that it reaches
      if (names(host)) return true;
      if (ranges.some((range) => contains(range, address))) return true;
      return isPublic(address);
    },
  };
}

function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast' || METADATA.has(address.toString())) return false;
  return address.kind() === 'ipv4' || address.match(GLOBAL_IPV6);
}
