import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

type Range = [ipaddr.IPv4 | ipaddr.IPv6, number];

/** What is believed about where a request comes from. */
export interface RequestOrigin {
  /** `https://host:port` as the client sees it, for absolute addresses in answers. */
  baseUrl(request: IncomingMessage): string;
  /** Address of the client: the peer, or what a trusted proxy says. */
  clientAddress(request: IncomingMessage): string;
  /** Whether the request comes from this machine itself, not through a proxy. */
  isLocal(request: IncomingMessage): boolean;
}

const HOST = /^(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]{1,253})(?::[0-9]{1,5})?$/;

/** Throws for a list that is not addresses or CIDR ranges. */
export function createRequestOrigin(options: { publicUrl: string; trustedProxies: string; listen: string }): RequestOrigin {
  const trusted = parseRanges(options.trustedProxies);
  const isTrusted = (address: string | undefined) => address !== undefined && trusted.some((range) => contains(range, address));

  return {
    baseUrl(request) {
      if (options.publicUrl !== '') return options.publicUrl;
      const proxied = isTrusted(request.socket.remoteAddress);
      const forwardedHost = proxied ? header(request, 'x-forwarded-host') : undefined;
      const host = forwardedHost ?? request.headers.host ?? options.listen;
      const https = proxied && header(request, 'x-forwarded-proto') === 'https';
      return `${https ? 'https' : 'http'}://${HOST.test(host) ? host : options.listen}`;
    },
    clientAddress(request) {
      const peer = request.socket.remoteAddress ?? '';
      if (!isTrusted(peer)) return peer;
      const chain = String(request.headers['x-forwarded-for'] ?? '')
        .split(',')
        .map((part) => part.trim())
        .filter((part) => ipaddr.isValid(part));
      return chain.findLast((address) => !isTrusted(address)) ?? peer;
    },
    isLocal(request) {
      const forwarded = request.headers['x-forwarded-for'] ?? request.headers.forwarded;
      const peer = request.socket.remoteAddress;
      return forwarded === undefined && peer !== undefined && ipaddr.process(peer).range() === 'loopback';
    },
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value.split(',')[0]?.trim() : undefined;
}

/** Addresses and CIDR ranges, separated by commas. Throws for anything else. */
export function parseRanges(list: string): Range[] {
  return list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseRange);
}

function parseRange(text: string): Range {
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

function contains([network, bits]: Range, text: string): boolean {
  const address = ipaddr.process(text);
  return address.kind() === network.kind() && address.match(network, bits);
}
