import { promises as dns, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { Destinations } from './destinations.ts';

/** Why a call failed; the message never holds anything that the other side sent. */
export type OutboundFailure = 'blocked' | 'invalid' | 'redirect' | 'timeout' | 'too_large' | 'unreachable';

export class OutboundError extends Error {
  override name = 'OutboundError';
  readonly failure: OutboundFailure;

  constructor(failure: OutboundFailure, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.failure = failure;
  }
}

/** Gives all addresses of a name. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

export async function resolveAll(host: string): Promise<LookupAddress[]> {
  return await dns.lookup(host, { all: true });
}

export function requireAllowed(destinations: Destinations, found: readonly LookupAddress[], host: string): void {
  // One address that is not allowed refuses the name as a whole: it is not for us to choose what its owner meant.
  const bad = found.find(({ address }) => !destinations.allowsAddress(address, host));
  if (bad) throw new OutboundError('blocked', `${host} leads to ${bad.address}, which is not public and not in outboundAllow`);
}

/** Resolves once and hands over only what was checked, so that what is connected to is what was checked. */
export function checkedLookup(destinations: Destinations, resolve: Resolve): LookupFunction {
  return (host, options, callback) => {
    resolve(host).then(
      (found) => {
        const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : (options.family ?? 0);
        const fitting = found.filter((entry) => family === 0 || entry.family === family);
        try {
          requireAllowed(destinations, found, host);
          const [first] = fitting;
          if (!first) throw new OutboundError('unreachable', `${host} has no address`);
          if (options.all) callback(null, fitting);
          else callback(null, first.address, first.family);
        } catch (error) {
          callback(error as Error, '', 0);
        }
      },
      (error: unknown) => callback(new OutboundError('unreachable', `${host} cannot be resolved`, error), '', 0),
    );
  };
}

/** All addresses of a host, each of them allowed. Throws an OutboundError. */
export async function checkedAddresses(destinations: Destinations, resolve: Resolve, host: string): Promise<readonly LookupAddress[]> {
  const found =
    isIP(host) !== 0
      ? [{ address: host, family: isIP(host) }]
      : await resolve(host).catch((error: unknown) => {
          throw new OutboundError('unreachable', `${host} cannot be resolved`, error);
        });
  requireAllowed(destinations, found, host);
  if (found.length === 0) throw new OutboundError('unreachable', `${host} has no address`);
  return found;
}
