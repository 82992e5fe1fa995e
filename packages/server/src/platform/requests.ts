import type { IncomingMessage, ServerResponse } from 'node:http';
import ipaddr from 'ipaddr.js';
import { contains, parseRanges } from './address-ranges.ts';
import type { AuditOrigin } from './audit.ts';
import { requestIdOf } from './trace.ts';

/** What is believed about where a request comes from. */
export interface RequestOrigin {
  /** `https://host:port` as the client sees it, for absolute addresses in answers. */
  baseUrl(request: IncomingMessage): string;
  /** Address of the client: the peer, or what a trusted proxy says. */
  clientAddress(request: IncomingMessage): string;
  /** What audit records say of where a request comes from. */
  auditOrigin(request: IncomingMessage, response: ServerResponse): AuditOrigin;
  /** Whether the request comes from this machine itself, not through a proxy. */
  isLocal(request: IncomingMessage): boolean;
}

const USER_AGENT_LENGTH = 256;
const HOST = /^(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]{1,253})(?::[0-9]{1,5})?$/;

/** Throws for a list that is not addresses or CIDR ranges. */
export function createRequestOrigin(options: { publicUrl: string; trustedProxies: string; listen: string }): RequestOrigin {
  const trusted = parseRanges(options.trustedProxies);
  const isTrusted = (address: string | undefined) =>
    address !== undefined && trusted.some((range) => contains(range, ipaddr.process(address)));

  function clientAddress(request: IncomingMessage): string {
    const peer = request.socket.remoteAddress ?? '';
    if (!isTrusted(peer)) return peer;
    const chain = String(request.headers['x-forwarded-for'] ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => ipaddr.isValid(part));
    return chain.findLast((address) => !isTrusted(address)) ?? peer;
  }

  return {
    baseUrl(request) {
      if (options.publicUrl !== '') return options.publicUrl;
      const proxied = isTrusted(request.socket.remoteAddress);
      const forwardedHost = proxied ? header(request, 'x-forwarded-host') : undefined;
      const host = forwardedHost ?? request.headers.host ?? options.listen;
      const https = proxied && header(request, 'x-forwarded-proto') === 'https';
      return `${https ? 'https' : 'http'}://${HOST.test(host) ? host : options.listen}`;
    },
    clientAddress,
    auditOrigin: (request, response) => ({
      client: clientAddress(request),
      userAgent: (request.headers['user-agent'] ?? '').slice(0, USER_AGENT_LENGTH),
      requestId: requestIdOf(response) ?? '',
    }),
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
