import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { RequestOrigin } from './requests.ts';

interface Parts {
  readonly metrics: Metrics;
  readonly origin: RequestOrigin;
  readonly log: Log;
  readonly metricsPublic: boolean;
  /** Throws what keeps this instance from serving. */
  readonly check: () => Promise<void>;
  readonly isDraining: () => boolean;
  /** Metrics of all processes; undefined where there is only this one. */
  readonly collectAll: (() => Promise<string>) | undefined;
}

export type OperationsHandler = (request: IncomingMessage, response: ServerResponse, path: string) => Promise<void>;

/** Longest a readiness check may take before it counts as failed. */
const CHECK_MS = 5000;

/**
 * `/livez` (the process answers), `/readyz` (it can serve: database and store reachable, not draining) and `/metrics`.
 * Liveness looks at nothing outside, so that trouble elsewhere does not restart healthy processes.
 */
export function createOperations({ metrics, origin, log, metricsPublic, check, isDraining, collectAll }: Parts): OperationsHandler {
  async function ready(): Promise<string | undefined> {
    if (isDraining()) return 'draining';
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error('the check took too long')), CHECK_MS);
      });
      await Promise.race([check(), late]);
      return undefined;
    } catch (error) {
      log.warn({ err: error }, 'not ready');
      return 'storage or database cannot be reached';
    } finally {
      clearTimeout(timer);
    }
  }

  return async (request, response, path) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return text(response, 405, 'method not allowed\n', { Allow: 'GET, HEAD' });
    if (path === '/livez') return text(response, 200, 'ok\n');
    if (path === '/readyz') {
      const problem = await ready();
      return text(response, problem === undefined ? 200 : 503, `${problem ?? 'ok'}\n`);
    }
    const allowed = metricsPublic || origin.isLocal(request);
    if (!allowed) return text(response, 403, 'metrics are for this machine only; see the option metricsPublic\n');
    const body = collectAll ? await collectAll() : await metrics.registry.metrics();
    return text(response, 200, body, { 'Content-Type': metrics.registry.contentType });
  };
}

function text(response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...headers,
  });
  response.end(body);
}
