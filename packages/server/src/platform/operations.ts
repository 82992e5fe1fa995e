import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { RequestOrigin } from './requests.ts';

interface Parts {
  readonly metrics: Metrics;
  readonly origin: RequestOrigin;
  readonly log: Log;
  readonly metricsPublic: boolean;
  /** What this instance needs to serve, by the words in which it is told that it fails; each throws while it does. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
  readonly isDraining: () => boolean;
  /** Metrics of all processes, or undefined where not all answer; absent where there is only this one. */
  readonly collectAll: (() => Promise<string | undefined>) | undefined;
  readonly now?: () => number;
}

export type OperationsHandler = (request: IncomingMessage, response: ServerResponse, path: string) => Promise<void>;

/** Longest a readiness check may take before it counts as failed. */
const CHECK_MS = 5000;
/** How long what a check found is believed, so that whoever asks often costs nothing. */
const BELIEVED_MS = 1000;

/**
 * `/livez` (the process answers), `/readyz` (it can serve: all checks pass, not draining; else the first that failed) and
 * `/metrics`. Liveness looks at nothing outside, so that trouble elsewhere does not restart healthy processes.
 */
export function createOperations(parts: Parts): OperationsHandler {
  const { metrics, origin, log, metricsPublic, checks, isDraining, collectAll, now = () => performance.now() } = parts;
  let checking: Promise<void> | undefined;
  let checkedAt = Number.NEGATIVE_INFINITY;
  /** What failed. */
  let wrong: string | undefined;

  async function look(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const before = wrong;
    let looked = '';
    const all = async () => {
      for (const [problem, check] of Object.entries(checks)) {
        looked = problem;
        await check();
      }
    };
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error('the check took too long')), CHECK_MS);
      });
      await Promise.race([all(), late]);
      wrong = undefined;
      if (before !== undefined) log.info('ready again');
    } catch (error) {
      wrong = looked;
      if (before !== wrong) log.error({ err: error }, `not ready: ${wrong}`);
    } finally {
      clearTimeout(timer);
      checkedAt = now();
      checking = undefined;
    }
  }

  async function problem(): Promise<string | undefined> {
    if (isDraining()) return 'draining';
    if (now() - checkedAt >= BELIEVED_MS) {
      checking ??= look();
      await checking;
    }
    return wrong;
  }

  return async (request, response, path) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return text(response, 405, 'method not allowed\n', { Allow: 'GET, HEAD' });
    if (path === '/livez') return text(response, 200, 'ok\n');
    if (path === '/readyz') {
      const found = await problem();
      return text(response, found === undefined ? 200 : 503, `${found ?? 'ok'}\n`);
    }
    const allowed = metricsPublic || origin.isLocal(request);
    if (!allowed) return text(response, 403, 'metrics are for this machine only; see the option metricsPublic\n');
    const body = (await collectAll?.()) ?? (await metrics.registry.metrics());
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
